#!/usr/bin/env bats
# Real programs whose machine is kept, brought back and multiplied: Python, redis, PostgreSQL, a shell on a terminal.

load helpers

# Their image is kept in the cache of the tests, by what makes it.
setup_file() {
	local cache=${HULL_TEST_CACHE:-/var/cache/hull-test} maker=$BATS_TEST_DIRNAME/make-services file
	export SERVICES_SKIP=
	[[ -z $HULL_TEST_SKIP ]] || return 0
	[[ $(uname -m) == x86_64 ]] || { SERVICES_SKIP="no such packages for this machine"; return 0; }
	mkdir -p "$cache" 2> /dev/null && [[ -w $cache ]] || cache=$BATS_FILE_TMPDIR
	file=$cache/services-$(md5sum < "$maker" | cut -c 1-8).tar
	if [[ ! -e $file ]]; then
		if ! "$maker" "$BATS_FILE_TMPDIR/services.tar" 2> "$BATS_FILE_TMPDIR/make.err"; then
			SERVICES_SKIP="cannot make the image: $(tail -n 1 "$BATS_FILE_TMPDIR/make.err")"
			return 0
		fi
		cp "$BATS_FILE_TMPDIR/services.tar" "$file.$$"
		mv "$file.$$" "$file"
	fi
	"$HULL" image import "$file" services > /dev/null
}

teardown_file() {
	[[ -n $HULL_TEST_SKIP || -n $SERVICES_SKIP ]] || "$HULL" image delete services > /dev/null
}

setup() {
	vm_setup
	[[ -z $SERVICES_SKIP ]] || skip "$SERVICES_SKIP"
}

teardown() {
	[[ -n $HULL_TEST_SKIP ]] || hull snapshot ls -q | xargs -r "$HULL" snapshot delete > /dev/null
	vm_teardown
}

on_terminal() {
	"$BATS_TEST_DIRNAME/on-terminal" "$@"
}

# goes_on CONTAINER: the counter of its Python rises, and its open file has every line once.
goes_on() {
	hull exec "$1" sh -c 'n=$(wc -l < /lines); until [ "$(wc -l < /lines)" -gt "$n" ]; do sleep 0.05; done
		head -n "$n" /lines | awk "\$0 != \"line \" NR { exit 1 }"'
}

@test "a shell on a terminal and its Python go on after suspend, in 30 forks at once, and when their snapshot is deleted" {
	local i
	hull run -dit --name py services sh
	run -0 on_terminal 'send:x=kept\n' 'expect:# ' 'send:\x10\x11' -- "$HULL" attach py
	hull exec -i py sh -c 'cat > /count.py' <<- 'END'
		import itertools, time
		with open("/lines", "w", buffering=1) as lines:
		    for i in itertools.count(1):
		        lines.write("line %d\n" % i)
		        time.sleep(0.1)
	END
	run -0 on_terminal 'send:python3 /count.py &\n' 'expect:# ' 'send:\x10\x11' -- "$HULL" attach py
	soon hull exec py test -s /lines
	run -0 hull suspend py
	run -0 hull resume py
	run -0 on_terminal 'send:echo still-$x\n' 'expect:still-kept' 'expect:# ' 'send:jobs\n' 'expect:Running' 'send:\x10\x11' -- \
		"$HULL" attach py
	goes_on py
	run -0 hull snapshot create --name warm py
	run -0 hull fork warm -n 30 --name kid
	assert_equal "${#lines[@]}" 30
	for i in {1..30}; do
		hull exec "kid-$i" sh -c 'od -An -N16 -tx1 /dev/urandom; cat /run/hull/fork' > out
		assert_equal "$(sed -n 's/^HULL_FORK_INDEX=//p' out)" "$i"
		head -n 1 out >> random
	done
	assert_equal "$(sort -u random | wc -l)" 30
	run -0 hull snapshot delete warm
	for i in 1 15 30; do
		goes_on "kid-$i"
	done
	goes_on py
	run -0 on_terminal 'send:echo still-$x\n' 'expect:still-kept' 'send:exit 3\n' -- "$HULL" attach kid-30
	assert_line 'status 3'
}

# redis CONTAINER WORD...
redis() {
	local container=$1
	shift
	hull exec "$container" redis-cli --raw "$@"
}

# told COUNT LINE: what the subscriber has written so often.
told() {
	[[ $(hull logs subscriber | grep -cx -e "$2") -eq $1 ]]
}

# published WORD: what redis tells its subscribers reaches the one in another machine.
published() {
	redis server publish news "$1"
	logged subscriber "news $1"
}

@test "redis with a subscriber in another machine: told at once that its connection has ended, not by a fork" {
	hull run -d --name server services redis-server --save '' --protected-mode no --enable-debug-command yes
	soon redis server set key first
	hull exec server sh -c 'redis-cli debug populate 10000 && redis-cli debug digest > /digest'
	hull run -d --name subscriber services python3 -uc '
import socket
while True:
    try:
        s = socket.create_connection(("server", 6379), timeout=30)
        s.sendall(b"SUBSCRIBE news\r\n")
        print("subscribed" if b"news" in s.recv(100) else "confused")
        while data := s.recv(1000):
            print("news", data.split(b"\r\n")[-2].decode())
        print("ended")
    except ConnectionResetError:
        print("ended")
    except TimeoutError:
        print("hangs")
    except OSError as error:
        print("failed", error)
'
	logged subscriber subscribed
	published one
	run -0 hull suspend server
	run -0 hull resume server
	soon told 1 ended
	soon told 2 subscribed
	published two
	# Its snapshot goes on beside it, and takes its own writes.
	run -0 hull snapshot create --name warm server
	run -0 hull fork warm --name kid
	published three
	assert_equal "$(redis kid get key)" first
	assert_equal "$(redis kid debug digest)" "$(hull exec kid cat /digest)"
	redis kid set key other
	redis server set key second
	assert_equal "$(redis kid get key)" other
	assert_equal "$(redis kid client list | wc -l)" 1
	assert_equal "$(redis server client list type pubsub | wc -l)" 1
	told 1 ended
	# In place: the connection that it remembers has ended.
	run -0 hull snapshot restore --in-place warm
	soon told 2 ended
	assert_equal "$(redis server get key)" first
	soon told 3 subscribed
	published four
	run -1 told 1 hangs
}

# sql CONTAINER STATEMENT
sql() {
	hull exec -u postgres "$1" psql -h /tmp -qAtc "$2"
}

check_database() {
	run -0 hull exec -u postgres "$1" pg_amcheck -h /tmp -s public --heapallindexed
	assert_equal "$(sql "$1" 'select count(*) from numbers')" "$2"
}

@test "PostgreSQL in the middle of a transaction: it goes on in what is restored and forked, and is not there on the disks alone" {
	local name
	hull run -d --name db -u postgres -v cluster:/data -e PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin services \
		postgres -D /data -c unix_socket_directories=/tmp
	logged db 'ready to accept connections'
	sql db 'create extension amcheck; create table numbers as select i from generate_series(1, 1000) i; create index on numbers (i)'
	hull exec -d -u postgres db psql -h /tmp -qc 'begin; insert into numbers select generate_series(1001, 3000)' \
		-c '\! touch /tmp/begun; until [ -e /tmp/go ]; do sleep 0.1; done' -c commit
	soon hull exec db test -e /tmp/begun
	run -0 hull snapshot create --volumes --name middle db
	run -0 hull fork db --name kid
	run -0 hull snapshot restore middle --name back
	run -0 hull snapshot restore middle --name cold --disks-only
	hull start cold
	for name in db kid back; do
		assert_equal "$(sql "$name" 'select count(*) from numbers')" 1000
		hull exec "$name" touch /tmp/go
		soon hull exec "$name" sh -c '! pidof psql'
		check_database "$name" 3000
	done
	logged cold 'ready to accept connections'
	check_database cold 1000
	sql cold 'insert into numbers values (0)'
	run -0 hull logs cold
	assert_line --partial 'automatic recovery in progress'
	hull delete -f db kid back cold
	hull volume prune > /dev/null # it and its copies
}
