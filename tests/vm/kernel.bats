#!/usr/bin/env bats
# A kernel that did not come with hull: Debian's for clouds, as its package has it (a bzImage and a tree of modules,
# without 9p). Fetched once into the cache of the tests.

load helpers

setup_file() {
	local cache=${HULL_TEST_CACHE:-/var/cache/hull-test} package
	export FOREIGN=$cache/linux-cloud FOREIGN_SKIP=
	[[ -z $HULL_TEST_SKIP ]] || return 0
	[[ $(uname -m) == x86_64 ]] || { FOREIGN_SKIP="no such kernel for this machine"; return 0; }
	[[ ! -d $FOREIGN ]] || return 0
	package=$(apt-cache show --no-all-versions linux-image-cloud-amd64 2> /dev/null |
		sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1)
	mkdir -p "$cache" 2> /dev/null && [[ -w $cache ]] || cache=$BATS_FILE_TMPDIR FOREIGN=$BATS_FILE_TMPDIR/linux-cloud
	if [[ -z $package ]] || ! (cd "$BATS_FILE_TMPDIR" && apt-get -qq -o APT::Sandbox::User=root download "$package"); then
		FOREIGN_SKIP="cannot download Debian's kernel for clouds"
		return 0
	fi
	dpkg-deb -x "$BATS_FILE_TMPDIR/$package"_*.deb "$FOREIGN.$$"
	rm -rf "$FOREIGN.$$/usr" "$FOREIGN.$$"/boot/{System.map,config}*
	mv -T "$FOREIGN.$$" "$FOREIGN" 2> /dev/null || rm -rf "$FOREIGN.$$" # another run was faster
}

setup() {
	vm_setup
	[[ -z $FOREIGN_SKIP ]] || skip "$FOREIGN_SKIP"
	IMAGE=$(echo "$FOREIGN"/boot/vmlinuz-*)
	MODULES=$(echo "$FOREIGN"/lib/modules/*)
	RELEASE=${MODULES##*/}
}

teardown() {
	if [[ -z $HULL_TEST_SKIP ]]; then
		hull system kernel set --recommended
	fi
	vm_teardown
}

@test "a bzImage with its modules: set, run, listed, run by --kernel, and back to the one that came with hull" {
	local shipped
	run -0 hull run --rm busybox uname -r
	shipped=$output
	run -0 hull system kernel set --modules "$MODULES" "$IMAGE"
	run -0 --separate-stderr hull run --rm busybox sh -c 'uname -r; echo x > /written; cat /written; df -T / | tail -1'
	assert_line --index 0 "$RELEASE"
	assert_line --index 1 x
	assert_line --index 2 --regexp '^overlay '
	run -0 hull system kernel list --format json
	assert_equal "$(jq -r '.[] | select(.active).release' <<< "$output")" "$RELEASE"
	run -0 hull system kernel set --recommended
	run -0 hull run --rm busybox uname -r
	assert_output "$shipped"
	# Unpacked already, with its modules; as a directory, too.
	run -0 hull run --rm --kernel "$IMAGE" busybox uname -r
	assert_output "$RELEASE"
	cd "$HULL_ROOT/kernels"
	run -0 hull run --name by-dir -k ./* busybox uname -r
	assert_output "$RELEASE"
	cd /
	run -0 hull start -a by-dir
	assert_output "$RELEASE"
}

@test "kernels that are none: each is told, and what was set stays" {
	head -c 3000000 "$IMAGE" > truncated
	head -c 200000 /dev/urandom > random
	: > empty
	mkdir directory
	local reason
	fails 1 "Error: there is no kernel in '$PWD/directory': No such file or directory" hull system kernel set directory
	fails 1 "Error: cannot find kernel 'nosuch': No such file or directory" hull system kernel set nosuch
	for file in truncated random empty /bin/true; do
		run -1 --separate-stderr hull system kernel set "$file"
		assert_output ''
		reason=${stderr##*$'\n'}
		[[ $reason == "Error: "*"$(realpath "$file")"* ]] || fail "$file: $stderr"
		run -125 --separate-stderr hull run --rm -k "$file" busybox true
		[[ $stderr == *"${reason#Error: }"* ]] || fail "$file: $stderr"
	done
	run -0 hull system kernel list --format json
	assert_equal "$(jq -r '.[] | select(.active).name' <<< "$output")" "$(jq -r '.[0].name' <<< "$output")"
	run find "$HULL_ROOT/kernels" -name '*.new-*'
	assert_output ''
}

@test "modules that are missing or another kernel's" {
	local shipped
	run -1 --separate-stderr hull system kernel set --modules /nosuch "$IMAGE"
	assert_equal "${stderr##*$'\n'}" "Error: cannot read kernel modules '/nosuch': No such file or directory"
	mkdir empty
	run -1 --separate-stderr hull system kernel set --modules empty "$IMAGE"
	assert_equal "${stderr##*$'\n'}" "Error: there are no kernel modules in 'empty'"
	cp -r "$MODULES" some
	find some -name 'erofs.ko*' -delete
	run -1 --separate-stderr hull system kernel set --modules some "$IMAGE"
	assert_equal "${stderr##*$'\n'}" "Error: the kernel has no module 'erofs' in 'some'"
	shipped=$(hull system kernel list --format json | jq -r '.[0].path')
	run -1 --separate-stderr hull system kernel set --modules "$MODULES" "$shipped/vmlinux"
	[[ $stderr == *"but the modules in '$MODULES' are of $RELEASE"* ]]
}

@test "a kernel without the modules it needs: the start fails, and says what is missing" {
	own_state
	rm -rf "${HULL_ROOT:?}"/kernels/*
	run -125 --separate-stderr hull run --rm -k "$IMAGE" busybox true
	[[ $stderr == *"does the kernel have virtio_mmio and virtio_console, or their modules?"* ]]
	run -0 hull run --rm busybox true
}
