#!/usr/bin/env bats
# A database, which is what volumes are for: what it said that it keeps is there after its machine was killed.

load helpers

setup_file() {
	local cache=${HULL_TEST_CACHE:-/var/cache/hull-test}
	export POSTGRES_SKIP=
	[[ -z $HULL_TEST_SKIP ]] || return 0
	mkdir -p "$cache" 2> /dev/null && [[ -w $cache ]] || cache=$BATS_FILE_TMPDIR
	if [[ ! -f $cache/postgres.tar ]] && ! "$BATS_TEST_DIRNAME/make-postgres" "$cache/postgres.tar"; then
		POSTGRES_SKIP="cannot download Debian's PostgreSQL"
		return 0
	fi
	"$HULL" image import -c 'ENV PATH=/pg:/bin' -c 'ENV LC_ALL=C' -c 'ENV PGHOST=/tmp' -c 'ENV PGDATA=/data/db' \
		-c 'USER postgres' -c 'VOLUME /data' "$cache/postgres.tar" postgres > /dev/null
}

teardown_file() {
	[[ -n $HULL_TEST_SKIP ]] || "$HULL" image rm postgres > /dev/null 2>&1 || true
}

setup() {
	vm_setup
	[[ -z $POSTGRES_SKIP ]] || skip "$POSTGRES_SKIP"
}

teardown() {
	vm_teardown
	[[ -n $HULL_TEST_SKIP ]] || timeout 60 "$HULL" volume delete --all > /dev/null
}

# written PID FILE PATTERN: waits until our child has written such a line.
written() {
	timeout 60 grep -q -m 1 -e "$3" < <(exec tail -f -n +1 --pid="$1" "$2")
}

# query SQL
query() {
	hull exec db psql -qAt -c "$1" postgres
}

@test "PostgreSQL on a volume: what it committed survives kill -9 of its machine" {
	local serve='[ -d /data/db ] || { initdb -N -k -A trust > /dev/null && sync; } && exec postgres -k /tmp -c listen_addresses= -c jit=off'
	local machine shim seen balances
	hull run -d --name db --stop-signal INT -v data:/data postgres sh -c "$serve"
	logged db 'ready to accept connections'
	hull exec db sh -c 'pgbench -i -q -s 1 && psql -q -c "create table seen (id serial)"' > /dev/null 2>&1
	: > bench
	: > seen
	hull exec db pgbench -c 2 -T 100 -P 1 >> bench 2>&1 &
	local clients=("$!")
	written "$!" bench '^progress: .* [1-9][0-9.]* tps'
	# Each number is printed when its row is committed.
	hull exec -i db psql -qAt < <(yes 'insert into seen default values returning id;' | head -n 20000) >> seen 2> /dev/null &
	clients+=("$!")
	written "$!" seen '^40$'
	machine=$(machine_of db)
	shim=$(shim_of db)
	kill -9 "$machine"
	wait_for_end "$machine" "$shim"
	wait "${clients[@]}" || true
	seen=$(grep -cx '[0-9]*' seen)
	((seen >= 40))
	hull start db
	soon query 'select 1'
	run -0 query "select count(*) from seen where id <= $seen"
	assert_output "$seen"
	run -0 query 'select count(*) > 0 from pgbench_history'
	assert_output t
	balances=$(query 'select sum(delta) from pgbench_history')
	run -0 query 'select sum(abalance) from pgbench_accounts union all select sum(bbalance) from pgbench_branches union all select sum(tbalance) from pgbench_tellers'
	assert_output "$balances"$'\n'"$balances"$'\n'"$balances"
	run -0 hull exec db pg_amcheck --install-missing --heapallindexed -t 'pgbench_*' -t seen postgres
	hull stop -t 30 db
	run -0 hull wait db
	assert_output 0
	run -0 hull run --rm -v data:/data:ro postgres pg_checksums -c
	assert_line --regexp 'Bad checksums: +0'
}
