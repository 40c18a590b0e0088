#!/usr/bin/env bats
# Registries as they are guarded: with a user and a password, with TLS of an authority of their own, with
# certificates of clients. What is pushed is read by skopeo and podman.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

# registry NAME [YAML-LINE...]: docker-registry on a free port, which goes to NAME.port.
registry() {
	local name=$1 port scheme=http
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	cat > "$name.yml" <<- END
		version: 0.1
		log: {level: info, accesslog: {disabled: false}}
		storage: {filesystem: {rootdirectory: $PWD/$name.data}, delete: {enabled: true}}
		http:
		  addr: "127.0.0.1:$port"
	END
	printf '%s\n' "${@:2}" >> "$name.yml"
	docker-registry serve "$name.yml" &> "$name.log" 3>&- &
	echo $! >> registries.pid
	echo "$port" > "$name.port"
	timeout 20 bash -c 'until (: < "/dev/tcp/127.0.0.1/$0") 2> /dev/null; do sleep 0.1; done' "$port"
}

# certificate NAME EXTENSION: a key and a certificate that the authority has signed.
certificate() {
	openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2> /dev/null
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$1.crt" \
		-extfile <(echo "$2") 2> /dev/null
}

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj '/CN=test authority' 2> /dev/null
	certificate server 'subjectAltName=IP:127.0.0.1,DNS:localhost'
	certificate client 'extendedKeyUsage=clientAuth'
	python3 -W ignore -c 'import crypt; print("me:" + crypt.crypt("secret word", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' > htpasswd
	registry open
	registry guarded "auth: {htpasswd: {realm: test, path: $PWD/htpasswd}}"
	registry tls "  tls: {certificate: $PWD/server.crt, key: $PWD/server.key}" "auth: {htpasswd: {realm: test, path: $PWD/htpasswd}}"
	registry mutual "  tls: {certificate: $PWD/server.crt, key: $PWD/server.key, clientcas: [$PWD/ca.crt]}"
	export OPEN GUARDED TLS MUTUAL
	OPEN=127.0.0.1:$(< open.port) GUARDED=127.0.0.1:$(< guarded.port)
	TLS=localhost:$(< tls.port) MUTUAL=localhost:$(< mutual.port)
	export HULL_ROOT=$BATS_FILE_TMPDIR/base HULL_RUN=$BATS_FILE_TMPDIR/base.run
	"$HULL" image import --builtin > import.log
}

teardown_file() {
	local pid
	while read -r pid; do
		kill "$pid"
	done < "$BATS_FILE_TMPDIR/registries.pid"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	cp -r "$BATS_FILE_TMPDIR/base" root
	export HOME=$PWD/home HULL_ROOT=$PWD/root HULL_RUN=$PWD/run
	export HULL_CONFIG=$PWD/hull.conf
	: > hull.conf
	mkdir home
}

# fails LINE COMMAND...: status 1, and LINE is the last thing said.
fails() {
	run -1 --separate-stderr "${@:2}"
	assert_output ''
	assert_equal "${stderr##*$'\n'}" "$1"
}

# sent NAME REPOSITORY KIND: how often bodies went to a registry.
sent() {
	grep -cE "\"(PUT|PATCH) /v2/$2/$3/" "$BATS_FILE_TMPDIR/$1.log"
}

fresh_root() {
	export HULL_ROOT=$PWD/$1
}

login() {
	printf 'secret word' | "$HULL" registry login -u me --password-stdin "$@"
}

@test "push: what is there is not sent again, and skopeo and podman read it" {
	"$HULL" image tag busybox "$OPEN/a/box:1"
	run -0 --separate-stderr "$HULL" image push --progress plain "$OPEN/a/box:1"
	assert_output "$OPEN/a/box:1"
	[[ $stderr == *pushing* ]]
	run -0 skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$OPEN/a/box:1"
	assert_output "$("$HULL" image list -v --format json | jq -r '.[0].configuration.descriptor.digest')"
	local before
	before=$(sent open a/box blobs)
	((before >= 2))
	run -0 "$HULL" image push --progress none "$OPEN/a/box:1"
	assert_equal "$(sent open a/box blobs)" "$before"
	assert_equal "$(sent open a/box manifests)" 2
	# Into another repository: not a byte of the blobs.
	"$HULL" image tag busybox "$OPEN/b/other:latest"
	run -0 "$HULL" image push --progress none "$OPEN/b/other"
	assert_output "$OPEN/b/other:latest"
	assert_equal "$(sent open b/other blobs)" 0
	run -0 skopeo copy -q --src-tls-verify=false "docker://$OPEN/b/other" oci:layout:x
	podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver vfs pull -q --tls-verify=false "$OPEN/a/box:1"
	podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver vfs rmi -af > /dev/null
}

@test "push and pull with a user and a password; what is refused says what to do" {
	"$HULL" image tag busybox "$GUARDED/box:1"
	fails "Error: registry $GUARDED wants to know who asks for $GUARDED/box:1 (401); log in with 'hull registry login $GUARDED'" \
		"$HULL" image push --progress none "$GUARDED/box:1"
	fails "Error: registry $GUARDED does not accept this user name and password" \
		bash -c 'printf wrong | "$HULL" registry login -u me --password-stdin "$GUARDED"'
	[[ ! -e home/.docker/config.json ]]
	run -0 login "$GUARDED"
	assert_output "$GUARDED"
	assert_equal "$(stat -c %a home/.docker/config.json)" 600
	run -0 "$HULL" image push --progress none "$GUARDED/box:1"
	run -0 skopeo inspect --authfile home/.docker/config.json --tls-verify=false "docker://$GUARDED/box:1"
	fresh_root other
	run -0 "$HULL" image pull --progress none "$GUARDED/box:1"

	run -0 "$HULL" registry list
	assert_line --index 0 --regexp '^HOSTNAME +USERNAME +MODIFIED +CREATED$'
	assert_line --index 1 --regexp "^$GUARDED +me"
	run -0 "$HULL" registry list --format json
	assert_equal "$(jq -r '.[0].username' <<< "$output")" me
	run -0 "$HULL" registry logout "$GUARDED"
	run -0 "$HULL" registry list -q
	assert_output ''
	fails "Error: not logged in to $GUARDED" "$HULL" registry logout "$GUARDED"
	run -1 "$HULL" image pull --progress none "$GUARDED/box:1"
}

@test "what else is in config.json stays, and helpers keep what they are told to" {
	mkdir home/.docker bin
	cat > bin/docker-credential-test <<- 'END'
		#!/bin/sh
		echo "$1" >> "$HOME/helper.log"
		case $1 in
		store) cat > "$HOME/kept" ;;
		get) grep -q "^$(cat)\$" "$HOME/known" 2> /dev/null && cat "$HOME/kept" || { echo 'credentials not found'; exit 1; } ;;
		erase) rm -f "$HOME/kept" ;;
		esac
	END
	chmod +x bin/docker-credential-test
	export PATH=$PWD/bin:$PATH
	echo '{"psFormat": "x", "auths": {"other.example": {"auth": "YTpi"}}, "credHelpers": {"'"$GUARDED"'": "test"}}' > home/.docker/config.json
	run -0 login "$GUARDED"
	echo "$GUARDED" > home/known
	run -0 jq -r '.Username + " " + .Secret + " " + .ServerURL' home/kept
	assert_output "me secret word $GUARDED"
	run -0 jq -c '[.psFormat, .auths["other.example"].auth, .auths["'"$GUARDED"'"]]' home/.docker/config.json
	assert_output '["x","YTpi",{}]'
	"$HULL" image tag busybox "$GUARDED/helped:1"
	run -0 "$HULL" image push --progress none "$GUARDED/helped:1"
	run -0 "$HULL" registry list -q
	assert_line other.example
	assert_line "$GUARDED"
	run -0 "$HULL" registry logout "$GUARDED"
	[[ ! -e home/kept ]]
	run -0 jq -c '.auths | keys' home/.docker/config.json
	assert_output '["other.example"]'
}

@test "TLS: an authority of one's own is believed once its certificate is there" {
	"$HULL" image tag busybox "$TLS/box:1"
	run -1 --separate-stderr "$HULL" image push --scheme https --progress none "$TLS/box:1"
	[[ $stderr == *"certificate is not trusted"*"/etc/docker/certs.d/<host>/ca.crt"* ]]
	mkdir -p "home/.docker/certs.d/$TLS"
	cp "$BATS_FILE_TMPDIR/ca.crt" "home/.docker/certs.d/$TLS/"
	run -0 login --scheme https "$TLS"
	run -0 "$HULL" image push --scheme https --progress none "$TLS/box:1"
	run -0 skopeo inspect --authfile home/.docker/config.json --cert-dir "home/.docker/certs.d/$TLS" "docker://$TLS/box:1"
	fresh_root other
	run -0 "$HULL" image pull --scheme https --progress none "$TLS/box:1"
	# Without asking for it, where the configuration says so.
	rm -r home/.docker/certs.d
	printf '[registry]\ninsecure = %s\n' "$TLS" > hull.conf
	fresh_root third
	run -0 "$HULL" image pull --scheme https --progress none "$TLS/box:1"
}

@test "TLS with certificates of clients" {
	local dir=home/.docker/certs.d/$MUTUAL
	mkdir -p "$dir"
	cp "$BATS_FILE_TMPDIR/ca.crt" "$dir/"
	"$HULL" image tag busybox "$MUTUAL/box:1"
	run -1 --separate-stderr "$HULL" image push --scheme https --progress none "$MUTUAL/box:1"
	[[ $stderr == *"does not accept us by our certificate"* ]]
	cp "$BATS_FILE_TMPDIR/client.crt" "$dir/client.cert"
	cp "$BATS_FILE_TMPDIR/client.key" "$dir/client.key"
	run -0 "$HULL" image push --scheme https --progress none "$MUTUAL/box:1"
	run -0 skopeo inspect --cert-dir "$dir" "docker://$MUTUAL/box:1"
	fresh_root other
	run -0 "$HULL" image pull --scheme https --progress none "$MUTUAL/box:1"
}

@test "a large blob goes out in pieces that are never all in memory" {
	head -c 40000000 /dev/urandom > random
	tar cf large.tar random
	"$HULL" image import --progress none large.tar "$OPEN/large:1"
	# shellcheck disable=SC2016
	(ulimit -S -d 120000 && "$HULL" image push --progress none "$OPEN/large:1")
	grep -q '"PATCH /v2/large/blobs/' "$BATS_FILE_TMPDIR/open.log"
	fresh_root other
	run -0 "$HULL" image pull --progress none "$OPEN/large:1"
}

@test "wrong use of push and login" {
	fails 'Error: image not found: docker.io/library/nosuch:latest' "$HULL" image push nosuch
	run -64 "$HULL" image push
	run -64 "$HULL" registry login --password-stdin "$GUARDED"
	fails "Error: 'a/b' is no host of a registry" bash -c 'echo x | "$HULL" registry login -u me --password-stdin a/b'
	fails "Error: the standard input is empty" bash -c '"$HULL" registry login -u me --password-stdin "$GUARDED" < /dev/null'
	fails "Error: there is no terminal to ask on: use '--username' and '--password-stdin'" bash -c '"$HULL" registry login "$GUARDED" < /dev/null'
}
