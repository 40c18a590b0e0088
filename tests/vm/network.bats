#!/usr/bin/env bats
# Containers in networks: what they have, whom they reach and whom not, and how they are reached.

load helpers

teardown() {
	[[ -z $HULL_TEST_SKIP ]] || return 0
	timeout 120 "$HULL" delete --all --force > /dev/null
	hull network prune > /dev/null
	vm_teardown
}

# A page at port 8000 in a container that says who it is.
serve() {
	hull run -d --name "$@" busybox sh -c 'hostname > /tmp/index.html; echo up; exec httpd -f -v -p "[::]:8000" -h /tmp' > /dev/null
	logged "$1" up
}

fetch() { # CONTAINER ADDRESS
	hull exec "$1" timeout 20 wget -q -O - "http://$2:8000/"
}

address_of() { # CONTAINER [NETWORK]
	hull inspect "$1" | jq -r --arg n "${2:-}" '[.[0].status.networks[] | select($n == "" or .network == $n)][0].ipv4Address | split("/")[0]'
}

address6_of() {
	hull inspect "$1" | jq -r '.[0].status.networks[0].ipv6Address | split("/")[0]'
}

# The network's process of our state.
netd_of() {
	local pid
	for pid in $(pgrep -x hull-netd); do
		if readlink "/proc/$pid/fd/"* 2> /dev/null | grep -qF "$HULL_ROOT/net/$1"; then
			echo "$pid"
		fi
	done
}

# A free port of the host, as far as one can know.
free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() { # URL TEXT
	[[ $(curl -sS -m 20 "$1") == "$2" ]]
}

@test "a container is in the default network, with addresses, routes, names and the usual rights" {
	run -0 hull run --rm --name it busybox sh -c '
		ip -4 -o addr show eth0 | cut -d" " -f7
		ip -6 -o addr show eth0 scope global | cut -d" " -f7
		ip -4 route show default; ip -6 route show default
		cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address /etc/resolv.conf
		cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start
		cut -f 2 /proc/sys/net/ipv4/tcp_rmem
		ls /sys/class/net; cat /sys/class/net/eth1/operstate'
	local v4=${lines[0]} v6=${lines[1]}
	assert_regex "$v4" '^192\.168\.[0-9]+\.[0-9]+/24$|^10\.[0-9.]+/24$'
	assert_regex "$v6" '^fd[0-9a-f:]+/64$'
	assert_line --index 2 "default via ${v4%.*}.1 dev eth0 "
	assert_line --index 3 --partial "default via ${v6%%::*}::1 dev eth0"
	assert_line --index 4 65520
	assert_line --index 5 --regexp '^02:'
	assert_line --index 6 "nameserver ${v4%.*}.3"
	assert_line --index 7 $'0\t2147483647'
	assert_line --index 8 0
	assert_line --index 9 1048576 # room for many frames of 64 KiB
	assert_line --index 10 eth0
	assert_line --index 11 eth1 # to join another network with
	assert_line --index 12 lo
	assert_line --index 13 down
}

@test "none is the loopback and nothing else" {
	run -0 hull run --rm --network none --name it busybox sh -c 'ip -o addr | grep -v " lo "; ip route; cat /etc/resolv.conf; grep it /etc/hosts; ping -c 1 -W 5 127.0.0.1 > /dev/null && echo alive'
	assert_output $'127.0.1.1\tit\nalive'
}

@test "containers of a network reach each other by address, name and alias; those of another do not" {
	hull network create back > /dev/null
	serve web --network-alias www --hostname web.example
	hull run -d --name near busybox sleep 1000 > /dev/null
	hull run -d --name far --network back busybox sleep 1000 > /dev/null
	local target
	for target in "$(address_of web)" "[$(address6_of web)]" web www web.hull.internal web.example; do
		run -0 fetch near "$target"
		assert_output web.example
	done
	run -0 hull exec near nslookup "$(address_of web)"
	assert_output --partial web
	run ! hull exec far timeout 3 wget -q -O - "http://$(address_of web):8000/"
	run ! hull exec far nslookup -timeout=3 web
	run ! hull exec far ping -c 1 -W 2 "$(address_of near)"
	run -0 hull ls
	assert_line --regexp "web .* $(address_of web) "
	fails 1 'Error: network back is used by far' hull network delete back
	# A name is the container's while it runs.
	hull rename web shop
	run -0 fetch near shop
	assert_output web.example
	hull stop shop > /dev/null
	run ! hull exec near nslookup -timeout=3 shop
	run -0 hull stats --no-stream --format json near
	run -0 jq '.[0].networkRxBytes > 500 and .[0].networkTxBytes > 500' <<< "$output"
	assert_output true
}

@test "a network without a way out, and a container between two" {
	hull network create --internal --option mtu=1400 inner > /dev/null
	serve db --network inner
	serve web --network default --network inner,mtu=1300
	run -0 hull exec db ip route
	refute_output --partial default
	run -0 hull exec db cat /sys/class/net/eth0/mtu
	assert_output 1400
	run -0 hull exec web cat /sys/class/net/eth1/mtu
	assert_output 1300
	run -0 hull exec web sh -c 'ip route | grep -c default'
	assert_output 1
	# Each network's names are known to who is in both.
	run -0 fetch web db
	assert_output db
	run -0 fetch db web
	assert_output web
	run -0 fetch db "$(address_of web inner)"
	assert_output web
	run ! hull exec db timeout 3 wget -q -O - "http://$(address_of web default):8000/"
}

@test "address and MAC are kept from start to start, and can be asked for" {
	hull network create --subnet 10.78.9.0/24 back > /dev/null
	hull create --name it --network back,ip=10.78.9.50,mac=02:00:00:00:09:50,mtu=1500 busybox \
		sh -c 'ip -4 -o addr show eth0 | cut -d" " -f7; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu' > /dev/null
	for _ in 1 2; do
		run -0 --separate-stderr hull start -a it
		assert_output $'10.78.9.50/24\n02:00:00:00:09:50\n1500'
	done
	hull run -d --name auto --network back --restart on-failure:2 busybox sh -c 'ip -4 -o addr show eth0 | cut -d" " -f7; exit 1' > /dev/null
	hull wait auto > /dev/null
	soon eval '[[ $(state_of auto) == stopped ]]'
	run -0 hull logs auto
	assert_output $'10.78.9.51/24\n10.78.9.51/24\n10.78.9.51/24'
}

@test "names: --dns-search, --dns-option, --add-host, --no-dns" {
	run -0 hull run --rm --dns-domain own.example --dns-search a.example --dns-option ndots:2 --add-host db:192.0.2.7 \
		--add-host host:host-gateway busybox sh -c 'grep -v nameserver /etc/resolv.conf; tail -n 2 /etc/hosts; ip route show default | cut -d" " -f3'
	assert_line --index 0 'search own.example a.example'
	assert_line --index 1 'options ndots:2'
	assert_line --index 2 $'192.0.2.7\tdb'
	assert_line --index 3 "${lines[4]}"$'\thost'
	run -0 hull run --rm --no-dns busybox sh -c 'cat /etc/resolv.conf 2>&1 | grep -c nameserver || true'
	assert_output 0
}

@test "a published port reaches the container, and is free again when it is gone" {
	local port
	port=$(free_port)
	serve web -p "127.0.0.1:$port:8000"
	soon answers "http://127.0.0.1:$port/" web
	run -0 hull port web
	assert_output "8000/tcp -> 127.0.0.1:$port"
	run -0 hull ls
	assert_line --partial "127.0.0.1:$port->8000/tcp"
	# Many at once: none is lost.
	run -0 bash -c "seq 32 | xargs -P 32 -I{} curl -sS -m 100 http://127.0.0.1:$port/ | sort | uniq -c"
	assert_output --regexp '^ *32 web$'
	# Taken is told, and nothing is left of what could not start.
	fails 125 "Error: host port $port is in use" hull run --name other -p "127.0.0.1:$port:80" busybox true
	run -0 hull ls -aq
	assert_output web
	hull rm -f web > /dev/null
	serve again -p "127.0.0.1:$port:8000"
	soon answers "http://127.0.0.1:$port/" again
}

@test "what an image exposes is mapped by itself, and told" {
	local first
	mkdir -p rootfs/bin && cp "$(command -v busybox)" rootfs/bin/busybox && ln -s busybox rootfs/bin/sh
	tar -cf image.tar -C rootfs .
	hull image import image.tar exposing --change 'EXPOSE 18080' --change 'EXPOSE 18053/udp' --change 'CMD ["/bin/busybox","sleep","1000"]' \
		--change 'HEALTHCHECK --interval=90s --retries=2 CMD true' > /dev/null
	run -0 --separate-stderr hull run -d --name one exposing
	assert_output one
	first=$(hull port one 18080)
	assert_regex "$first" '^127\.0\.0\.1:[0-9]+$'
	assert_regex "$stderr" "port 18080/tcp is at $first"
	assert_regex "$stderr" "port 18053/udp is at $(hull port one 18053/udp)"
	assert_equal "$(hull inspect one | jq -c '.[0] | .configuration.healthCheck, .status.health.status')" \
		$'{"intervalInMs":90000,"retries":2,"test":["CMD-SHELL","true"]}\n"starting"'
	hull run -d --name two --no-healthcheck exposing 2> /dev/null
	assert_equal "$(hull inspect two | jq -c '.[0] | .configuration.healthCheck, .status.health')" $'null\nnull'
	run -0 hull port two 18080
	refute_output "$first"
	assert_regex "$output" '^127\.0\.0\.1:1[0-9]{4}$'
	run -0 --separate-stderr hull run --rm --no-publish exposing /bin/busybox true
	assert_equal "$stderr" ''
	hull rm -f one two > /dev/null
	hull image delete exposing > /dev/null
}

@test "UDP is published too" {
	local port
	port=$(free_port)
	mkdir rootfs && cp "$(dirname "$HULL")/tests/vm/udp_echo" rootfs/echo
	tar -cf image.tar -C rootfs .
	hull image import image.tar udp --change 'CMD ["/echo","7000"]' > /dev/null
	hull run -d --name echo -p "127.0.0.1:$port:7000/udp" udp > /dev/null
	logged echo up
	ask() {
		python3 - "$port" <<- 'PY'
			import socket, sys
			socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
			for n, s in enumerate(socks):
			    s.settimeout(10)
			    s.connect(("127.0.0.1", int(sys.argv[1])))
			    s.send(b"word %d" % n)
			for n, s in enumerate(socks):
			    assert s.recv(100) == b"word %d" % n
		PY
	}
	soon ask
	fails 125 "Error: host port $port is in use" hull run --rm -p "127.0.0.1:$port:80/udp" busybox true
	hull rm -f echo > /dev/null
	hull image delete udp > /dev/null
}

@test "networks outlive the death of their process" {
	local port pid
	port=$(free_port)
	serve web -p "127.0.0.1:$port:8000"
	hull run -d --name near busybox sleep 1000 > /dev/null
	soon answers "http://127.0.0.1:$port/" web
	# A stream between the two, under way when the process dies.
	hull exec -d web sh -c 'head -c 30000000 /dev/zero | nc -l -p 9000'
	hull exec near sh -c 'mkfifo /tmp/open; exec 3<> /tmp/open; until nc web 9000 <&3 > /tmp/stream; do :; done; wc -c < /tmp/stream' > stream.log &
	local reader=$!
	soon hull exec near test -s /tmp/stream
	pid=$(netd_of default)
	[[ -n $pid ]]
	kill -9 "$pid"
	soon answers "http://127.0.0.1:$port/" web
	[[ -n $(netd_of default) && $(netd_of default) != "$pid" ]]
	run -0 fetch near web
	assert_output web
	ends 0 "$reader"
	run cat stream.log
	assert_output 30000000
}

@test "a container joins and leaves networks while it runs" {
	hull network create back > /dev/null
	serve web --network back
	hull run -d --name it busybox sleep 1000 > /dev/null
	hull network connect back it
	run -0 fetch it web
	assert_output web
	run -0 hull exec it ip -4 -o addr show eth1
	assert_output --partial "$(address_of it back)"
	hull network create third > /dev/null
	fails 1 'Error: the machine of container it has no network card to spare; stop it, connect it and start it again' \
		hull network connect third it
	hull network disconnect default it
	run -0 hull exec it ip route show default
	assert_output --partial eth1
	hull network disconnect back it
	run -0 hull exec it ip route
	assert_output ''
	hull network connect back it
	run -0 fetch it web
	assert_output web
	run -0 hull exec it cat /etc/hosts
	assert_line "$(address_of it)"$'\tit'
	# A machine that was started with two networks has more cards.
	hull run -d --name wide --network default --network back busybox sleep 1000 > /dev/null
	hull network connect --alias far third wide
	run -0 hull exec wide ip -4 -o addr show eth2
	assert_output --partial "$(address_of wide third)"
	hull network disconnect default wide
	run -0 hull exec wide ip route show default
	assert_output --partial eth1
	run -0 jq -r '[.[0].status.networks[].network] | join(" ")' < <(hull inspect wide)
	assert_output 'back third'
	# One without any has a card too. It may not start the network's process, and has a process that does, also
	# when it is alone there and that was killed.
	hull run -d --name late --network none busybox sleep 1000 > /dev/null
	hull network create fourth > /dev/null
	hull network connect fourth late
	run -0 hull exec late ip -4 -o addr show eth0
	assert_output --partial "$(address_of late fourth)"
	local killed
	killed=$(netd_of fourth)
	kill -9 "$killed"
	soon hull exec late ping -q -c 1 -W 2 "$(address_of late fourth | sed 's/[0-9]*$/1/')"
	[[ -n $(netd_of fourth) && $(netd_of fourth) != "$killed" ]]
	hull network connect back late
	run -0 fetch late web
	assert_output web
}

@test "the host's own services are reached only where the configuration allows it" {
	local port
	port=$(free_port)
	mkdir www && echo of the host > www/page
	python3 -m http.server --bind 127.0.0.1 --directory www "$port" > /dev/null 2>&1 &
	local server=$!
	soon answers "http://127.0.0.1:$port/page" 'of the host'
	run ! hull run --rm busybox timeout 3 wget -q -O - "http://host.hull.internal:$port/page"
	run ! hull run --rm busybox sh -c "timeout 3 wget -q -O - http://\$(ip route show default | head -n 1 | cut -d' ' -f3):$port/page"
	printf '[network]\nhost-ports = %s\n' "$port" > own.conf
	wait_for_end $(netd_of default)
	HULL_CONFIG=$PWD/own.conf run -0 hull run --rm busybox timeout 20 wget -q -O - "http://host.hull.internal:$port/page"
	assert_output 'of the host'
	kill "$server"
	wait_for_end $(netd_of default)
}
