# shellcheck shell=bash
# The processes of the state that is tested.

# Processes of hull and its machines that work in our state (or in the one below DIR).
hull_processes() {
	local dir=${1:-$HULL_TEST_DIR} pid
	for pid in $(pgrep -x 'hull.*|qemu-system.*'); do
		if grep -qsF "$dir/" "/proc/$pid/cmdline" "/proc/$pid/environ"; then
			echo "$pid"
		fi
	done
}

# Waits for processes that are not our children.
wait_for_end() {
	local pid
	for pid; do
		timeout 60 tail -s 0.02 --pid="$pid" -f /dev/null || return
	done
}
