# shellcheck shell=bash
# What the tests with real guests share. A file loads this first; a test may make any containers it likes: they are
# removed after it, and it fails if anything of them stays behind.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file
load processes

setup() {
	vm_setup
}

teardown() {
	vm_teardown
}

vm_setup() {
	[[ -z $HULL_TEST_SKIP ]] || skip "$HULL_TEST_SKIP"
	cd -- "$BATS_TEST_TMPDIR" || return
	: > "$HULL_CONFIG" # whatever the one before wrote there
}

# Stops and removes all, and finds what should have gone with it.
vm_teardown() {
	[[ -z $HULL_TEST_SKIP ]] || return 0
	timeout 120 "$HULL" delete --all --force > /dev/null
	assert_nothing_left
}

# hull ARG...: with a time limit, so that a command that hangs fails its test and no more.
hull() {
	timeout --foreground --kill-after=5 "${HULL_TEST_TIMEOUT:-120}" "$HULL" "$@"
}

# fails STATUS LINE COMMAND...: the command exits with STATUS, prints nothing, and LINE is all it says on stderr.
fails() {
	local status_wanted=$1 line=$2
	shift 2
	run "-$status_wanted" --separate-stderr "$@"
	assert_output ''
	# shellcheck disable=SC2154 # run sets it
	assert_equal "$stderr" "$line"
}

# ends STATUS PID: our child ends with STATUS.
ends() {
	local status=0
	wait "$2" || status=$?
	assert_equal "$status" "$1"
}

# The pid of a container's shim, or of its machine.
shim_of() {
	pgrep -f "hull-shim $(uuid_of "$1")"
}

machine_of() {
	pgrep -x 'qemu-system.*' -P "$(shim_of "$1")"
}

uuid_of() {
	local dir
	for dir in "$HULL_ROOT"/containers/*/; do
		dir=${dir%/}
		if [[ $(hull ls -aq --filter "id=${dir##*/}") == "$1" ]]; then
			echo "${dir##*/}"
			return
		fi
	done
}

# state_of CONTAINER
state_of() {
	hull inspect "$1" | jq -r '.[0].status.state'
}

# Bounds what never comes: a guest beside many others takes a minute for what takes it seconds alone.
readonly PATIENCE=150

# soon COMMAND...: tries until it succeeds, for what tells nobody when it happens.
soon() {
	local end=$((SECONDS + PATIENCE))
	until "$@" 2> /dev/null; do
		((SECONDS < end)) || fail "not in time: $*"
	done
}

is_listed() {
	[[ -n $(hull ls -q --filter "name=$1") ]]
}

# logged CONTAINER PATTERN: waits until it has written such a line.
logged() {
	soon is_listed "$1"
	timeout "$PATIENCE" grep -q -m 1 -e "$2" < <(exec timeout "$PATIENCE" "$HULL" logs -f "$1" 2>&1)
}

# The process of a network stays for two seconds when its last member has gone, and so does its helper. In the state that
# all tests have in common nobody waits for that: the next test may go on with it, and the suite's end looks.
leftovers() {
	local pid
	for pid in $(hull_processes); do
		if [[ $HULL_TEST_DIR != "$HULL_TEST_COMMON" || $(ps -o comm= -p "$pid") != hull-@(netd|resolv) ]]; then
			echo "$pid"
		fi
	done
}

# What a shim still clears away when its client has gone on is waited for.
assert_nothing_left() {
	local pids
	pids=$(leftovers)
	# shellcheck disable=SC2086
	wait_for_end $pids || fail "still there: $(ps -o pid=,args= -p "${pids//$'\n'/,}" | cut -c 1-200)"
	run ls -A "$HULL_ROOT/containers"
	assert_output ''
	run find "$HULL_RUN" -mindepth 1 ! -name '*.lock' ! -name 'template-*' ! -name accel.json
	assert_output ''
	run hull ls -aq
	assert_output ''
}

# own_state [DIR]: a state of the test's own to be spoilt, with the image already there; its template is made on need.
own_state() {
	local dir=${1:-$BATS_TEST_TMPDIR/root}
	mkdir -p "$dir"
	find "$HULL_ROOT" -mindepth 1 -maxdepth 1 ! -name templates ! -name snapshots \
		-exec cp -a --reflink=auto --sparse=always -t "$dir" {} +
	HULL_TEST_DIR=$BATS_TEST_TMPDIR HULL_ROOT=$dir HULL_RUN=$BATS_TEST_TMPDIR/run
}
