#!/usr/bin/env bats
# Networks under the load of real programs, of many containers, and of more users than one.

load helpers

setup_file() {
	export SERVERS_SKIP=
	[[ -z $HULL_TEST_SKIP ]] || return 0
	if ! "$BATS_TEST_DIRNAME/make-servers" "$BATS_FILE_TMPDIR/servers.tar" 2> "$BATS_FILE_TMPDIR/make.err"; then
		SERVERS_SKIP="cannot make the image: $(tail -n 1 "$BATS_FILE_TMPDIR/make.err")"
		return 0
	fi
	"$HULL" image import "$BATS_FILE_TMPDIR/servers.tar" servers > /dev/null
}

teardown_file() {
	[[ -n $HULL_TEST_SKIP || -n $SERVERS_SKIP ]] || "$HULL" image delete servers > /dev/null
}

setup() {
	vm_setup
	USERS=()
}

teardown() {
	[[ -z $HULL_TEST_SKIP ]] || return 0
	local user
	for user in "${USERS[@]}"; do
		as "$user" "$PROGRAMS/hull" delete --all --force > /dev/null
		# shellcheck disable=SC2046
		wait_for_end $(pgrep -u "$user")
		as "$user" rm -rf "$(run_of "$user")"
		userdel -r "$user" 2> /dev/null
	done
	[[ -z $PROGRAMS ]] || rm -rf "$PROGRAMS"
	timeout 120 "$HULL" delete --all --force > /dev/null
	hull system dns list | xargs -r "$HULL" system dns delete > /dev/null
	hull network prune > /dev/null
	vm_teardown
}

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() { # URL PATTERN
	[[ $(curl -sS -m 20 "$1") =~ $2 ]]
}

@test "nginx and redis serve the host and each other, apt-get updates: wrk, redis-benchmark, iperf3, dig, 800 idle connections" {
	[[ -z $SERVERS_SKIP ]] || skip "$SERVERS_SKIP"
	local http redis iperf updating=
	http=$(free_port) redis=$(free_port) iperf=$(free_port)
	hull run -d --name web -p "127.0.0.1:$http:80" -p "[::1]:$http:80" servers nginx > /dev/null
	hull run -d --name db -p "127.0.0.1:$redis:6379" -p "127.0.0.1:$iperf:5201" servers redis-server --save '' --protected-mode no > /dev/null
	# A small part of the archive that this host uses.
	local archive
	archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm-updates' 'Component: main' | head -n 1)
	if [[ -n $archive ]] && curl -sSf -m 10 -o /dev/null "${archive}dists/bookworm-updates/InRelease"; then
		hull run --rm -e "SOURCE=deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm-updates main" servers \
			sh -c 'echo "$SOURCE" > /etc/apt/sources.list; exec apt-get -q update' > apt.log 2>&1 & # meanwhile
		updating=$!
	fi
	soon answers "http://127.0.0.1:$http/" '^[0-9.]+$'
	soon eval "[[ \$(redis-cli -p $redis ping) == PONG ]]"

	run -0 wrk -t 2 -c 64 -d 2s --timeout 20s "http://127.0.0.1:$http/"
	assert_line --regexp 'requests in'
	refute_output --partial 'Socket errors'
	refute_output --partial 'Non-2xx'
	run -0 redis-benchmark -p "$redis" -q --csv -n 1000 -c 50 -t set,get
	assert_line --regexp '^"GET"'
	run -0 hull exec web redis-benchmark -h db -q --csv -n 500 -c 20 -t set,get
	assert_line --regexp '^"GET"'
	refute_output --partial Error

	run -0 hull exec web sh -c 'dig +short db; dig +tcp +short db; dig +short -x "$(dig +short db)"; dig +short AAAA web'
	assert_equal "${lines[0]}" "${lines[1]}"
	assert_line --index 2 db.hull.internal.
	assert_line --index 3 --regexp '^fd'
	local db=${lines[0]}
	run -0 --separate-stderr hull system dns create services.test
	run -0 dig +short @127.0.0.1 -p "$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\)\. .*/\1/p' <<< "$stderr")" db.services.test
	assert_output --regexp "^(127\.0\.0\.1|$db)\$" # that of the container, if the host is in the network by a TAP device
	hull system dns delete services.test > /dev/null

	hull exec -d db iperf3 -s
	soon iperf3 -c 127.0.0.1 -p "$iperf" -t 1 > /dev/null
	run -0 hull exec web iperf3 -c db -t 1
	assert_line --regexp receiver

	run -0 python3 "$BATS_TEST_DIRNAME/hold_connections.py" 127.0.0.1 "$http" 800
	assert_output --regexp '^801 [0-9.]+$'
	run -0 python3 "$BATS_TEST_DIRNAME/hold_connections.py" ::1 "$http" 200
	assert_output --regexp '^201 [0-9a-f.:]+$'
	[[ -z $updating ]] || ends 0 "$updating" || fail "$(< apt.log)"
	run -0 bash -c "seq 64 | xargs -P 64 -I{} curl -sS -m 60 http://127.0.0.1:$http/ | uniq -c"
	assert_output --regexp '^ *64 [0-9.]+$'
}

@test "20 containers on 4 networks: each finds the members of its own by name, and nobody else" {
	local i
	for i in 0 1 2 3; do
		hull network create "net$i" > /dev/null
	done
	seq 0 19 | xargs -P 4 -I{} sh -c '
		timeout 120 "$HULL" run -d --name c{} --network net$(({} % 4)) busybox \
			sh -c "hostname > /tmp/index.html; exec httpd -f -p 8000 -h /tmp"' > started
	assert_equal "$(sort -u started | wc -l)" 20
	# The first of each network ask for everybody; each other one for the next of its own network and of another.
	seq 0 19 | xargs -P 4 -I{} sh -c '
		next=$((({} + 4) % 20)) other=$((({} + 1) % 20))
		[ {} -ge 4 ] || all=$(seq -s " " 0 19)
		timeout 120 "$HULL" exec c{} sh -c "
			for i in ${all:-$next $other}; do
				wget -q -O - http://c\$i.hull.internal:8000/ 2> /dev/null
			done
			true" > {}.found'
	for i in {0..19}; do
		run cat "$i.found"
		if [[ $i -lt 4 ]]; then
			assert_output "$(seq -f 'c%.0f' "$i" 4 19)"
		else
			assert_output "c$(((i + 4) % 20))"
		fi
	done
}

# as USER COMMAND...: with nothing of our environment, as after a login.
as() {
	local user=$1
	shift
	runuser -u "$user" -- env -i PATH="$PATH" HOME="/home/$user" LANG=C timeout --kill-after=5 120 "$@"
}

run_of() {
	echo "/tmp/hull-$(id -u "$1")"
}

add_user() {
	useradd -m "$1" || skip "no users can be added here"
	USERS+=("$1")
}

@test "two ordinary users at the same time: each has its own containers, ports and names, without any privilege" {
	[[ $EUID -eq 0 ]] || skip "only root adds users"
	local one=hull-test-$$-1 two=hull-test-$$-2 port web user checked=0
	port=$(free_port)
	# Where others may read it.
	PROGRAMS=$(mktemp -d /var/tmp/hull-users.XXXXXX)
	chmod 755 "$PROGRAMS"
	find "${HULL%/*}" -maxdepth 1 -type f -perm -100 -exec cp -t "$PROGRAMS" {} +
	cp -rL "${HULL%/*}/kernel" "$PROGRAMS/kernel"
	chmod -R a+rX "$PROGRAMS"
	add_user "$one"
	add_user "$two"
	for user in "$one" "$two"; do
		(as "$user" "$PROGRAMS/hull" system start && as "$user" "$PROGRAMS/hull" image import --builtin) > "$user.log" 2>&1 &
	done
	ends 0 %1
	ends 0 %2

	# The whole way: a machine of the template, a port, names, the host's side of it confined.
	as "$one" "$PROGRAMS/hull" run -d --name web -p "127.0.0.1:$port:8000" busybox \
		sh -c 'id -u > /tmp/index.html; exec httpd -f -p 8000 -h /tmp' > /dev/null
	soon answers "http://127.0.0.1:$port/" '^0$'
	run -0 --separate-stderr as "$one" "$PROGRAMS/hull" run --rm busybox sh -c 'wget -q -O - http://web:8000/'
	assert_output 0
	assert_equal "$stderr" ''
	for pid in $(pgrep -u "$one" -x 'hull-netd|hull-shim|qemu-system.*'); do
		run sh -c "sed -n 's/^\(CapEff\|CapPrm\|NoNewPrivs\|Seccomp\):[[:space:]]*//p' /proc/$pid/status | tr '\n' ' '"
		# Those of the second container, and of a template in the making, end meanwhile.
		[[ -d /proc/$pid ]] || continue
		assert_output '0000000000000000 0000000000000000 1 2 '
		checked=$((checked + 1))
	done
	assert [ "$checked" -ge 3 ] # netd, shim and emulator of web
	assert_equal "$(pgrep -u "$one" -c -x hull-netd)" 1

	# The other one sees nothing of it, and is told what both cannot have.
	run -0 as "$two" "$PROGRAMS/hull" ls -aq
	assert_output ''
	run -125 --separate-stderr as "$two" "$PROGRAMS/hull" run --rm -p "127.0.0.1:$port:8000" busybox true
	assert_equal "$stderr" "Error: host port $port is in use"
	run -1 --separate-stderr as "$two" "$PROGRAMS/hull" --root "/home/$one/.local/share/hull" ls
	assert_output ''
	assert_regex "$stderr" '^Error: .*Permission denied$'
	web=$(as "$one" "$PROGRAMS/hull" inspect web | jq -r '.[0].status.networks[0].ipv4Address | split("/")[0]')
	run -0 as "$two" "$PROGRAMS/hull" run --rm --name two busybox sh -c "
		timeout 2 wget -q -O - http://$web:8000/ 2> /dev/null || echo no address
		nslookup -type=a web.hull.internal > /dev/null || echo no name
		nslookup -type=a two.hull.internal > /dev/null && echo itself"
	assert_output $'no address\nno name\nitself'
	if [[ $(< /proc/sys/net/ipv4/ip_unprivileged_port_start) -gt 81 ]]; then
		run -125 --separate-stderr as "$two" "$PROGRAMS/hull" run --rm -p 127.0.0.1:81:8000 busybox true
		assert_equal "$stderr" 'Error: Permission denied while binding to host port 81'
	fi
	run -0 as "$one" "$PROGRAMS/hull" ls -q
	assert_output web
}
