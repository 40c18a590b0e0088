#!/usr/bin/env bats
# `hull logs`: what the program wrote, as it wrote it.

load helpers

@test "stdout and stderr are kept apart" {
	hull run --name log busybox sh -c 'echo out; echo err >&2' > /dev/null 2>&1
	run -0 --separate-stderr hull logs log
	assert_output out
	assert_equal "$stderr" err
}

@test "-n shows the last lines" {
	hull run --name log busybox seq 10 > /dev/null
	run -0 hull logs -n 3 log
	assert_output $'8\n9\n10'
	run -0 hull logs -n 0 log
	assert_output ''
	run -0 hull logs -n 99 log
	assert_equal "${#lines[@]}" 10
}

@test "--timestamps puts the time in front of each line" {
	hull run --name log busybox sh -c 'echo one; echo two' > /dev/null
	run -0 hull logs --timestamps log
	assert_line --index 0 --regexp '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z one$'
	assert_line --index 1 --regexp 'Z two$'
}

@test "--since shows what is newer" {
	hull run --name log busybox echo line > /dev/null
	run -0 hull logs --since 10m log
	assert_output line
	run -0 hull logs --since "$(date -u -d '+1 hour' +%FT%TZ)" log
	assert_output ''
}

@test "-f goes on until the end" {
	hull run -d -i --name log busybox sh -c 'echo first; read -r l; echo second'
	timeout 60 "$HULL" logs -f log > followed &
	local follower=$!
	logged log first
	echo | hull attach log
	ends 0 "$follower"
	run -0 cat followed
	assert_output $'first\nsecond'
}

@test "a line without an end is shown as it is" {
	hull run --name log busybox printf 'no end' > /dev/null
	run -0 bash -c '"$HULL" logs log | od -An -c'
	assert_output "   n   o       e   n   d"
}

@test "bytes that are no text come back unchanged" {
	head -c 100000 /dev/urandom > data
	hull run -i --name log busybox cat < data > /dev/null
	hull logs log > back
	cmp data back
}

@test "long lines come back whole" {
	hull run --name log busybox sh -c 'head -c 300000 /dev/zero | tr "\0" x; echo' > /dev/null
	hull logs log > back
	assert_equal "$(wc -lc < back | tr -s ' ')" " 1 300001"
}

@test "logs of all runs of a container" {
	hull create --name log busybox echo again
	hull start -a log > /dev/null
	hull start -a log > /dev/null
	run -0 hull logs log
	assert_output $'again\nagain'
}

@test "logs are there while it runs, and when nobody was attached" {
	hull run -d --name log busybox sh -c 'echo early; sleep 1000'
	logged log early
	run -0 hull logs log
	assert_output early
}

@test "--boot is the console of the machine, not what the program wrote" {
	hull run --name log busybox echo program > /dev/null
	run -0 hull logs --boot log
	refute_output --partial program
	assert_file_exists "$HULL_ROOT/containers/$(uuid_of log)/boot.log"
}

@test "logs of what is not there" {
	fails 1 'Error: container not found: nosuch' hull logs nosuch
	hull create --name new busybox true
	run -0 hull logs new
	assert_output ''
}

@test "a reader that has seen enough is no failure" {
	hull run --name log busybox seq 100000 > /dev/null
	run -0 bash -o pipefail -c '"$HULL" logs log | head -1'
	assert_output 1
}

# records FIRST LAST: of stdout, one a line, some with a line that is two records.
records() {
	seq "$1" "$2" | awk '{
		if ($1 % 10 == 0)
			print "2026-01-02T03:04:05.000000000Z stdout P part of "
		print "2026-01-02T03:04:05.000000000Z stdout F line " $1
	}'
}

@test "a log of two large files is read a block at a time: all of it, and its last lines" {
	hull create --name log busybox true
	local dir count
	dir=$HULL_ROOT/containers/$(uuid_of log)
	records 1 240000 > "$dir/log.1"
	records 240001 300000 > "$dir/log"
	seq 300000 | awk '{ print ($1 % 10 ? "" : "part of ") "line " $1 }' > wanted
	(ulimit -S -d 10000 && hull logs log) > shown
	cmp wanted shown
	for count in 1 9 10 11 59999 60000 60001 299999 300000 300001; do
		hull logs -n "$count" log | cmp - <(tail -n "$count" wanted) || fail "-n $count"
	done
}

@test "-f goes on over a rotation" {
	hull run -d --name log busybox sh -c 'echo ready; sleep 1000'
	logged log ready
	local dir follower
	dir=$HULL_ROOT/containers/$(uuid_of log)
	timeout 60 "$HULL" logs -f log > followed &
	follower=$!
	soon grep -q ready followed
	records 1 3 >> "$dir/log"
	mv "$dir/log" "$dir/log.1"
	records 4 5 > "$dir/log.2"
	mv "$dir/log.2" "$dir/log"
	soon grep -q 'line 5' followed
	hull stop -t 0 log
	ends 0 "$follower"
	run -0 cat followed
	assert_output $'ready\nline 1\nline 2\nline 3\nline 4\nline 5'
}
