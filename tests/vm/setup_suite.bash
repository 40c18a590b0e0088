# shellcheck shell=bash
# Once for all files: a private state with the template machine and the built-in busybox in it. Tests run in it one
# after the other, and each leaves it as it was (see helpers.bash).
#
# environment: HULL               the program (default: build/hull)
#              HULL_TEST_TMP      where the state lives while the tests run (default: /var/tmp)
#              HULL_TEST_CACHE    where root file systems that take minutes to make are kept (default: /var/cache/hull-test)

setup_suite() {
	local here
	here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
	HULL=$(realpath -- "${HULL:-$here/../../build/hull}")
	HULL_TEST_DIR=$(mktemp -d -- "${HULL_TEST_TMP:-/var/tmp}/hull-vm.XXXXXX")
	HULL_ROOT=$HULL_TEST_DIR/root
	HULL_RUN=$HULL_TEST_DIR/run
	HULL_CONFIG=$HULL_TEST_DIR/hull.conf
	HULL_TEST_SKIP=
	: > "$HULL_CONFIG"
	export HULL HULL_ROOT HULL_RUN HULL_CONFIG HULL_TEST_DIR HULL_TEST_SKIP
	if [[ ! -x $HULL ]]; then
		HULL_TEST_SKIP="hull is not built"
	elif ! command -v "qemu-system-$(uname -m)" > /dev/null; then
		HULL_TEST_SKIP="there is no QEMU"
	elif ! "$HULL" system start > "$HULL_TEST_DIR/start.log" 2>&1; then
		cat "$HULL_TEST_DIR/start.log" >&2
		grep -q 'there is no guest kernel' "$HULL_TEST_DIR/start.log" || return 1
		HULL_TEST_SKIP="there is no guest kernel"
	else
		"$HULL" image import --builtin > "$HULL_TEST_DIR/start.log"
	fi
}

teardown_suite() {
	if [[ -n $HULL_TEST_DIR ]]; then
		rm -rf -- "$HULL_TEST_DIR"
	fi
}
