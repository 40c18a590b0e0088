#!/usr/bin/env bats
# Images as the world has them, through the command line: many layers, many files, many platforms; from a real
# registry and to other tools and back. What counts is the tree that comes out, name by name.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup_file() {
	export IMAGES=$BATS_TEST_DIRNAME/../images
	export LIST=${HULL%/*}/tests/images/erofs_list PORT
	PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	cat > "$BATS_FILE_TMPDIR/registry.yml" <<- END
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: $BATS_FILE_TMPDIR/registry}}
		http: {addr: "127.0.0.1:$PORT"}
	END
	docker-registry serve "$BATS_FILE_TMPDIR/registry.yml" &> "$BATS_FILE_TMPDIR/registry.log" 3>&- &
	echo $! > "$BATS_FILE_TMPDIR/registry.pid"
	timeout 20 sh -c 'until curl -sf "http://127.0.0.1:$PORT/v2/"; do sleep 0.1; done'
	make_layers
}

teardown_file() {
	kill "$(< "$BATS_FILE_TMPDIR/registry.pid")"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	use_root root
}

# use_root NAME: a state with nothing in it.
use_root() {
	export HULL_ROOT=$BATS_TEST_TMPDIR/$1 HULL_RUN=$BATS_TEST_TMPDIR/$1.run
}

# An image of twelve layers in the registry, and the tree that umoci makes of it (as root: owners, devices).
make_layers() {
	local layout=$BATS_FILE_TMPDIR/layout tars=$BATS_FILE_TMPDIR/tars i
	mkdir "$tars"
	"$IMAGES/make-layers" "$tars" 12
	umoci init --layout "$layout"
	umoci new --image "$layout:twelve"
	for i in {1..12}; do
		umoci raw add-layer --image "$layout:twelve" "$tars/$i.tar"
	done
	umoci config --image "$layout:twelve" --config.cmd /bin/sh --config.env A=1 --config.label "of=twelve layers"
	skopeo copy -q --dest-tls-verify=false "oci:$layout:twelve" "docker://127.0.0.1:$PORT/layers:12"
	export TREE=$BATS_FILE_TMPDIR/umoci.list
	[[ $EUID -eq 0 ]] || return 0
	umoci_tree "$layout:twelve" > "$TREE"
}

# umoci_tree IMAGE: of an OCI layout. Times of directories that no layer describes are left out.
umoci_tree() {
	local bundle
	bundle=$(mktemp -d -p "$BATS_FILE_TMPDIR")
	umoci unpack --image "$1" "$bundle/b" &> "$bundle/log" || { cat "$bundle/log" >&2; return 1; }
	"$IMAGES/list-tree" "$bundle/b/rootfs" | without_made_up_times
	rm -rf "$bundle"
}

without_made_up_times() {
	awk '$1 == "/" || ($2 ~ /^04/ && ($4 == 0 || $4 > 1600000000)) { $4 = "-" } 1'
}

# hull_tree: of the one image in HULL_ROOT.
hull_tree() {
	local extents
	mapfile -t extents < <(sed -n 's/^RW [0-9]* FLAT "\(.*\)" 0$/\1/p' "$HULL_ROOT"/disks/*/root.vmdk)
	"$LIST" "${extents[@]}" | without_made_up_times
}

# same_tree LIST: but for what a container needs to be mounted on, which hull adds.
same_tree() {
	local added='^/(dev|proc|sys|etc/hostname|etc/hosts|etc/resolv.conf) '
	hull_tree | grep -vE "$added" > hull.list
	[[ $(wc -l < hull.list) -gt 300 ]]
	diff <(grep -vE "$added" "$1") hull.list
}

as_root() {
	[[ $EUID -eq 0 ]] || skip "other tools unpack owners and devices only as root"
}

private_podman() {
	podman --root "$BATS_TEST_TMPDIR/podman" --runroot "$BATS_TEST_TMPDIR/podman-run" --storage-driver vfs "$@"
}

@test "twelve layers from a registry are the tree that umoci unpacks" {
	as_root
	run -0 "$HULL" image pull --progress none "127.0.0.1:$PORT/layers:12"
	assert_output "127.0.0.1:$PORT/layers:12"
	same_tree "$TREE"
	run -0 "$HULL" image inspect "127.0.0.1:$PORT/layers:12"
	assert_equal "$(jq -r '.[0].variants[0].config.rootfs.diff_ids | length' <<< "$output")" 12
	for layer in "$HULL_ROOT"/layers/*.erofs; do
		fsck.erofs "$layer"
	done
}

@test "what save writes of twelve layers is the same image to skopeo, umoci, podman and hull" {
	as_root
	local name=127.0.0.1:$PORT/layers:12 digest
	"$HULL" image pull --progress none "$name"
	"$HULL" image save -o saved.tar "$name"
	digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$name")
	run -0 skopeo inspect --format '{{.Digest}}' oci-archive:saved.tar
	assert_output "$digest"
	skopeo copy -q oci-archive:saved.tar oci:layout:twelve
	umoci_tree layout:twelve | diff "$TREE" -

	private_podman load -q -i saved.tar
	run -0 private_podman image inspect --format '{{.Config.Cmd}} {{index .Config.Labels "of"}} {{len .RootFS.Layers}}' "$name"
	assert_output '[/bin/sh] twelve layers 12'
	private_podman rmi -a -f > /dev/null
	skopeo copy -q oci-archive:saved.tar "docker-archive:docker.tar:$name"
	skopeo copy -q oci:layout:twelve "oci-archive:oci.tar:$name"
	for archive in saved.tar docker.tar oci.tar; do
		use_root "$archive.root"
		run -0 "$HULL" image load -i "$archive"
		same_tree "$TREE"
		run -0 "$HULL" image inspect "$name"
		assert_equal "$(jq -c '.[0].variants[0].config.config | [.Cmd, .Env[-1], .Labels.of]' <<< "$output")" \
			'[["/bin/sh"],"A=1","twelve layers"]'
	done
}

@test "an image of fifty thousand files: imported, saved and loaded" {
	"$IMAGES/make-many" 50000 > many.tar
	"$HULL" image import --progress none many.tar many:1
	# As tar lists them: every hundredth, and how many there are.
	hull_tree > imported.list
	assert_equal "$(grep -c '/file-' imported.list)" 50000
	awk '$1 ~ /(00|-0)$/ { print $1, $2, $3, $4, $6, $8 }' imported.list | sort > sample
	python3 - > wanted <<- 'END'
		import hashlib
		lines = []
		for n in range(0, 50000, 100):
		    data = b"%d" % (n % 7000)
		    lines.append(f"/d{n // 100}/file-{n} 100640 {n % 60000}:0 {1500000000 + n} {len(data)} "
		                 f"{hashlib.sha256(data).hexdigest()[:16]}")
		print("\n".join(lines))
	END
	grep '/file-' sample | diff <(sort wanted) -
	"$HULL" image save -o saved.tar many:1
	use_root second
	"$HULL" image load --progress none -i saved.tar
	hull_tree | diff imported.list -
}

# platform_image LAYOUT NAME ARCHITECTURE [VARIANT]
platform_image() {
	umoci new --image "$1:$2"
	umoci config --image "$1:$2" --architecture "$3" --config.cmd "/$3"
	mkdir -p "$2"
	echo "$2" > "$2/which"
	umoci insert --image "$1:$2" --rootless "$2/which" /which &> insert.log
}

@test "an index of several platforms in a registry: each is pulled by its name" {
	local name=127.0.0.1:$PORT/platforms:1
	umoci init --layout layout
	platform_image layout amd64 amd64
	platform_image layout arm64 arm64
	platform_image layout s390x s390x
	# The three as one index, which umoci cannot make.
	python3 - <<- 'END'
		import hashlib, json, pathlib
		layout = pathlib.Path("layout")
		index = json.loads((layout / "index.json").read_text())
		for entry in index["manifests"]:
		    arch = entry.pop("annotations")["org.opencontainers.image.ref.name"]
		    entry["platform"] = {"os": "linux", "architecture": arch}
		index["mediaType"] = "application/vnd.oci.image.index.v1+json"
		data = json.dumps(index).encode()
		digest = hashlib.sha256(data).hexdigest()
		(layout / "blobs/sha256" / digest).write_bytes(data)
		(layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
		    "mediaType": index["mediaType"], "digest": "sha256:" + digest, "size": len(data),
		    "annotations": {"org.opencontainers.image.ref.name": "all"}}]}))
	END
	skopeo copy -q --all --dest-tls-verify=false oci:layout:all "docker://$name"

	for arch in arm64 amd64 s390x; do
		use_root "$arch"
		run -0 "$HULL" image pull --progress none --platform "linux/$arch" "$name"
		hull_tree | grep -q "^/which .* $(echo "$arch" | sha256sum | cut -c 1-16) "
		run -0 "$HULL" image inspect "$name"
		assert_equal "$(jq -r '.[0].variants[] | select(.config.config.Cmd).platform.architecture' <<< "$output")" "$arch"
	done
	run -1 --separate-stderr "$HULL" image pull --progress none --platform linux/riscv64 "$name"
	[[ $stderr == *'has no content for platform linux/riscv64; available platforms: '*linux/amd64* ]]
}

@test "every means that a layer has, converted by itself and merged, is what umoci unpacks" {
	as_root
	run -0 "$IMAGES/compare-umoci" "${HULL%/*}"
	assert_output --partial 'same tree'
}
