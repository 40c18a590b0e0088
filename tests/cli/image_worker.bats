# SPDX-License-Identifier: Apache-2.0
# hull-image, driven as src/image/worker.c is by hull: against a registry that lies (tests/images/
# fake_registry.py), the real docker-registry, and the archives of skopeo, podman and umoci.

bats_load_library bats-support
bats_load_library bats-assert

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	export SOURCE=$PWD
	export WORKER=${HULL:+$(dirname "$HULL")/hull-image}
	WORKER=${WORKER:-$SOURCE/build/hull-image}
	# The fake registry.
	export FAKE=$BATS_FILE_TMPDIR/fake
	mkdir "$FAKE"
	python3 tests/images/fake_registry.py "$FAKE" &> "$FAKE/out" 3>&- &
	echo $! > "$BATS_FILE_TMPDIR/fake.pid"
	# The real one, on a port that was free a moment ago.
	export REAL_PORT
	REAL_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	cat > "$BATS_FILE_TMPDIR/registry.yml" <<- END
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $BATS_FILE_TMPDIR/registry}}
		http: {addr: "127.0.0.1:$REAL_PORT"}
	END
	docker-registry serve "$BATS_FILE_TMPDIR/registry.yml" &> "$BATS_FILE_TMPDIR/registry.log" 3>&- &
	echo $! > "$BATS_FILE_TMPDIR/registry.pid"
	wait_for test -e "$FAKE/port"
	wait_for curl -sf "http://127.0.0.1:$REAL_PORT/v2/"
	export FAKE_HOST
	FAKE_HOST=127.0.0.1:$(< "$FAKE/port")
	make_layered_image
	skopeo copy -q --dest-tls-verify=false "oci:$LAYOUT:layers" "docker://127.0.0.1:$REAL_PORT/layers:1"
}

teardown_file() {
	kill "$(< "$BATS_FILE_TMPDIR/fake.pid")" "$(< "$BATS_FILE_TMPDIR/registry.pid")"
}

setup() {
	ROOT=$BATS_TEST_TMPDIR/root
	# Without the "nameserver" of a busy machine in the way: few tries, short patience.
	FAST=(attempts=3 stall_ms=1500)
}

# wait_for COMMAND...: until it succeeds, 20 s at most.
wait_for() {
	local i
	for ((i = 0; i < 200; i++)); do
		"$@" &> /dev/null && return
		sleep 0.1
	done
	echo "gave up waiting for: $*" >&2
	return 1
}

# An OCI layout with an image of three layers, made by umoci: files, a whiteout, a hard link.
make_layered_image() {
	export LAYOUT=$BATS_FILE_TMPDIR/layout
	local tree=$BATS_FILE_TMPDIR/tree
	umoci init --layout "$LAYOUT"
	umoci new --image "$LAYOUT:layers"
	mkdir -p "$tree/1/dir" "$tree/2/dir" "$tree/3"
	head -c 4000000 /dev/urandom > "$tree/1/dir/random"
	echo one > "$tree/1/one"
	touch "$tree/2/dir/.wh.random"
	seq 300000 > "$tree/2/numbers"
	echo three > "$tree/3/three"
	ln "$tree/3/three" "$tree/3/three-again"
	for i in 1 2 3; do
		tar -C "$tree/$i" -cf "$tree/$i.tar" .
		umoci raw add-layer --image "$LAYOUT:layers" "$tree/$i.tar"
	done
}

# request VERB [NAME=VALUE...]
request() {
	timeout 60 python3 "$SOURCE/tests/images/worker_request.py" "$WORKER" "$ROOT" "$@"
}

fake_pull() {
	run request pull reference="$FAKE_HOST/$1:1" platform=linux/amd64 "${FAST[@]}" "${@:2}"
}

# refute_leftovers: no half-made layer, and no name for what is wrong.
refute_leftovers() {
	run find "$ROOT/layers" -name '*.erofs' -o -name 'tmp.*'
	assert_output ''
	run find "$ROOT/content/blobs" -size +64k
	assert_output ''
}

# rejected MODE CODE TEXT: the pull fails with that, and leaves nothing.
rejected() {
	fake_pull "$1"
	assert_failure
	assert_output --partial "\"code\":-$2"
	assert_output --partial "$3"
	refute_leftovers
}

# With storage of its own; vfs, because overlay leaves a mount behind.
private_podman() {
	podman --root "$BATS_TEST_TMPDIR/podman" --runroot "$BATS_TEST_TMPDIR/podman-run" --storage-driver vfs "$@"
}

layers_made() {
	find "$ROOT/layers" -name '*.erofs' | wc -l
}

@test "pull makes blobs, layers and a disk" {
	fake_pull ok
	assert_success
	assert_output --partial "\"reference\":\"$FAKE_HOST/ok:1\""
	[ "$(layers_made)" = 1 ]
	fsck.erofs "$ROOT"/layers/*.erofs
	[ -s "$(echo "$ROOT"/disks/*/root.vmdk)" ]
	run find "$ROOT/content/ingest" -name '*.part'
	assert_output ''
}

@test "pull takes the manifest of the platform from an index" {
	fake_pull index
	assert_success
	fake_pull index platform=linux/arm64
	assert_failure
	assert_output --partial 'has no content for platform linux/arm64/v8; available platforms: linux/s390x, linux/amd64'
}

@test "pull refuses what does not match its digest" {
	rejected wrong-digest 74 'does not match its digest'
	rejected wrong-manifest 74 'does not match its digest'
	rejected bad-diffid 74 'does not match its digest'
}

@test "pull refuses sizes that lie" {
	rejected size-lie-small 74 'more than its 1000 bytes'
	rejected size-lie-large 74 'instead of'
	rejected absurd-size 28 'the image needs 1.00 EiB'
	rejected endless 74 'layer sha256:'
	rejected huge-manifest 7 'larger than 8388608 bytes'
	rejected many-layers 7 'more than 512 layers'
}

@test "pull refuses damaged layers" {
	rejected bad-gzip 74 'cut off'
	rejected trailing 74 'garbage after the gzip data'
	rejected zstd-garbage 74 'zstd data is damaged'
}

@test "pull refuses manifests that are none" {
	rejected type 74 "the registry sent no manifest but 'text/html'"
	rejected not-json 74 'cannot parse the manifest'
	rejected deep-json 74 'parsing depth'
	rejected no-config 74 'no config'
	rejected not-image 95 'not a container image'
	rejected config-mismatch 74 'its config lists 2'
	rejected nested 95 'index within an index'
	rejected schema1 95 'schema 1'
	rejected foreign 95 'foreign layer'
}

@test "pull names other platforms" {
	rejected other-platform 2 'has no content for platform linux/amd64; available platforms: linux/s390x'
	rejected only-arm 2 'available platforms: linux/s390x, linux/arm64'
}

@test "pull answers refusals with what to do" {
	rejected missing 2 "image not found: $FAKE_HOST/missing:1"
	rejected forbidden 13 '(403); log in with'
	rejected token-denied 13 "log in with 'hull registry login $FAKE_HOST'"
	rejected basic 13 'log in with'
	rejected limited-always 16 '(429); try again later'
	rejected broken 121 'answered 500'
}

@test "pull tries again after 429 and 500" {
	fake_pull limited
	assert_success
	fake_pull flaky attempts=4
	assert_success
}

@test "pull gets a token, and sends it nowhere else" {
	fake_pull token
	assert_success
	rm -rf "$ROOT"
	fake_pull redirect
	assert_success
	grep -q '/v2/redirect/blobs/.*auth=Bearer_t0k:redirect' "$FAKE/log"
	run grep -c '/elsewhere/.*auth=-' "$FAKE/log"
	assert_output 1
}

@test "pull uses Basic credentials of config.json, credential helpers and the request" {
	local config=$BATS_TEST_TMPDIR/docker
	mkdir "$config"
	echo "{\"auths\":{\"$FAKE_HOST\":{\"auth\":\"$(printf user:secret | base64)\"}}}" > "$config/config.json"
	fake_pull basic config_dir="$config"
	assert_success
	rm -rf "$ROOT"
	printf '#!/bin/sh\ncat > "%s/asked"\necho "{\\"Username\\":\\"user\\",\\"Secret\\":\\"secret\\"}"\n' \
		"$config" > "$config/docker-credential-test"
	chmod +x "$config/docker-credential-test"
	echo "{\"credHelpers\":{\"$FAKE_HOST\":\"test\"}}" > "$config/config.json"
	PATH=$config:$PATH fake_pull basic config_dir="$config"
	assert_success
	[ "$(< "$config/asked")" = "$FAKE_HOST" ]
	rm -rf "$ROOT"
	fake_pull basic credentials='{"username":"user","password":"secret"}'
	assert_success
	rm -rf "$ROOT"
	fake_pull basic credentials='{"username":"user","password":"wrong"}'
	assert_failure
}

@test "pull gives up on redirects in a circle and to other protocols" {
	rejected loop 40 'redirects in a circle'
	rejected loop-manifest 40 'redirects in a circle'
	rejected downgrade 71 'redirects to an insecure address'
}

@test "pull gives up on a registry that stalls" {
	rejected slow 110 'no data came for 1.5 seconds'
	rejected slow-head 110 'no data came'
}

@test "pull goes on where a connection broke" {
	fake_pull resume
	assert_success
	grep -q '/v2/resume/blobs/.*range=bytes=1' "$FAKE/log"
	rm -rf "$ROOT"
	fake_pull norange
	assert_success
}

@test "pull keeps what a broken download had, for the next one" {
	rejected truncated 104 'the connection ended early'
	[ "$(stat -c %s "$ROOT"/content/ingest/*.part)" = 1000 ]
	fake_pull ok
	assert_success
	grep -q '/v2/ok/blobs/.*range=bytes=1000-' "$FAKE/log"
}

@test "pull drops a part that proves wrong and fetches again" {
	fake_pull truncated
	printf 'XXXX' | dd of="$(echo "$ROOT"/content/ingest/*.part)" conv=notrunc status=none
	fake_pull ok
	assert_success
}

@test "pull from a host that nobody listens on, or without TLS, says so" {
	run request pull reference=127.0.0.1:1/x:1 attempts=2
	assert_failure
	assert_output --partial 'cannot reach registry 127.0.0.1:1: cannot connect'
	fake_pull ok scheme=https
	assert_failure
	assert_output --partial "if it speaks plain HTTP, use '--scheme http'"
	fake_pull ok scheme=https insecure="[\"$FAKE_HOST\"]"
	assert_failure
	fake_pull ok scheme=gopher
	assert_output --partial "'gopher' is not a scheme"
}

@test "a mirror stands in for docker.io" {
	run request pull reference=docker.io/ok:1 platform=linux/amd64 mirrors="[\"127.0.0.1:1\", \"http://$FAKE_HOST\"]" "${FAST[@]}"
	assert_failure # docker.io/library/ok: the fake one has no repository of two parts, and there is no Internet
	assert_output --partial 'mirror 127.0.0.1:1: cannot reach'
	assert_output --partial "mirror http://$FAKE_HOST: image not found"
}

@test "pull from docker-registry, again for nothing, and its layers are sound" {
	run request pull reference="127.0.0.1:$REAL_PORT/layers:1"
	assert_success
	[ "$(layers_made)" = 3 ]
	for layer in "$ROOT"/layers/*.erofs; do fsck.erofs "$layer"; done
	PROGRESS=1 run request pull reference="127.0.0.1:$REAL_PORT/layers:1"
	assert_success
	assert_output --partial 'already here'
	refute_output --partial '"text":"pulling"'
}

@test "two pulls of one image at once do the work once" {
	local image=127.0.0.1:$REAL_PORT/layers:1
	PROGRESS=1 request pull reference="$image" > "$BATS_TEST_TMPDIR/1" 3>&- &
	local first=$!
	PROGRESS=1 request pull reference="$image" > "$BATS_TEST_TMPDIR/2" 3>&- &
	wait $first
	wait $!
	run grep -ch '"result"' "$BATS_TEST_TMPDIR/1" "$BATS_TEST_TMPDIR/2"
	assert_output $'1\n1'
	[ "$(layers_made)" = 3 ]
	# Each layer was downloaded by one of the two.
	run bash -c "grep -h pulling '$BATS_TEST_TMPDIR'/[12] | grep -o '\"id\":\"[0-9a-f]*\"' | sort -u | wc -l"
	assert_output 3
	run bash -c "for f in '$BATS_TEST_TMPDIR'/[12]; do grep -h pulling \$f | grep -o '\"id\":\"[0-9a-f]*\"' | sort -u; done | wc -l"
	assert_output 3
}

@test "a pull that is cancelled or killed leaves nothing that the next does not finish" {
	local image=127.0.0.1:$REAL_PORT/layers:1 delay
	for delay in 0.02 0.05 0.1 0.2; do
		run timeout 20 python3 "$SOURCE/tests/images/worker_request.py" --hang-up $delay "$WORKER" "$ROOT" \
			pull reference="$image"
		run timeout -s KILL $delay python3 "$SOURCE/tests/images/worker_request.py" "$WORKER" "$ROOT" \
			pull reference="$image"
	done
	run request pull reference="$image"
	assert_success
	[ "$(layers_made)" = 3 ]
	run request prune
	assert_success
	run find "$ROOT/layers" "$ROOT/content/ingest" -name 'tmp.*' -o -name '*.part'
	assert_output ''
	[ "$(layers_made)" = 3 ]
}

@test "memory stays bounded" {
	head -c 300000000 /dev/zero > "$BATS_TEST_TMPDIR/zeros"
	run bash -c "tar -C '$BATS_TEST_TMPDIR' -c zeros | /usr/bin/time -f 'memory %M' python3 \
		'$SOURCE/tests/images/worker_request.py' '$WORKER' '$ROOT' import reference=zeros 2>&1"
	assert_success
	local kib=${output##*memory }
	[ "$kib" -lt 65536 ]
}

@test "the built-in image" {
	run request import-builtin busybox="$(command -v busybox)" reference=busybox
	assert_success
	assert_output --partial 'docker.io/library/busybox:latest'
	run request prepare reference=docker.io/library/busybox:latest
	assert_output --partial disk_key
	run request import-builtin busybox=/bin/ls reference=busybox
	assert_failure
	assert_output --partial 'is not a static program'
}

@test "prepare makes again what is missing" {
	request import-builtin busybox="$(command -v busybox)" reference=busybox
	rm -r "$ROOT"/layers/*.erofs "$ROOT"/disks/*/root.vmdk
	run request prepare reference=docker.io/library/busybox:latest
	assert_success
	[ "$(layers_made)" = 1 ]
	run request prepare reference=docker.io/library/none:latest
	assert_failure
	assert_output --partial 'image not found'
}

# pushed REPOSITORY [NAME=VALUE...]: the image of `ok` goes there; what was asked for is in $BATS_TEST_TMPDIR/log.
pushed() {
	local before
	[[ -e $ROOT/hull.db ]] || request pull reference="$FAKE_HOST/ok:1" platform=linux/amd64
	HULL_ROOT=$ROOT "$(dirname "$WORKER")/hull" image tag "$FAKE_HOST/ok:1" "$FAKE_HOST/$1:1"
	before=$(wc -l < "$FAKE/log")
	run request push reference="$FAKE_HOST/$1:1" "${FAST[@]}" "${@:2}"
	tail -n "+$((before + 1))" "$FAKE/log" > "$BATS_TEST_TMPDIR/log"
}

# asked COUNT PATTERN: so many requests of the push were like this.
asked() {
	assert_equal "$(grep -cE "$2" "$BATS_TEST_TMPDIR/log")" "$1"
}

# What was pushed can be pulled.
pulls_back() {
	local root=$ROOT
	ROOT=$BATS_TEST_TMPDIR/other
	rm -rf "$ROOT"
	fake_pull "$1"
	assert_success
	ROOT=$root
}

@test "push: a registry that breaks off or answers 5xx is asked again" {
	pushed push-flaky
	assert_success
	pulls_back push-flaky
	pushed push-broken concurrency=1
	assert_failure
	assert_output --partial "registry $FAKE_HOST answered 500"
	asked 3 '^HEAD '
	asked 3 ''
}

@test "push: what broke off goes on where the registry has it, or is begun anew" {
	pushed push-cut
	assert_success
	asked 2 '^POST ' # one for the layer, one for the config
	asked 1 '^GET .*/uploads/'
	asked 1 '^PATCH .* range=- '
	asked 1 '^PATCH .* range=[1-9][0-9]*-[0-9]+ '
	pulls_back push-cut
	pushed push-forget
	assert_success
	asked 3 '^POST '
	asked 2 '^PATCH .* range=- '
	pulls_back push-forget
}

@test "push: a token for both, for all of a push" {
	pushed push-token
	assert_success
	asked 1 '^GET /push-token-realm\?.*scope=repository%3Apush-token%3Apull%2Cpush range=- auth=-$'
	pulls_back push-token
	pushed push-read
	assert_failure
	assert_output --partial 'hull registry login'
}

@test "import of every compression, with changes" {
	echo hello > "$BATS_TEST_TMPDIR/hello"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/r.tar" hello
	gzip -k "$BATS_TEST_TMPDIR/r.tar"
	xz -k "$BATS_TEST_TMPDIR/r.tar"
	bzip2 -k "$BATS_TEST_TMPDIR/r.tar"
	zstd -q "$BATS_TEST_TMPDIR/r.tar"
	for suffix in '' .gz .xz .bz2 .zst; do
		run request import path="$BATS_TEST_TMPDIR/r.tar$suffix" reference=mine changes='["CMD [\"/hello\"]","ENV A=B","HEALTHCHECK --interval=1s CMD [\"/hello\"]"]'
		assert_success
	done
	[ "$(layers_made)" = 1 ]
	grep -q '"Cmd":\["/hello"\]' "$ROOT"/content/blobs/sha256/*
	grep -q '"Healthcheck":{"Interval":1000000000,"Test":\["CMD","/hello"\]}' "$ROOT"/content/blobs/sha256/*
	for change in 'RUN x' 'HEALTHCHECK x' 'HEALTHCHECK --retries=x CMD y' 'HEALTHCHECK --interval=1s'; do
		run request import path="$BATS_TEST_TMPDIR/r.tar" reference=mine changes="[\"$change\"]"
		assert_failure
	done
	run request import path="$BATS_TEST_TMPDIR/none.tar" reference=mine
	assert_output --partial 'does not exist'
	run bash -c "head -c 100000 /dev/urandom | python3 '$SOURCE/tests/images/worker_request.py' '$WORKER' '$ROOT' import reference=x"
	assert_failure
}

@test "what save writes is read by skopeo, podman, umoci and load" {
	request pull reference="127.0.0.1:$REAL_PORT/layers:1"
	local tar=$BATS_TEST_TMPDIR/saved.tar
	run request save path="$tar" references="[\"127.0.0.1:$REAL_PORT/layers:1\"]"
	assert_success
	skopeo copy -q "oci-archive:$tar" "oci:$BATS_TEST_TMPDIR/oci:x"
	skopeo inspect "docker-archive:$tar"
	mkdir "$BATS_TEST_TMPDIR/layout"
	tar -C "$BATS_TEST_TMPDIR/layout" -xf "$tar"
	umoci ls --layout "$BATS_TEST_TMPDIR/layout"
	umoci stat --image "$BATS_TEST_TMPDIR/oci:x"
	private_podman load -q -i "$tar"
	ROOT=$BATS_TEST_TMPDIR/other
	run request load path="$tar"
	assert_success
	assert_output --partial "127.0.0.1:$REAL_PORT/layers:1"
	[ "$(layers_made)" = 3 ]
	run bash -c "gzip < '$tar' | python3 '$SOURCE/tests/images/worker_request.py' '$WORKER' '$ROOT' load"
	assert_success
}

@test "load reads what skopeo and podman write" {
	local dir=$BATS_TEST_TMPDIR
	skopeo copy -q "oci:$LAYOUT:layers" "oci-archive:$dir/oci.tar:example.com/a:1"
	skopeo copy -q "oci:$LAYOUT:layers" "docker-archive:$dir/docker.tar:example.com/b:2"
	private_podman pull -q --tls-verify=false "127.0.0.1:$REAL_PORT/layers:1"
	private_podman tag "127.0.0.1:$REAL_PORT/layers:1" example.com/c:3
	private_podman save -q -o "$dir/podman.tar" example.com/c:3
	for each in oci=example.com/a:1 docker=example.com/b:2 podman=example.com/c:3; do
		run request load path="$dir/${each%%=*}.tar"
		assert_success
		assert_output --partial "${each#*=}"
	done
	[ "$(layers_made)" = 3 ]
	# Members in the opposite order.
	mkdir "$dir/members"
	tar -C "$dir/members" -xf "$dir/oci.tar"
	(cd "$dir/members" && tar -cf "$dir/reversed.tar" $(find . -type f | sort -r))
	ROOT=$dir/other
	run request load path="$dir/reversed.tar"
	assert_success
}

@test "load refuses archives that are none" {
	echo hello > "$BATS_TEST_TMPDIR/hello"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/x.tar" hello
	run request load path="$BATS_TEST_TMPDIR/x.tar"
	assert_failure
	assert_output --partial "neither an OCI layout nor made by 'docker save'"
	head -c 100000 /dev/urandom > "$BATS_TEST_TMPDIR/random"
	run request load path="$BATS_TEST_TMPDIR/random"
	assert_failure
	: > "$BATS_TEST_TMPDIR/empty"
	run request load path="$BATS_TEST_TMPDIR/empty"
	assert_failure
	skopeo copy -q "oci:$LAYOUT:layers" "oci-archive:$BATS_TEST_TMPDIR/oci.tar:a:1"
	head -c 2000000 "$BATS_TEST_TMPDIR/oci.tar" > "$BATS_TEST_TMPDIR/cut.tar"
	run request load path="$BATS_TEST_TMPDIR/cut.tar"
	assert_failure
	# Blobs that came whole before the cut are good content that nothing names: prune's to delete.
	run request prune
	assert_success
	refute_leftovers
}

@test "prune keeps what images need and deletes the rest" {
	request import-builtin busybox="$(command -v busybox)" reference=busybox
	fake_pull ok
	[ "$(layers_made)" = 2 ]
	run request prune
	assert_output --partial '"deleted":[]'
	[ "$(layers_made)" = 2 ]
	sqlite3 "$ROOT/hull.db" "DELETE FROM images WHERE reference LIKE '%/ok:1'"
	run request prune
	assert_success
	[ "$(layers_made)" = 1 ]
	[ "$(find "$ROOT/content/blobs" -type f | wc -l)" = 3 ]
	run request prepare reference=docker.io/library/busybox:latest
	assert_success
	run request prune all=true
	assert_output --partial 'docker.io/library/busybox:latest'
	[ "$(layers_made)" = 0 ]
	run find "$ROOT/content" "$ROOT/layers" "$ROOT/disks" -type f
	refute_output --partial sha256
}

@test "a full disk is an error that says what to do" {
	[ "$(id -u)" = 0 ] || skip 'needs a small file system'
	mkdir "$ROOT"
	mount -t tmpfs -o size=6m tmpfs "$ROOT" || skip 'cannot mount'
	head -c 20000000 /dev/urandom > "$BATS_TEST_TMPDIR/big"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/big.tar" big
	run request import path="$BATS_TEST_TMPDIR/big.tar" reference=big
	local left
	left=$(find "$ROOT" -name 'tmp.*')
	umount "$ROOT"
	assert_failure
	assert_output --partial "free some with 'hull image prune --all'"
	[ -z "$left" ]
}

@test "bad requests" {
	run request fly
	assert_output --partial "unknown request 'fly'"
	run request pull reference=UPPER
	assert_output --partial 'invalid image reference'
	run request pull reference=x platform=a/b/c/d
	assert_output --partial 'invalid platform'
	run request pull
	assert_output --partial 'no reference'
}
