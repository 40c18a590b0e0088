#!/usr/bin/env bats
# The life of a container, command by command.

load helpers

# waiting NAME [OPTION...]: runs a container that ends by itself only when asked, and then at once.
waiting() {
	local name=$1
	shift
	hull run -d --name "$name" "$@" busybox sh -c 'trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done' > /dev/null
}

@test "create makes it, start starts it, wait tells its status" {
	run -0 --separate-stderr hull create --name cc busybox sh -c 'echo in; exit 4'
	assert_output cc
	assert_equal "$(state_of cc)" created
	assert_equal "$(hull inspect cc | jq -c '.[0].status | has("startedDate")')" false
	run -0 --separate-stderr hull start cc
	assert_output cc
	run -0 hull wait cc
	assert_output 4
	assert_equal "$(state_of cc)" stopped
	assert_equal "$(hull inspect cc | jq -c '.[0].status.exitCode')" 4
	run -0 hull logs cc
	assert_output in
}

@test "start -a shows the output and returns the status" {
	hull create --name cc busybox sh -c 'echo out; echo err >&2; exit 6'
	run -6 --separate-stderr hull start -a cc
	assert_output out
	assert_equal "$stderr" err
}

@test "start -i feeds it" {
	hull create -i --name cc busybox cat
	run -0 hull start -ai cc <<< 'typed'
	assert_output typed
}

@test "what was written is there after a stop and a start" {
	hull run -d --name keep busybox sh -c 'cat /file 2> /dev/null; echo content > /file; echo ready; sleep 1000'
	logged keep ready
	hull stop -t 0 keep
	run -0 hull start keep
	logged keep content
	run -0 hull exec keep cat /file
	assert_output content
}

@test "stop lets the program end by itself, and prints the id" {
	waiting web
	logged web ready
	run -0 --separate-stderr hull stop web
	assert_output web
	assert_equal "$stderr" ''
	assert_equal "$(state_of web)" stopped
	run -0 hull wait web
	assert_output 0
}

@test "stop kills what does not end in time" {
	hull run -d --name deaf busybox sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
	logged deaf ready
	run -0 hull stop -t 1 deaf
	run -0 hull wait deaf
	assert_output 137
}

@test "stop and kill of what does not run" {
	hull create --name cc busybox true
	run -0 hull stop cc
	fails 1 'Error: container cc is not running' hull kill cc
	fails 1 'Error: container not found: nosuch' hull stop nosuch
}

@test "several targets are all tried, and the failed ones told" {
	waiting one
	waiting two
	run -1 --separate-stderr hull stop one nosuch two
	assert_output $'one\ntwo'
	assert_equal "$stderr" 'Error: container not found: nosuch'
	assert_equal "$(hull ls -q)" ''
}

@test "stop --all stops all that run" {
	waiting one
	waiting two
	hull create --name three busybox true
	run -0 hull stop --all
	assert_line one
	assert_line two
	refute_line three
	run -0 hull ls -q
	assert_output ''
}

@test "restart stops and starts" {
	waiting web
	logged web ready
	run -0 hull restart web
	assert_output web
	assert_equal "$(state_of web)" running
	soon eval '[[ $(hull logs web) == $'"'"'ready\nready'"'"' ]]'
}

@test "kill sends what is asked for, by default KILL" {
	waiting web
	run -0 hull kill web
	assert_output web
	run -0 hull wait web
	assert_output 137
	hull run -d --name usr busybox sh -c 'trap "echo got" USR1; echo ready; while :; do sleep 0.1; done'
	logged usr ready
	run -0 hull kill -s SIGUSR1 usr
	logged usr got
	assert_equal "$(state_of usr)" running
}

@test "delete refuses what runs, --force does not" {
	waiting web
	fails 1 'Error: container web is running; stop it first, or use --force' hull delete web
	run -0 hull rm -f web
	assert_output web
	fails 1 'Error: container not found: web' hull rm web
}

@test "delete --all takes what does not run" {
	hull create --name one busybox true
	hull create --name two busybox true
	run -0 hull rm -a
	assert_line one
	assert_line two
}

@test "a run directory that differs or is gone does not make it look dead" {
	waiting web
	logged web ready
	run -0 env HULL_RUN="$BATS_TEST_TMPDIR/other" "$HULL" list --format json
	assert_equal "$(jq -r '.[0].status.state' <<< "$output")" running
	run -1 env HULL_RUN="$BATS_TEST_TMPDIR/other" "$HULL" start web
	assert_output 'Error: container web is already running'
	assert_equal "$(state_of web)" running
}

@test "a prune beside it takes nothing from a run" {
	local i pid
	while :; do "$HULL" prune; done > "$BATS_TEST_TMPDIR/pruned" 2> /dev/null &
	pid=$!
	for i in 1 2 3 4 5 6; do
		run -0 hull run --name "r$i" busybox true
	done
	kill "$pid"
	wait "$pid" || true
}

@test "exec runs beside the program: streams, status, environment, directory, user" {
	hull run -d --name web -e A=1 -w /etc busybox sleep 1000
	run -0 --separate-stderr hull exec web sh -c 'echo out; echo err >&2'
	assert_output out
	assert_equal "$stderr" err
	run -7 hull exec web sh -c 'exit 7'
	run -0 hull exec -e B=2 web sh -c 'echo $A $B; pwd; id -u; hostname'
	assert_output $'1 2\n/etc\n0\nweb'
	run -0 hull exec -u 1000 -w /tmp web sh -c 'id -u; pwd'
	assert_output $'1000\n/tmp'
	run -0 bash -c 'echo typed | "$HULL" exec -i web cat'
	assert_output typed
	run -0 hull exec web sh -c 'ps -o comm=; cat /proc/1/cmdline'
	assert_line --partial sleep
}

@test "exec -i whose client is killed: the program reads the end of its input, and goes on" {
	hull run -d --name web busybox sleep 1000
	mkfifo pipe
	"$HULL" exec -i web sh -c 'cat > /got; echo over > /ended; sleep 1000' < pipe &
	local client=$!
	exec 9> pipe
	echo line >&9
	soon hull exec web test -s /got
	kill -9 "$client"
	soon hull exec web test -s /ended
	exec 9>&-
	wait "$client" || true
	run -0 hull exec web sh -c 'cat /got; ps -o args='
	assert_line line
	assert_equal "$(grep -c '^sleep 1000$' <<< "$output")" 2
}

@test "exec: what cannot be run" {
	hull run -d --name web busybox sleep 1000
	fails 127 "Error: executable 'nosuch' not found in PATH" hull exec web nosuch
	fails 126 "Error: exec '/etc': Is a directory" hull exec web /etc
	hull stop -t 0 web
	fails 125 'Error: container web is not running' hull exec web true
	fails 125 'Error: container not found: nosuch' hull exec nosuch true
}

@test "exec -d prints the id and leaves it running" {
	hull run -d --name web busybox sleep 1000
	run -0 hull exec -d web sh -c 'sleep 0.2; echo x > /made; sleep 1000'
	assert_output web
	soon hull exec web test -s /made
}

@test "an exec is killed with its container" {
	hull run -d --name web busybox sleep 1000
	hull exec web sh -c 'echo x > /started; exec sleep 1000' &
	soon hull exec web test -s /started
	hull kill web
	ends 137 $!
}

@test "many execs at once" {
	hull run -d --name web busybox sleep 1000
	local i pids=()
	for i in {1..8}; do
		hull exec web sh -c "seq 2000; exit $i" > "out.$i" &
		pids+=($!)
	done
	for i in {1..8}; do
		ends "$i" "${pids[i - 1]}"
		seq 2000 | cmp - "out.$i"
	done
}

@test "attach joins the output, and the status is the program's" {
	hull run -d -i --name web busybox sh -c 'read -r l; echo "got $l"; exit 3'
	run -3 hull attach web <<< 'word'
	assert_output 'got word'
	fails 125 'Error: container web is not running' hull attach web
}

@test "wait waits for several" {
	hull run -d --name one busybox sh -c 'exit 1'
	hull run -d --name two busybox sh -c 'sleep 0.5; exit 2'
	run -0 hull wait one two
	assert_output $'1\n2'
	fails 1 'Error: container not found: nosuch' hull wait nosuch
	# Of what has not begun, and of what was suspended meanwhile.
	hull create --name late busybox sh -c 'sleep 1000; exit 4' > /dev/null
	hull wait late > status &
	local waiter=$!
	hull start late
	hull suspend late
	hull resume late
	kill -0 "$waiter"
	hull stop -s KILL late
	ends 0 "$waiter"
	run -0 cat status
	assert_output 137
}

@test "inspect tells what was asked for, and the state" {
	hull run -d --name web -e A=1 -l k=v -c 1 -m 256m -u 5:6 -w /tmp --cap-add NET_ADMIN --read-only busybox sleep 1000
	run -0 hull inspect web
	local json=$output
	assert_equal "$(jq -c '.[0] | keys' <<< "$json")" '["configuration","id","status"]'
	assert_equal "$(jq -r '.[0].id' <<< "$json")" web
	assert_equal "$(jq -c '.[0].configuration.resources' <<< "$json")" '{"cpus":1,"memoryInBytes":268435456}'
	assert_equal "$(jq -c '.[0].configuration.initProcess | [.executable, .arguments, .workingDirectory, .terminal]' <<< "$json")" \
		'["sleep",["1000"],"/tmp",false]'
	assert_equal "$(jq -c '.[0].configuration.labels' <<< "$json")" '{"k":"v"}'
	assert_equal "$(jq -r '.[0].configuration.readOnly' <<< "$json")" true
	assert_equal "$(jq -r '.[0].configuration.image.reference' <<< "$json")" docker.io/library/busybox:latest
	assert_equal "$(jq -r '.[0].configuration.initProcess.environment | index("A=1") != null' <<< "$json")" true
	jq -e '.[0].status | .state == "running" and (.startedDate | fromdate) > 0' <<< "$json"
	jq -e '.[0].configuration.creationDate | fromdate > 0' <<< "$json"
	run -0 bash -c '"$HULL" inspect web | jq -S . | diff - <("$HULL" inspect web | jq .)'
	run -1 --separate-stderr hull inspect nosuch
	assert_output '[]'
	assert_equal "$stderr" 'Error: container not found: nosuch'
}

@test "list shows what runs; -a all; -q ids; formats and filters" {
	waiting up
	hull create --name down busybox true
	run -0 hull ls
	assert_line --index 0 --regexp '^ID +IMAGE +OS +ARCH +STATE +IP +CPUS +MEMORY +STARTED'
	assert_line --index 1 --regexp '^up +docker.io/library/busybox:latest +linux +[a-z0-9]+ +running'
	assert_equal "${#lines[@]}" 2
	run -0 hull ls -q
	assert_output up
	run -0 hull ls -aq
	assert_output $'down\nup'
	run -0 hull ls -a --format json
	assert_equal "$(jq -c '[.[] | {id, s: .status.state}]' <<< "$output")" '[{"id":"down","s":"created"},{"id":"up","s":"running"}]'
	assert_equal "${#lines[@]}" 1
	run -0 hull ls -a --format yaml
	assert_line --partial 'id: up'
	run -0 hull ls -q --filter status=created
	assert_output down
	run -0 hull ls -aq --filter name=ow
	assert_output down
}

@test "rename: the new name is taken, the old one free" {
	waiting old
	run -0 hull rename old new
	run -0 hull exec new echo in
	assert_output in
	hull create --name old busybox true
	run -1 hull rename old new
	assert_output 'Error: container with id new already exists'
}

@test "prune removes what does not run, and only that" {
	waiting up
	hull create --name one busybox true
	run -0 --separate-stderr hull prune
	assert_output one
	[[ $stderr == Reclaimed*'in disk space' ]]
	run -0 --separate-stderr hull prune
	assert_output ''
	assert_equal "$stderr" 'Reclaimed Zero KB in disk space'
	run -0 hull ls -aq
	assert_output up
}

@test "stats --no-stream has a row for each" {
	waiting one
	waiting two
	run -0 hull stats --no-stream
	assert_line --index 0 --regexp '^Container ID +Cpu % +Memory Usage +Net Rx/Tx +Block I/O +Pids'
	assert_line --regexp '^one +[0-9.]+% +[0-9.]+ [KM]iB / 1.00 GiB'
	assert_line --regexp '^two '
	run -0 hull stats --no-stream --format json one
	jq -e '.[0] | .id == "one" and .memoryUsageBytes > 0 and .numProcesses > 0' <<< "$output"
	hull create --name three busybox true
	run -0 hull stats --no-stream three
	assert_line --regexp '^three +-- +--'
}

@test "pause holds it, unpause lets it go on" {
	hull run -d --name web busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i > /n; sleep 0.05; done'
	run -0 hull pause web
	assert_output web
	assert_equal "$(state_of web)" paused
	fails 1 'Error: container web is already paused' hull pause web
	run -0 hull unpause web
	assert_equal "$(state_of web)" running
	run -0 hull exec web cat /n
	fails 1 'Error: container web is not paused' hull unpause web
}

@test "a paused container can be stopped, killed and removed" {
	local verb
	for verb in 'stop -t 1' kill 'rm -f'; do
		hull run -d --name pp busybox sleep 1000
		hull pause pp
		# shellcheck disable=SC2086
		run -0 hull $verb pp
		timeout 60 "$HULL" wait pp || true
		assert_equal "$(hull ls -q)" ''
		hull rm -f pp || true
	done
}

@test "a command to a paused container says that it is paused" {
	hull run -d --name web busybox sleep 1000
	hull pause web
	local message="Error: container web is paused; 'hull unpause' it first"
	fails 125 "$message" hull exec web true
	fails 125 "$message" hull attach web
	run -0 hull stats --no-stream web
}

@test "two starts at once: one wins, the other says why not" {
	hull create --name race busybox sleep 1000
	hull start race > out.1 2> err.1 &
	local first=$!
	hull start race > out.2 2> err.2 &
	local second=$! statuses=0 status
	for pid in "$first" "$second"; do
		status=0
		wait "$pid" || status=$?
		statuses=$((statuses + status))
	done
	assert_equal "$statuses" 1
	run -0 cat err.1 err.2
	assert_output 'Error: container race is already running'
	run -1 hull start race
	assert_output 'Error: container race is already running'
}

@test "start of several" {
	hull create --name one busybox sleep 1000
	hull create --name two busybox sleep 1000
	run -1 --separate-stderr hull start one nosuch two
	assert_output $'one\ntwo'
	assert_equal "$stderr" 'Error: container not found: nosuch'
}

@test "--restart on-failure starts it again as often as said" {
	hull run -d --name again --restart on-failure:2 busybox sh -c 'echo run; exit 1'
	run -0 timeout 60 "$HULL" wait again
	soon eval '[[ $(state_of again) == stopped ]]'
	run -0 hull logs again
	assert_output $'run\nrun\nrun'
}

@test "events: what happens to containers is told as it happens" {
	timeout 100 "$HULL" events > events &
	local watcher=$! all named
	timeout 100 "$HULL" system logs -f > all &
	all=$!
	hull run -d --name web busybox sleep 1000
	soon grep -q 'container start web' events
	hull pause web
	soon grep -q 'container pause web' events
	hull unpause web
	soon grep -q 'container unpause web' events
	hull rename web renamed
	soon grep -q 'container rename renamed' events
	kill -9 "$(shim_of renamed)"
	soon grep -q 'container die renamed (image=docker.io/library/busybox:latest, exitCode=137)' events
	printf 'one\n\033two\n' >> "$HULL_ROOT/containers/$(uuid_of renamed)/vm.log"
	run -0 hull system logs -n 1 renamed
	assert_line --regexp '^renamed machine: .two$'
	refute_line --partial one
	soon grep -q 'machine: .two$' all
	timeout 100 "$HULL" system logs -f -n 1 renamed > named &
	named=$!
	soon grep -q '^renamed machine: .two$' named
	printf 'three\nhalf' >> "$HULL_ROOT/containers/$(uuid_of renamed)/vm.log"
	soon grep -q '^renamed machine: three$' named
	hull delete renamed
	ends 0 "$named"
	run -0 cat named
	assert_output --regexp $'^renamed machine: .two\nrenamed machine: three$'
	kill "$all"
	wait "$all" || true
	soon grep -q 'container destroy renamed' events
	kill "$watcher"
	wait "$watcher" || true
}

@test "top lists the processes as the container numbers them" {
	hull run -d --name web busybox sh -c 'sleep 1000 & wait'
	hull exec -d -u 1234 web sleep 3000
	soon eval 'hull top web | grep -q "sleep 3000"'
	run -0 hull top web
	assert_line --index 0 --regexp '^PID +PPID +UID +AGE +CPU +COMMAND$'
	assert_line --regexp '^1 +0 +0 +[0-9:]+ +[0-9:]+ +sh -c sleep 1000'
	assert_line --regexp '^[0-9]+ +1 +0 .* sleep 1000$'
	assert_line --regexp '^[0-9]+ +0 +1234 .* sleep 3000$'
	run -0 hull top --format json web
	assert_equal "$(jq '[.[] | select(.pid == 1)] | length' <<< "$output")" 1
	hull stop -t 0 web
	fails 1 'Error: container web is not running' hull top web
}

@test "a health check: list, inspect and events tell what it says; nothing is checked on hold" {
	timeout 100 "$HULL" events > events &
	local watcher=$!
	hull run -d --name web --health-cmd 'echo asked >> /asked; cat /health' --health-interval 100ms --health-retries 2 \
		busybox sleep 1000
	soon grep -q 'container health_status web (image=.*, health=unhealthy)$' events
	run -0 hull ls --filter health=unhealthy
	assert_line --regexp '^web .* running \(unhealthy\) '
	run -0 jq -r '.[0].status.health | .status, .log[-1].exitCode, .log[-1].output' <<< "$(hull inspect web)"
	assert_output $'unhealthy\n1\ncat: can\'t open \'/health\': No such file or directory'
	hull exec web touch /health
	soon grep -q 'container health_status web (image=.*, health=healthy)$' events
	hull pause web
	hull unpause web
	hull exec web rm /asked
	soon hull exec web cat /asked
	hull stop -t 0 web
	run -0 hull ls -a --filter name=web
	assert_line --regexp '^web .* stopped  '
	kill "$watcher"
	wait "$watcher" || true
}
