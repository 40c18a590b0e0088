#!/usr/bin/env bats
# `hull run`: a program in a machine of its own, its streams, and its exit status.

load helpers

@test "run prints what the program prints, and nothing else" {
	run -0 --separate-stderr hull run --rm busybox echo 'hello  world'
	assert_output 'hello  world'
	assert_equal "$stderr" ''
}

@test "run in a kernel and a process tree of its own" {
	run -0 hull run --rm busybox sh -c 'echo $$; cat /proc/sys/kernel/random/boot_id'
	assert_line --index 0 1
	refute_line "$(cat /proc/sys/kernel/random/boot_id)"
}

@test "run returns the status of the program" {
	run -0 hull run --rm busybox true
	run -3 hull run --rm busybox sh -c 'exit 3'
	run -255 hull run --rm busybox sh -c 'exit 255'
}

@test "run returns 128 and the signal that ended the program" {
	run -137 hull run --rm busybox sh -c 'sleep 60 & kill -9 $!; wait $!'
	run -139 hull run --rm --init busybox sh -c 'kill -SEGV $$'
}

@test "run returns 125 when hull fails" {
	fails 125 'Error: image not found: docker.io/library/nosuchimage:latest' hull run --rm --pull never nosuchimage
	fails 125 "Error: user 'nobodyknows' not found: no such entry in /etc/passwd" hull run --rm -u nobodyknows busybox true
}

@test "run returns 126 for what cannot be executed" {
	fails 126 "Error: exec '/etc/passwd': Permission denied" hull run --rm busybox /etc/passwd
	fails 126 "Error: exec '/etc': Is a directory" hull run --rm busybox /etc
}

@test "run returns 127 for what is not there" {
	fails 127 "Error: executable 'nosuch' not found in PATH" hull run --rm busybox nosuch
	fails 127 "Error: exec '/bin/nosuch': No such file or directory" hull run --rm busybox /bin/nosuch
}

@test "a container whose program never ran is not kept" {
	run -127 hull run busybox nosuch
	run -0 hull ls -aq
	assert_output ''
}

@test "the guest's words in an error message cannot drive the terminal" {
	run -127 --separate-stderr hull run --rm busybox $'\e[31mred\nline'
	[[ $stderr != *$'\e'* ]]
	assert_equal "${#stderr_lines[@]}" 1
}

@test "stdout and stderr stay apart" {
	run -0 --separate-stderr hull run --rm busybox sh -c 'echo out; echo err >&2; echo out2'
	assert_output $'out\nout2'
	assert_equal "$stderr" err
}

@test "a megabyte goes through stdin and stdout unchanged" {
	head -c 1048576 /dev/urandom > data
	hull run --rm -i busybox cat < data > back
	cmp data back
}

@test "a pipe as stdin ends when its writer does" {
	run -0 bash -c 'printf "one\ntwo" | "$HULL" run --rm -i busybox wc -c'
	assert_output 7
}

@test "an empty stdin is an end at once" {
	run -0 hull run --rm -i busybox cat < /dev/null
	assert_output ''
	run -0 bash -c ': | "$HULL" run --rm -i busybox cat'
	assert_output ''
	run -0 bash -c '"$HULL" run --rm -i busybox cat <&-'
	assert_output ''
}

@test "without -i stdin is /dev/null, and ours is not read" {
	run -0 bash -c 'echo mine | { "$HULL" run --rm busybox sh -c "readlink /proc/self/fd/0; cat"; cat; }'
	assert_output $'/dev/null\nmine'
}

@test "a reader that has seen enough ends the program" {
	run -0 bash -c 'timeout 60 "$HULL" run --rm busybox yes 2> /dev/null | head -1'
	assert_output y
}

@test "much output arrives whole, on both streams" {
	hull run --rm busybox sh -c 'seq 100000 & seq 100000 >&2; wait' > out 2> err
	seq 100000 | cmp - out
	seq 100000 | cmp - err
}

@test "output of processes left behind is read before the end" {
	run -0 hull run --rm busybox sh -c '(echo child) & wait; echo parent'
	assert_output $'child\nparent'
}

@test "the end of the program is the end, whatever else still runs" {
	run -0 timeout 60 "$HULL" run --rm busybox sh -c 'sleep 1000 & echo done'
	assert_output 'done'
}

@test "SIGTERM and SIGINT to run reach the program" {
	local signal
	for signal in TERM INT HUP USR1; do
		"$HULL" run --name "sig-$signal" busybox sh -c "trap 'echo got; exit 7' $signal; echo ready; while :; do sleep 0.1; done" > out &
		local pid=$!
		logged "sig-$signal" ready
		kill "-$signal" "$pid"
		ends 7 "$pid"
		assert_file_contains out got
	done
}

@test "the third SIGINT or SIGTERM ends run, whatever the program makes of them" {
	"$HULL" run --name deaf busybox sh -c "trap 'echo no' INT TERM; echo ready; while :; do sleep 0.1; done" > out 2> err &
	local runner=$! i
	logged deaf ready
	for i in 1 2 3; do
		kill -TERM "$runner"
		soon eval "[[ \$(grep -c no out) -ge $i ]] || ! kill -0 $runner"
	done
	ends 125 "$runner"
	run -0 cat err
	assert_output 'Error: asked 3 times to end: done waiting, the container goes on'
	assert_equal "$(state_of deaf)" running
}

@test "--cidfile gets the id; a file that is there is not overwritten" {
	run -0 hull run --cidfile id busybox true
	run -0 hull inspect "$(cat id)"
	run -125 hull run --cidfile id busybox true
	assert_line "Error: container id file 'id' exists; delete it or name another"
	run -0 hull ls -aq
	assert_output "$(cat id)"
}

@test "a name can be taken once" {
	run -0 hull create --name web busybox true
	fails 125 'Error: container with id web already exists' hull run --name web busybox true
	run -1 hull create --name web busybox true
	assert_output 'Error: container with id web already exists'
}

@test "run -d prints the id and leaves it running" {
	run -0 --separate-stderr hull run -d --name web busybox sleep 1000
	assert_output web
	assert_equal "$stderr" ''
	assert_equal "$(state_of web)" running
}

@test "a name is made up as a UUID, and any unambiguous start of it will do" {
	run -0 hull run -d busybox sleep 1000
	assert_output --regexp '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
	local id=$output
	run -0 hull exec "${id:0:6}" echo in
	assert_output in
	run -0 hull stop -t 0 "${id:0:4}"
}

@test "--rm leaves nothing" {
	run -0 hull run --rm --name gone busybox sh -c 'echo x > /file'
	assert_nothing_left
	run -0 hull run -d --rm --name gone busybox sleep 0.1
	run -0 hull wait gone || true
	assert_nothing_left
}

@test "ten at once all succeed" {
	local i pids=()
	for i in {1..10}; do
		hull run --rm busybox sh -c "echo $i; exit $i" > "out.$i" 2> "err.$i" &
		pids+=($!)
	done
	for i in {1..10}; do
		ends "$i" "${pids[i - 1]}"
		assert_equal "$(cat "err.$i")" ''
		assert_equal "$(cat "out.$i")" "$i"
	done
}
