#!/usr/bin/env bats
# Networks as far as they need no VM: what is made, listed and refused, and who has which address.

bats_require_minimum_version 1.5.0

setup() {
	bats_load_library bats-support
	bats_load_library bats-assert
	HULL=${HULL:-$BATS_TEST_DIRNAME/../../build/hull}
	[[ -x $HULL ]] || skip "hull is not built"
	HULL=$(realpath "$HULL")
	export HULL_ROOT=$BATS_TEST_TMPDIR/root HULL_RUN=$BATS_TEST_TMPDIR/run HULL_CONFIG=$BATS_TEST_TMPDIR/hull.conf
	: > "$HULL_CONFIG"
}

hull() {
	"$HULL" "$@"
}

# fails STATUS LINE COMMAND...: the command exits with STATUS and LINE is the first that it says.
fails() {
	local status_wanted=$1 line=$2
	shift 2
	run "-$status_wanted" --separate-stderr "$@"
	assert_output ''
	# shellcheck disable=SC2154
	assert_equal "${stderr_lines[0]}" "$line"
}

address_of() {
	hull network inspect "$1" | jq -r --arg id "$2" '.[0].status.containers[] | select(.id == $id).ipv4Address'
}

@test "the default network is there, with subnets of both families" {
	run -0 --separate-stderr hull network ls
	assert_line --index 0 --regexp '^NETWORK  SUBNET +MODE$'
	assert_line --index 1 --regexp '^default  [0-9.]+\.0/24  nat$'
	run -0 hull network inspect default
	run -0 jq -r '.[0] | .id, .configuration.mode, .configuration.ipv6Subnet, (.status.containers | length)' <<< "$output"
	assert_line --index 0 default
	assert_line --index 1 nat
	assert_line --index 2 --regexp '^fd[0-9a-f:]+::/64$'
	assert_line --index 3 0
	fails 1 'Error: network default is always there and cannot be deleted' hull network rm default
	fails 1 'Error: network none is always there and cannot be deleted' hull network rm none
}

@test "the configuration names the default network's subnets" {
	printf '[network]\nsubnet = 10.77.1.0/24\nsubnet-v6 = fd77:1::/64\n' > "$HULL_CONFIG"
	run -0 hull network ls --format json
	run -0 jq -r '.[0].configuration | .ipv4Subnet, .ipv6Subnet' <<< "$output"
	assert_output $'10.77.1.0/24\nfd77:1::/64'
	printf '[network]\nsubnet = fd77:1::/64\n' > "$HULL_CONFIG"
	fails 1 "Error: $HULL_CONFIG: invalid value 'fd77:1::/64' of 'subnet' in [network]" hull network ls
	printf '[network]\nhost-ports = 80 90-80\n' > "$HULL_CONFIG"
	fails 1 "Error: $HULL_CONFIG: invalid value '80 90-80' of 'host-ports' in [network]" hull network ls
}

@test "networks are made, listed in every form, and deleted" {
	run -0 --separate-stderr hull network create --internal --subnet 10.78.0.0/24 --subnet-v6 fd78::/64 \
		--label tier=back --option mtu=1400 back
	assert_output back
	assert_equal "$stderr" ''
	run -0 hull n create front
	run -0 hull n ls -q
	assert_output $'back\ndefault\nfront'
	run -0 hull network ls
	assert_line --regexp '^back +10\.78\.0\.0/24 +hostOnly$'
	run -0 hull network ls --format yaml
	assert_line '    mode: hostOnly'
	run -0 jq -cS '.[0].configuration | del(.creationDate)' < <(hull network inspect back)
	assert_output '{"ipv4Subnet":"10.78.0.0/24","ipv6Subnet":"fd78::/64","labels":{"tier":"back"},"mode":"hostOnly","name":"back","options":{"mtu":"1400"}}'
	run -1 --separate-stderr hull network rm back nix front
	assert_output $'back\nfront'
	assert_equal "$stderr" 'Error: network not found: nix'
	# All subnets differ.
	for name in a b c; do hull network create "$name" > /dev/null; done
	run -0 jq -r '[.[].configuration.ipv4Subnet] | unique | length' < <(hull network ls --format json)
	assert_output 4
	run -0 hull network prune
	assert_output $'a\nb\nc'
	run -0 hull n ls -q
	assert_output default
}

@test "what is no network is refused" {
	hull network create --subnet 10.78.0.0/24 back > /dev/null
	fails 1 'Error: network back already exists' hull network create back
	fails 1 "Error: subnet '10.78.0.128/25' overlaps 10.78.0.0/24, which another network has" \
		hull network create --subnet 10.78.0.128/25 other
	fails 64 "Error: subnet '10.79.0.0/30' is too small for a network: IPv4 from /8 to /29, IPv6 from /8 to /125" \
		hull network create --subnet 10.79.0.0/30 other
	fails 64 "Error: subnet 'fd78::/64' is not one of IPv4" hull network create --subnet fd78::/64 other
	fails 64 "Error: unknown option 'mut' of a network: it is mtu" hull network create --option mut=1 other
	fails 64 "Error: invalid mtu '100': it is from 1280 to 65520" hull network create --option mtu=100 other
	run -64 hull network create Other
	run -64 hull network create
	run -64 hull network create "$(printf 'x%.0s' {1..64})"
	fails 1 'Error: network none already exists' hull network create none
	run -0 hull n ls -q
	assert_output $'back\ndefault'
}

@test "a container has its address from when it is made until it goes" {
	hull image import --builtin > /dev/null
	hull network create --subnet 10.78.0.0/24 --subnet-v6 fd78::/64 back > /dev/null
	hull create --name web --network back busybox > /dev/null
	hull create --name db --network back,ip=10.78.0.77,mac=02:00:00:00:00:77 busybox > /dev/null
	assert_equal "$(address_of back web)" 10.78.0.4
	run -0 jq -c '.[0].status.containers[1]' < <(hull network inspect back)
	assert_output '{"id":"db","ipv4Address":"10.78.0.77","ipv6Address":"fd78::4d","macAddress":"02:00:00:00:00:77"}'
	fails 1 'Error: network back is used by web, db' hull network rm back
	run -0 hull network prune
	assert_output ''
	fails 1 'Error: address 10.78.0.77 is used by container db' hull create --name third --network back,ip=10.78.0.77 busybox
	fails 1 "Error: address '10.79.0.7' is not in the subnet 10.78.0.0/24" hull create --name third --network back,ip=10.79.0.7 busybox
	run -0 hull ls -aq
	refute_line third
	hull rename web www
	assert_equal "$(address_of back www)" 10.78.0.4
	hull rm db > /dev/null
	hull create --name third --network back,ip=10.78.0.77 busybox > /dev/null
	assert_equal "$(address_of back third)" 10.78.0.77
	hull rm www third > /dev/null
	run -0 hull network rm back
}

@test "containers are connected and disconnected while they do not run" {
	hull image import --builtin > /dev/null
	hull network create --subnet 10.78.0.0/24 back > /dev/null
	hull create --name web busybox > /dev/null
	run -0 --separate-stderr hull network connect --alias www --ip 10.78.0.9 back web
	assert_output ''
	assert_equal "$(address_of back web)" 10.78.0.9
	fails 1 'Error: container web is in network back already' hull network connect back web
	run -0 jq -r '.[0].configuration.networks[].network' < <(hull inspect web)
	assert_output $'default\nback'
	run -0 hull network disconnect default web
	run -0 jq -r '.[0].configuration.networks[].network' < <(hull inspect web)
	assert_output back
	run -0 jq -r '.[0].status.containers | length' < <(hull network inspect default)
	assert_output 0
	fails 1 'Error: container web is not in network default' hull network disconnect default web
	fails 1 'Error: network not found: nix' hull network connect nix web
	fails 1 'Error: container not found: nix' hull network connect back nix
	run -64 hull network connect back
	run -64 hull network connect --ip x back web
}

@test "ports are told as they were asked for; what cannot be is refused before anything is made" {
	hull image import --builtin > /dev/null
	hull create --name web -p 8080:80 -p '[::1]:53:53/udp' -p 127.0.0.1:9000-9002:9000-9002 busybox > /dev/null
	run -0 hull port web
	assert_output $'80/tcp -> 0.0.0.0:8080\n53/udp -> [::1]:53\n9000/tcp -> 127.0.0.1:9000\n9001/tcp -> 127.0.0.1:9001\n9002/tcp -> 127.0.0.1:9002'
	run -0 hull port web 9001
	assert_output 127.0.0.1:9001
	fails 64 'Error: host ports for different publish port specs may not overlap' hull create -p 80:80 -p 80:81 busybox
	fails 1 'Error: a container without a network cannot publish ports' hull create --network none -p 80:80 busybox
	fails 1 'Error: network not found: nix' hull create --network nix busybox
	fails 64 "Error: network 'none' conflicts with other networks" hull create --network none --network default busybox
	fails 64 "Error: invalid port '80:x': it is like 8080:80, 127.0.0.1:8080:80, [::1]:53:53/udp or 8000-8010:8000-8010" \
		hull create -p 80:x busybox
	run -0 hull ls -aq
	assert_output web
}

@test "words that name a network are completed" {
	hull network create back > /dev/null
	run -0 hull __complete -- network rm b
	assert_output $'back\tnat'
	run -0 hull __complete -- run --network ''
	assert_output $'back\tnat\ndefault\tnat'
}

# ask PORT NAME TYPE: the code of the answer, which TCP gives too, and how many addresses it has.
ask() {
	python3 - "$@" <<- 'PY'
		import socket, struct, sys
		port, name, kind = int(sys.argv[1]), sys.argv[2], {"A": 1, "AAAA": 28}[sys.argv[3]]
		labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"
		query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1)
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(20)
		s.sendto(query, ("127.0.0.1", port))
		reply = s.recv(512)
		s = socket.create_connection(("127.0.0.1", port), 20)
		s.sendall(struct.pack(">H", len(query)) + query)
		stream = s.makefile("rb")
		assert stream.read(struct.unpack(">H", stream.read(2))[0]) == reply
		flags, _, answers = struct.unpack_from(">3H", reply, 2)
		print(flags & 15, answers)
	PY
}

@test "the host can be told names of containers" {
	local port
	run -0 --separate-stderr hull system dns create test.example
	assert_output test.example
	port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\)\. .*/\1/p' <<< "$stderr")
	[[ $port -gt 0 ]]
	assert_regex "$stderr" "server=/test.example/127.0.0.1#$port"
	run -0 ask "$port" test.example A
	assert_output '0 0'
	run -0 ask "$port" nobody.test.example A
	assert_output '3 0'
	run -0 ask "$port" example.net A
	assert_output '5 0'
	fails 1 'Error: domain test.example already exists' hull system dns create test.example
	fails 64 "Error: invalid domain 'Up': lower-case letters, digits, '-' and '.'" hull system dns create Up
	run -0 --separate-stderr hull system dns create other
	run -0 ask "$port" x.other A
	assert_output '3 0'
	run -0 hull system dns ls
	assert_output $'test.example\nother'
	run -1 --separate-stderr hull system dns delete nix other test.example
	assert_output $'other\ntest.example'
	assert_equal "$stderr" 'Error: domain not found: nix'
	# It ends with the last domain.
	timeout 20 bash -c "while pgrep -f 'hull-dns $HULL_ROOT\$' > /dev/null; do sleep 0.1; done"
}
