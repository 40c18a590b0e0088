# shellcheck shell=bash
# Once for all files: a private state with the template machine and the built-in busybox in it. Tests run in it one
# after the other, and each leaves it as it was (see helpers.bash).
#
# environment: HULL               the program (default: build/hull)
#              HULL_TEST_TMP      where the state lives while the tests run (default: /var/tmp)
#              HULL_TEST_STATE    a directory for it that stays, for the next run to go on with
#              HULL_TEST_CACHE    where root file systems that take minutes to make are kept (default: /var/cache/hull-test)

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
# shellcheck source=tests/vm/processes.bash
source "$here/processes.bash"

setup_suite() {
	HULL=$(realpath -- "${HULL:-$here/../../build/hull}")
	HULL_TEST_DIR=${HULL_TEST_STATE:-$(mktemp -d -- "${HULL_TEST_TMP:-/var/tmp}/hull-vm.XXXXXX")}
	mkdir -p -- "$HULL_TEST_DIR"
	HULL_TEST_COMMON=$HULL_TEST_DIR
	HULL_ROOT=$HULL_TEST_DIR/root
	HULL_RUN=$HULL_TEST_DIR/run
	HULL_CONFIG=$HULL_TEST_DIR/hull.conf
	HULL_TEST_SKIP=
	: > "$HULL_CONFIG"
	export HULL HULL_ROOT HULL_RUN HULL_CONFIG HULL_TEST_DIR HULL_TEST_COMMON HULL_TEST_SKIP
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

# All that is left by now is the process of the last network, which goes by itself when nobody came for a while.
teardown_suite() {
	local status=0
	[[ -n $HULL_TEST_DIR ]] || return 0
	# shellcheck disable=SC2046
	wait_for_end $(hull_processes) || status=$?
	[[ -n ${HULL_TEST_STATE:-} ]] || rm -rf -- "$HULL_TEST_DIR"
	return "$status"
}
