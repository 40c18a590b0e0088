#!/usr/bin/env bats
# `-t`: a terminal in the guest, joined to ours.

load helpers

# on_terminal [--size RxC] STEP... -- COMMAND...: see on-terminal.
on_terminal() {
	"$BATS_TEST_DIRNAME/on-terminal" "$@"
}

@test "-t gives a terminal of our size" {
	run -0 on_terminal --size 33x101 -- "$HULL" run --rm -t busybox sh -c '[ -t 0 -a -t 1 -a -t 2 ] && tty; stty size; echo $TERM'
	assert_line --partial /dev/pts/0
	assert_line --partial '33 101'
	assert_line --partial xterm
	assert_line 'status 0'
}

@test "what is typed reaches the program, echoed by the guest alone" {
	run -0 on_terminal 'expect:# ' 'send:echo a$((40+2))b\n' 'expect:a42b' 'expect:# ' 'send:exit 6\n' -- "$HULL" run --rm -it busybox sh
	assert_equal "$(grep -c 'echo a' <<< "$output")" 1
	assert_line 'terminal restored'
	assert_line 'status 6'
}

@test "a new size reaches the program" {
	run -0 on_terminal 'expect:ready' 'resize:12x34' 'expect:12 34' -- \
		"$HULL" run --rm -it busybox sh -c 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.1; done'
	assert_line 'status 0'
}

@test "ctrl-C is the program's, not ours" {
	run -0 on_terminal 'expect:ready' 'send:\x03' 'expect:interrupted' -- \
		"$HULL" run --rm -it busybox sh -c 'trap "echo interrupted; exit 8" INT; echo ready; while :; do sleep 0.1; done'
	assert_line 'status 8'
	assert_line 'terminal restored'
}

@test "ctrl-D ends the input" {
	run -0 on_terminal 'expect:ready' 'send:some\n' 'send:\x04' 'expect:over' -- "$HULL" run --rm -it busybox sh -c 'echo ready; cat; echo over'
	assert_line 'status 0'
}

@test "the detach keys leave it running, and attach comes back to it" {
	run -0 on_terminal 'expect:# ' 'send:x=kept\n' 'expect:# ' 'send:\x10\x11' -- "$HULL" run --name term -it busybox sh
	assert_line 'terminal restored'
	assert_line 'status 0'
	assert_equal "$(state_of term)" running
	run -0 on_terminal 'send:echo still-$x\n' 'expect:still-kept' 'send:exit 3\n' -- "$HULL" attach term
	assert_line 'status 3'
	assert_line 'terminal restored'
}

@test "exec -t: its terminal hangs up when its client is killed, and stays when it is left" {
	hull run -d --name term busybox sleep 1000
	run -0 on_terminal 'expect:# ' 'send:echo $$ > /killed; sleep 777\r' 'expect:777' 'kill:9' -- "$HULL" exec -it term sh
	assert_line 'status -9'
	soon hull exec term sh -c '! kill -0 $(cat /killed) && ! pgrep -f "^sleep 777"'
	run -0 on_terminal 'expect:# ' 'send:echo $$ > /left\r' 'expect:# ' 'send:\x10\x11' -- "$HULL" exec -it term sh
	assert_line 'status 0'
	run -0 hull exec term sh -c 'kill -0 $(cat /left)'
}

@test "--detach-keys names others; the usual ones are then typed through" {
	run -0 on_terminal 'expect:ready' 'send:\x10\x11\n' 'expect:2 bytes' 'send:\x18' -- \
		"$HULL" run --name term --detach-keys ctrl-x -it busybox sh -c 'stty -ixon; echo ready; read -r l; echo ${#l} bytes; sleep 1000'
	assert_line 'status 0'
	assert_equal "$(state_of term)" running
}

@test "exec -t has a terminal of its own" {
	hull run -d --name term busybox sleep 1000
	run -0 on_terminal --size 20x30 'expect:# ' 'send:tty; stty size; exit 2\n' -- "$HULL" exec -it term sh
	assert_line --partial /dev/pts/
	assert_line --partial '20 30'
	assert_line 'status 2'
}

@test "the terminal is as before when the container is killed from elsewhere" {
	"$BATS_TEST_DIRNAME/on-terminal" 'expect:ready' -- "$HULL" run --name term -it busybox sh -c 'stty -echo; echo ready; sleep 1000' > out &
	logged term ready
	hull kill term
	ends 0 $!
	run -0 cat out
	assert_line 'terminal restored'
	assert_line 'status 137'
}

@test "the terminal is as before when hull is terminated" {
	"$BATS_TEST_DIRNAME/on-terminal" 'expect:ready' -- "$HULL" run --name term -it busybox sh -c 'trap "exit 12" TERM; echo ready; while :; do sleep 0.1; done' > out &
	local player=$!
	logged term ready
	pkill -TERM -P "$player"
	ends 0 "$player"
	run -0 cat out
	assert_line 'terminal restored'
	assert_line 'status 12'
}

@test "-t without a terminal of ours works all the same" {
	run -0 bash -c '"$HULL" run --rm -t busybox sh -c "tty; echo x" < /dev/null | cat -A'
	assert_line '/dev/pts/0^M$'
	assert_line 'x^M$'
}

@test "an error message comes with the terminal restored" {
	run -0 on_terminal -- "$HULL" run --rm -it busybox nosuch
	assert_line --partial "Error: executable 'nosuch' not found in PATH"
	assert_line 'terminal restored'
	assert_line 'status 127'
}
