#!/usr/bin/env bats
# Unix sockets of the host in a container and the other way round; secrets.

load helpers

tool() {
	echo "$(dirname "$HULL")/tests/vm/unix_cat"
}

# serve PATH: our server, until the test ends.
serve() {
	"$(tool)" listen "$1" 3>&- &
	server=$!
	soon test -S "$1"
}

teardown() {
	if [[ -n ${server:-} ]]; then
		kill "$server" || true
	fi
	vm_teardown
}

@test "a socket of the host is one in the container" {
	serve host.sock
	hull run -d --name box -v ./host.sock:/var/run/app.sock -v "$(tool):/tool:ro" busybox sleep 1000
	run -0 hull exec -i box /tool connect /var/run/app.sock <<< hello
	assert_output '6 bytes: hello'
	# Another user of the container, much data, several at once.
	head -c 600000 /dev/zero | tr '\0' x > big
	hull exec -i -u 1000 box /tool connect /var/run/app.sock < big > one &
	hull exec -i box /tool connect /var/run/app.sock < big > two
	wait $!
	{ printf '600000 bytes: '; cat big; } > expected
	cmp one expected
	cmp two expected
	# Nobody listens any more; then somebody does again.
	kill "$server"
	wait "$server" || true
	rm host.sock
	run hull exec -i box /tool connect /var/run/app.sock < /dev/null
	assert_output ''
	serve host.sock
	run -0 hull exec -i box /tool connect /var/run/app.sock <<< again
	assert_output '6 bytes: again'
}

@test "--publish-socket makes a socket of the container one of the host" {
	touch file
	fails 125 "Error: cannot publish a socket at '$PWD/file': it is there already" hull run --rm --publish-socket ./file:/x.sock busybox true
	serve live.sock
	fails 125 "Error: cannot publish a socket at '$PWD/live.sock': somebody listens there" hull run --rm --publish-socket ./live.sock:/x.sock busybox true
	run -64 hull run --rm --publish-socket ./x:relative busybox true
	assert_line --partial "invalid socket './x:relative'"
	hull run -d --name box --publish-socket ./out.sock:/srv/in.sock -v "$(tool):/tool:ro" busybox sh -c 'mkdir /srv; exec /tool listen /srv/in.sock'
	soon hull exec box test -S /srv/in.sock
	run -0 stat -c %a out.sock
	assert_output 600
	run -0 "$(tool)" connect out.sock <<< outside
	assert_output '8 bytes: outside'
	# A link in the container leads to no socket outside of it.
	run -0 hull exec box sh -c "mkdir -p /proc/1; rm /srv/in.sock; ln -s /proc/1/root/dev/log /srv/in.sock"
	run "$(tool)" connect out.sock < /dev/null
	assert_output ''
	run -0 hull inspect box
	assert_equal "$(jq -c '.[0].configuration.publishedSockets' <<< "$output")" "[{\"containerPath\":\"/srv/in.sock\",\"hostPath\":\"$PWD/out.sock\"}]"
	hull stop box
	assert_not_exists out.sock
}

@test "--ssh relays the caller's agent" {
	serve agent.sock
	SSH_AUTH_SOCK=$PWD/agent.sock hull run -d --name box --ssh -v "$(tool):/tool:ro" busybox sleep 1000
	run -0 hull exec -i box sh -c '/tool connect $SSH_AUTH_SOCK' <<< key
	assert_output '4 bytes: key'
	unset SSH_AUTH_SOCK
	fails 125 'Error: SSH_AUTH_SOCK is not set: there is no SSH agent to give to it' hull run --rm --ssh busybox true
}

@test "a secret is a file in memory, and nowhere else" {
	local secret=seen-nowhere-$RANDOM$RANDOM
	echo "$secret" > file
	printf 'a\0b' > binary
	TOKEN=$secret hull run -d --name box -u 1000 --secret id=file,src=file --secret id=TOKEN --secret id=bin,src=binary,target=/etc/bin,mode=0440 busybox sleep 1000
	run -0 hull exec box sh -c 'cat /run/secrets/file /run/secrets/TOKEN; stat -c "%a %u" /run/secrets/file /etc/bin; od -An -c /etc/bin'
	assert_output "$secret"$'\n'"$secret"$'400 1000\n440 1000\n   a  \\0   b'
	run ! grep -rqa "$secret" "$HULL_ROOT" --exclude-dir=templates --exclude='*.img'
	run -0 hull inspect box
	refute_output --partial "$secret"
	run -0 hull logs --boot box
	refute_output --partial "$secret"
	run ! grep -qa "$secret" /proc/[0-9]*/cmdline
	hull stop box
	rm file
	fails 125 "Error: cannot read secret 'file' of '$PWD/file': No such file or directory" hull start -a box
	fails 125 "Error: path '$PWD/nosuch' does not exist" hull run --rm --secret id=x,src=nosuch busybox true
	fails 125 "Error: secret 'x': the variable NOSUCH_$$ is not set" hull run --rm --secret "id=x,env=NOSUCH_$$" busybox true
	run -64 hull run --rm --secret src=binary busybox true
	assert_line --partial 'it has no id'
	head -c 70000 /dev/zero > large
	fails 125 "Error: secret 'x' is larger than 64 KiB" hull run --rm --secret id=x,src=large busybox true
}
