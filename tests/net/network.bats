# What a network is for its members: each other, names, a way out, and nothing else.
load helpers

@test "members reach each other by address and by name, and are told apart by it" {
	background web -d lan -a www -a shared 10 $SERVE tcp:80=web tcp6:80=web6
	background db -d lan -a shared 11 $SERVE tcp:80=db
	run -0 machine -d lan 12 sh -c '
		for name in c10 www c11 c11.lan C10.LAN; do echo "$name $(getent ahostsv4 $name | head -n 1 | cut -d" " -f1)"; done
		getent ahostsv4 shared | cut -d" " -f1 | sort -u | tr "\n" " "; echo
		getent hosts 10.99.1.11 fd99:1::10
		dig +short AAAA www; dig +tcp +short www
		$ASK tcp:10.99.1.10:80; $ASK tcp:fd99:1::10:80'
	assert_output "c10 10.99.1.10
www 10.99.1.10
c11 10.99.1.11
c11.lan 10.99.1.11
C10.LAN 10.99.1.10
10.99.1.10 10.99.1.11 
10.99.1.11      c11.lan
fd99:1::10      c10.lan
fd99:1::10
10.99.1.10
web 10.99.1.12
web6 fd99:1::12"
}

@test "names go with their container, and are not kept" {
	background web 10 $SERVE tcp:80
	background stays 11 $SERVE tcp:80
	run -0 machine 12 dig +noall +answer c10
	assert_output --regexp '^c10\.[[:space:]]+0[[:space:]]+IN[[:space:]]+A[[:space:]]+10\.99\.1\.10$'
	kill "${STARTED[0]}"
	wait "${STARTED[0]}" || true
	run -0 machine 12 dig +short c10
	refute_output --partial 10.99.1.10
}

@test "the way out leads into the world, not to the host itself" {
	serve_world world tcp:80 tcp6:80 udp:53
	run -0 machine 10 sh -c '
		$ASK tcp:198.51.100.2:80; $ASK tcp:2001:db8::1:80; $ASK udp:198.51.100.2:53
		curl -s -m 2 http://169.254.169.254/ || echo "no metadata"
		curl -s -m 2 http://10.99.1.1/ || echo "no host"
		curl -s -m 2 "http://[fd99:1::1]/" || echo "no host6"
		$ASK udp:10.99.1.1:99 2>&1; $ASK udp:fd99:1::1:99 2>&1
		ping -q -c 1 -W 5 10.99.1.1 > /dev/null && ping -q -c 1 -W 5 fd99:1::1 > /dev/null && echo pings'
	assert_output "hello 198.51.100.2
hello 2001:db8::1
hello 1 198.51.100.2
no metadata
no host
no host6
[Errno 111] Connection refused
[Errno 111] Connection refused
pings"
	run -0 grep -c connection "$BATS_TEST_TMPDIR/world"
	assert_output 2
}

@test "ports of the host that are allowed, and no others, are reached by its names" {
	serve_world world tcp:5432 tcp:5433 udp:5432 tcp6:5432
	run -0 machine -h 5432 -h 6000-6010 10 sh -c '
		for n in hull docker containers; do getent ahostsv4 host.$n.internal | head -n 1 | cut -d" " -f1; done
		$ASK tcp:10.99.1.1:5432; $ASK tcp:fd99:1::1:5432; $ASK udp:10.99.1.1:5432
		curl -s -m 2 http://host.hull.internal:5433/ || echo none'
	assert_output "10.99.1.1
10.99.1.1
10.99.1.1
hello 127.0.0.1
hello ::1
hello 1 127.0.0.1
none"
}

@test "an internal network has no way out, and its names" {
	serve_world world tcp:80
	background web -i 10 $SERVE tcp:80=web
	run -0 machine -i 11 sh -c '
		$ASK tcp:10.99.1.10:80
		curl -s -m 2 http://198.51.100.2/ || echo "no way out"
		dig +noall +comments example.org | grep -o "status: [A-Z]*"
		dig +noall +comments host.hull.internal | grep -o "status: [A-Z]*"'
	assert_output "web 10.99.1.11
no way out
status: NXDOMAIN
status: NXDOMAIN"
	run ! grep connection "$BATS_TEST_TMPDIR/world"
	run -126 in_world "$MACHINE" -i -p tcp:0.0.0.0:80:80 "$RUN" "$NETD" 12 true
	assert_output "the network 'n1' is internal: it publishes no ports"
}

@test "two networks do not reach each other" {
	background web -s 2 10 $SERVE tcp:80
	run -0 machine 10 sh -c 'curl -s -m 2 http://10.99.2.10/ || echo "not reached"; dig +short @10.99.1.3 c10'
	assert_output "not reached
10.99.1.10"
}

@test "other names are asked of the host's resolvers, whatever they are at the moment" {
	serve_world dns dns:53=192.0.2.1 dns-tcp:53=192.0.2.6
	printf 'nameserver 127.0.0.1\n' > "$BATS_TEST_TMPDIR/resolv.conf"
	in_world mount --bind "$BATS_TEST_TMPDIR/resolv.conf" /etc/resolv.conf
	background stays 11 $SERVE tcp:80
	run -0 machine 10 dig +short example.org
	assert_output 192.0.2.1
	printf 'search lan\nnameserver 198.51.100.9\nnameserver 198.51.100.2\n' > "$BATS_TEST_TMPDIR/resolv.conf"
	run -0 machine 10 dig +short example.org
	assert_output 192.0.2.1
	printf '# none\n' > "$BATS_TEST_TMPDIR/resolv.conf"
	run -0 machine 10 sh -c 'dig +noall +comments example.org | grep -o "status: [A-Z]*"'
	assert_output "status: SERVFAIL"
	run -0 machine -n 198.51.100.2 10 sh -c '
		for how in "" +tcp "@fd99:1::3" "@fd99:1::3 +tcp"; do dig $how +short example.org; done
		dig +tcp @fd99:1::3 +short c11'
	assert_output "192.0.2.1
192.0.2.6
192.0.2.1
192.0.2.6
10.99.1.11"
}

@test "a resolv.conf that others put in the place of the old one is read, also by root" {
	local etc=$BATS_TEST_TMPDIR/etc
	serve_world dns dns:53=192.0.2.1
	mkdir "$etc"
	cp /etc/nsswitch.conf /etc/passwd "$etc"
	echo 'nameserver 198.51.100.9' > "$etc/resolv.conf"
	in_world mount --bind "$etc" /etc
	background stays 11 $SERVE tcp:80
	echo 'nameserver 127.0.0.1' > "$etc/new"
	mv "$etc/new" "$etc/resolv.conf"
	run -0 machine 10 dig +short example.org
	assert_output 192.0.2.1
}

@test "a network whose process is killed goes on, with its connections and its ports" {
	background web -p tcp:127.0.0.1:8080:80 10 $SERVE tcp:80
	mkfifo "$BATS_TEST_TMPDIR/lines"
	background sink 11 python3 -c '
import socket
s = socket.create_server(("", 7000))
print("listening", flush=True)
c, _ = s.accept()
for line in c.makefile():
    print("got", line.strip(), flush=True)'
	"${ENTER[@]}" "$MACHINE" "$RUN" "$NETD" 12 python3 -c '
import socket, sys
c = socket.create_connection(("10.99.1.11", 7000))
for line in sys.stdin:
    c.sendall(line.encode())' < "$BATS_TEST_TMPDIR/lines" > "$BATS_TEST_TMPDIR/source" 3>&- &
	STARTED+=("$!")
	exec 9> "$BATS_TEST_TMPDIR/lines"
	echo before >&9
	wait_for_line sink "got before"
	in_world fuser -s -k -KILL "$RUN/net/n1/lock"
	wait_for_line web rejoined
	wait_for_line sink rejoined
	wait_for_line source rejoined
	echo after >&9
	wait_for_line sink "got after"
	exec 9>&-
	run -0 ask tcp:127.0.0.1:8080
	assert_output "hello 10.99.1.1"
}

@test "a network without IPv6 has a TAP device, too" {
	background web -4 -t 10 $SERVE tcp:80=web
	run -0 ask tcp:10.99.1.10:80
	assert_output "web 10.99.1.2"
	run -0 in_world sh -c 'ip -o addr show dev hull0 scope global | grep -c inet'
	assert_output 1
}

@test "with a TAP device the host reaches containers, and they open nothing to it" {
	serve_world world tcp:8000 udp:8000
	background web -t -p tcp:0.0.0.0:8080:80 -p udp:0.0.0.0:5353:53 -p 'tcp:[::]:8080:80' 10 $SERVE tcp:80=web udp:53=web tcp6:80=web6
	run -0 ask tcp:10.99.1.10:80
	assert_output "web 10.99.1.2"
	run -0 ask tcp:fd99:1::10:80
	assert_output "web6 fd99:1::2"
	run -0 ask udp:10.99.1.10:53=30000
	assert_output "web 30000 10.99.1.2"
	# Published ports at any address of the host: its own, the world's, and the one in the network.
	local address
	for address in 198.51.100.1 198.51.100.2; do
		run -0 ask "tcp:$address:8080"
		assert_output "web $address"
		run -0 ask "udp:$address:5353=30000"
		assert_output "web 30000 $address"
	done
	# The last is one that the container would answer at directly: the gateway stands for it.
	run -0 ask tcp:10.99.1.2:8080
	assert_output "web 10.99.1.1"
	run -0 ask udp:10.99.1.2:5353=30000
	assert_output "web 30000 10.99.1.1"
	run -0 ask tcp:10.99.1.2:8080 40
	assert_output "40 answered"
	run -0 ask tcp:2001:db8::1:8080
	assert_output "web6 2001:db8::1"
	run -0 ask tcp:fd99:1::2:8080
	assert_output "web6 fd99:1::1"
	run -0 in_world ping -q -c 1 -W 5 10.99.1.10
	run -0 in_world dig +short @10.99.1.3 c10
	assert_output 10.99.1.10
	run -0 machine -t 11 sh -c '
		curl -s -m 2 http://10.99.1.2:8000/ || echo "no tcp"
		timeout 2 $ASK udp:10.99.1.2:8000 || echo "no udp"'
	assert_output "no tcp
no udp"
	run ! grep -E 'connection|datagram' "$BATS_TEST_TMPDIR/world"
}
