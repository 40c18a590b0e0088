# Published ports, from the world to a machine.
load helpers

@test "tcp and udp ports are published, with the client's address kept" {
	background server -p tcp:0.0.0.0:8080:80 -p udp:0.0.0.0:5353:53 10 $SERVE tcp:80 udp:53
	run -0 ask tcp:198.51.100.1:8080
	assert_output "hello 198.51.100.1"
	run -0 ask udp:198.51.100.1:5353=7
	assert_output "hello 7 198.51.100.1"
	# Loopback means another thing to the machine: it sees the gateway.
	run -0 ask tcp:127.0.0.1:8080
	assert_output "hello 10.99.1.1"
	run -0 ask udp:127.0.0.1:5353=40000
	assert_output "hello 40000 10.99.1.1"
	# More than a frame holds: in fragments, both ways.
	run -0 ask udp:127.0.0.1:5353=65507
	assert_output "hello 65507 10.99.1.1"
	run -0 ask udp:198.51.100.1:5353=65500
	assert_output "hello 65500 198.51.100.1"
}

@test "ports are published on IPv6, with the client's address kept, also for services that listen on IPv4 alone" {
	background server -p 'tcp:[::1]:8080:80' -p 'tcp:[::]:8081:81' -p 'udp:[::]:5353:53' -p udp:0.0.0.0:5353:53 10 \
		$SERVE tcp:80 tcp6:81=six udp:53
	run -0 ask tcp:2001:db8::1:8081
	assert_output "six 2001:db8::1"
	run -0 ask tcp:::1:8081
	assert_output "six fd99:1::1"
	# What cannot be told in IPv4 is the gateway.
	run -0 ask tcp:::1:8080
	assert_output "hello 10.99.1.1"
	run ! ask tcp:2001:db8::1:8080
	run -0 ask udp:2001:db8::1:5353
	assert_output "hello 1 10.99.1.1"
	run -0 ask udp:127.0.0.1:5353
	assert_output "hello 1 10.99.1.1"
}

@test "nobody at a published port is told to its client; much goes through, and whole, in either version of IP" {
	background server -p 'tcp:[::]:8080:80' -p 'tcp:[::]:8081:81' -p 'tcp:[::]:8082:82' 10 python3 -c '
import hashlib, socket, threading
def serve(family, port):
    s = socket.socket(family); s.bind(("", port)); s.listen()
    while True:
        c, _ = s.accept()
        total = hashlib.sha256(c.makefile("rb").read())
        c.sendall(total.hexdigest().encode() * 50000)
        c.close()
for where in (socket.AF_INET, 80), (socket.AF_INET6, 81):
    threading.Thread(target=serve, args=where).start()
print("listening", flush=True)'
	# It is accepted before it is known that nobody is there, and closed then.
	run ask tcp:::1:8082
	refute_output --partial 'timed out'
	run -0 in_world timeout 20 python3 -c '
import hashlib, os, socket
for port in 8080, 8081:
    sent = os.urandom(3000001)
    s = socket.create_connection(("::1", port))
    s.sendall(sent)
    s.shutdown(socket.SHUT_WR)
    assert s.makefile("rb").read() == hashlib.sha256(sent).hexdigest().encode() * 50000
print("whole")'
	assert_output whole
}

@test "64 connections at once are all answered" {
	background server -p tcp:0.0.0.0:8080:80 -p 'tcp:[::]:8080:80' -p udp:0.0.0.0:53:53 10 $SERVE tcp:80 udp:53
	run -0 ask tcp:127.0.0.1:8080 64
	assert_output "64 answered"
	run -0 ask tcp:::1:8080 64
	assert_output "64 answered"
	run -0 ask udp:127.0.0.1:53 64
	assert_output "64 answered"
}

@test "a port that is taken fails the start by name, and nothing stays published" {
	serve_world other tcp:8081
	run -126 in_world "$MACHINE" -p tcp:0.0.0.0:8080:80 -p tcp:0.0.0.0:8081:81 "$RUN" "$NETD" 10 sh -c 'echo started'
	assert_output "host port 8081 is in use"
	run ! ask tcp:127.0.0.1:8080
	run -126 in_world "$MACHINE" -p tcp:192.0.2.77:8080:80 "$RUN" "$NETD" 10 sh -c 'echo started'
	assert_output "cannot publish host port 8080 on '192.0.2.77': Cannot assign requested address"
}

@test "an exposed port takes its own number if it can, else the next free one from 10000 up" {
	serve_world other tcp:8080 tcp:10000
	background server -p tcp:127.0.0.1:8080:80:any -p tcp:127.0.0.1:8090:80:any -p tcp:127.0.0.1:0:80 10 $SERVE tcp:80
	assert_equal "$(published server 1)" 10001
	assert_equal "$(published server 2)" 8090
	run -0 ask "tcp:127.0.0.1:$(published server 1)"
	assert_output "hello 10.99.1.1"
	run -0 ask "tcp:127.0.0.1:$(published server 3)"
	assert_output "hello 10.99.1.1"
}

@test "what a machine published is free again when it is gone" {
	background server -p tcp:0.0.0.0:8080:80 -p udp:0.0.0.0:53:53 10 $SERVE tcp:80 udp:53
	background stays 11 $SERVE tcp:80
	kill "${STARTED[0]}"
	wait "${STARTED[0]}" || true
	background next -p tcp:0.0.0.0:8080:80 -p udp:0.0.0.0:53:53 12 $SERVE tcp:80=next udp:53=next
	run -0 ask tcp:127.0.0.1:8080
	assert_output "next 10.99.1.1"
	run -0 ask udp:127.0.0.1:53
	assert_output "next 1 10.99.1.1"
}
