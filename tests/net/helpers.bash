# What the tests of networks share: a world of their own (a network namespace with nothing but
# loopback, where hull-netd runs) and machines in it (namespaces again, see machine.c).

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

BUILD=${HULL%/*}
NETD=$BUILD/hull-netd
MACHINE=$BUILD/tests/net/net-machine
export ASK="python3 $BATS_TEST_DIRNAME/ask.py"
SERVE="python3 $BATS_TEST_DIRNAME/serve.py"

# The world: 198.51.100.1 is an address of the host, 198.51.100.2 somebody in the world; the rest is
# what no machine must reach.
setup() {
	RUN=$BATS_TEST_TMPDIR/run
	mkdir -p "$RUN"
	local user=()
	[[ $EUID -eq 0 ]] || user=(-r)
	coproc WORLD { exec unshare "${user[@]}" -mn sh -ec '
		ip link set lo up
		for a in 198.51.100.1 198.51.100.2 169.254.169.254; do ip addr add $a/32 dev lo; done
		ip addr add 2001:db8::1/128 dev lo nodad
		echo ready; exec cat' 3>&-; }
	WORLD_IN=${WORLD[1]}
	read -r -t 10 _ <&"${WORLD[0]}" || skip "no network namespaces here"
	[[ -r /dev/net/tun && -w /dev/net/tun ]] || skip "no /dev/net/tun here"
	STARTED=()
	ENTER=(nsenter -t "$WORLD_PID" -m -n)
	[[ $EUID -eq 0 ]] || ENTER+=(-U --preserve-credentials)
}

teardown() {
	local pid
	for pid in "${STARTED[@]}"; do
		kill -9 "$pid" 2> /dev/null || true
		wait "$pid" 2> /dev/null || true
	done
	# hull-netd ends by itself; what it holds must be free before the directory goes.
	for pid in "$RUN"/net/*/lock; do
		[[ ! -e $pid ]] || flock -w 10 "$pid" true
	done
	kill "$WORLD_PID" 2> /dev/null || true
}

in_world() {
	"${ENTER[@]}" "$@"
}

# machine [OPTION...] NUMBER PROGRAM [ARG...]: runs it to its end; its output without "ready".
machine() {
	local options=()
	while [[ $1 == -* ]]; do
		options+=("$1")
		[[ $1 == -[4itD] ]] || { options+=("$2"); shift; }
		shift
	done
	in_world "$MACHINE" "${options[@]}" "$RUN" "$NETD" "$@" 3>&- | sed '/^ready$/d'
}

# background NAME [OPTION...] NUMBER PROGRAM [ARG...]: a machine that stays; returns once it is ready.
# Its output is in $BATS_TEST_TMPDIR/NAME.
background() {
	local name=$1 options=()
	shift
	while [[ $1 == -* ]]; do
		options+=("$1")
		[[ $1 == -[4itD] ]] || { options+=("$2"); shift; }
		shift
	done
	"${ENTER[@]}" "$MACHINE" "${options[@]}" "$RUN" "$NETD" "$@" \
		> "$BATS_TEST_TMPDIR/$name" 2> "$BATS_TEST_TMPDIR/$name.err" 3>&- &
	STARTED+=("$!")
	wait_for_line "$name" listening
}

# A server in the world.
serve_world() {
	local name=$1
	shift
	"${ENTER[@]}" $SERVE "$@" > "$BATS_TEST_TMPDIR/$name" 2>&1 3>&- &
	STARTED+=("$!")
	wait_for_line "$name" listening
}

# wait_for_line NAME PATTERN [COUNT]: until the output has that many such lines.
wait_for_line() {
	local i
	for ((i = 0; i < 200; i++)); do
		[[ $(grep -c -- "$2" "$BATS_TEST_TMPDIR/$1") -lt ${3:-1} ]] || return 0
		read -r -t 0.05 <> <(:) || true
	done
	cat "$BATS_TEST_TMPDIR/$1" "$BATS_TEST_TMPDIR/$1.err" >&2
	return 1
}

# published NAME N: the host port of its Nth rule.
published() {
	sed -n 's/^published //p' "$BATS_TEST_TMPDIR/$1" | sed -n "$2p"
}

ask() {
	in_world $ASK "$@"
}
