#!/usr/bin/env bats
# The words of the command line, as far as they need no VM: help, wrong usage, exit statuses, streams.

bats_require_minimum_version 1.5.0

setup() {
	bats_load_library bats-support
	bats_load_library bats-assert
	HULL=${HULL:-$BATS_TEST_DIRNAME/../../build/hull}
	[[ -x $HULL ]] || skip "hull is not built"
	export HULL_ROOT=$BATS_TEST_TMPDIR/root HULL_RUN=$BATS_TEST_TMPDIR/run
}

@test "no words at all show the help, which makes nothing" {
	run -0 --separate-stderr "$HULL"
	assert_line --index 0 'Usage: hull [OPTIONS] COMMAND [ARG...]'
	[[ -z $stderr && ! -e $HULL_ROOT && ! -e $HULL_RUN ]]
}

@test "every command that is listed has a help of its own" {
	local words
	for words in '' 'image ' 'network ' 'system ' 'system kernel ' 'system dns ' 'system property '; do
		while read -r name; do
			# shellcheck disable=SC2086
			run -0 "$HULL" $words "$name" --help
			assert_line --index 0 --partial "Usage: hull $words$name"
		done < <("$HULL" $words --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\).*/\1/p')
	done
}

@test "wrong usage is told on stderr with the usage line and gives 64" {
	run -64 --separate-stderr "$HULL" stop --tiem 3 web
	[[ -z $output ]]
	[[ $stderr == "Error: unknown option '--tiem'; did you mean '--time'?"$'\n'"Usage: hull stop [OPTIONS] [CONTAINER...]" ]]
	run -64 "$HULL" strat
	assert_line "Error: unknown command 'strat'; did you mean 'start'?"
	run -64 "$HULL" run
	run -64 "$HULL" exec web
	run -64 "$HULL" stop
	assert_line 'Error: no containers specified and --all not supplied'
	run -64 "$HULL" stop --all web
	assert_line 'Error: explicitly supplied container ID(s) conflict with the --all flag'
	[[ ! -e $HULL_ROOT ]]
}

@test "options of run end at the image" {
	run -64 "$HULL" run --memory none busybox
	assert_line --partial "invalid size 'none' for '--memory'"
	run -0 "$HULL" run --help busybox
	run -64 "$HULL" run --nothing busybox --help
}

@test "the second name works as the first" {
	ln -s "$(realpath "$HULL")" "$BATS_TEST_TMPDIR/applectl"
	run -0 "$BATS_TEST_TMPDIR/applectl" --version
	assert_output --regexp '^hull [0-9]+\.[0-9]+\.[0-9]+$'
}

@test "an empty state has empty lists" {
	run -0 "$HULL" ls
	assert_output 'ID  IMAGE  OS  ARCH  STATE  IP  CPUS  MEMORY  STARTED  PORTS'
	run -0 "$HULL" ls -a --format json
	assert_output '[]'
	run -0 "$HULL" ls -aq
	assert_output ''
	run -0 "$HULL" image ls
	assert_output 'NAME  TAG  DIGEST'
	run -0 --separate-stderr "$HULL" prune
	[[ -z $output && $stderr == 'Reclaimed Zero KB in disk space' ]]
}

@test "what is not there is told of, target by target" {
	run -1 --separate-stderr "$HULL" stop a1 b2
	[[ $stderr == $'Error: container not found: a1\nError: container not found: b2' ]]
	run -1 "$HULL" inspect nothing
	assert_line 'Error: container not found: nothing'
	run -1 "$HULL" image inspect nothing
	assert_line --partial 'Error: image not found: '
	run -125 "$HULL" exec nothing true
	assert_output 'Error: container not found: nothing'
	run -125 "$HULL" start -a nothing
	run -1 "$HULL" start nothing
	run -125 "$HULL" run --pull never nothing
}

@test "a configuration that is wrong is told with its line" {
	printf '[container]\ncpus = many\n' > "$BATS_TEST_TMPDIR/conf"
	HULL_CONFIG=$BATS_TEST_TMPDIR/conf run -1 "$HULL" ls
	assert_output --partial 'Error: '
	assert_output --partial "many"
}

@test "completion scripts are accepted by their shells, and complete" {
	local shell
	for shell in bash zsh fish; do
		command -v "$shell" > /dev/null || continue
		"$HULL" completion "$shell" > "$BATS_TEST_TMPDIR/script"
		"$shell" -n "$BATS_TEST_TMPDIR/script"
	done
	run -0 bash -c 'PATH=$1:$PATH; source <("$2" completion bash)
		COMP_LINE="hull system ker" COMP_POINT=15 COMP_WORDS=(hull system ker) COMP_CWORD=2
		words=(); _hull; printf "%s\n" "${COMPREPLY[@]}"' - "$(dirname "$(realpath "$HULL")")" "$HULL"
	assert_output kernel
}

@test "a reader that leaves early is no failure to tell of" {
	run -0 --separate-stderr bash -c 'set -o pipefail; "$1" run --help | head -n 1 > /dev/null; [[ ${PIPESTATUS[0]} -le 1 ]]' - "$HULL"
	[[ -z $stderr ]]
}

# fake_qemu FILE VERSION
fake_qemu() {
	mkdir -p "${1%/*}"
	printf '#!/bin/sh\necho "QEMU emulator version 7.2.22 (%s)"\n' "$2" > "$1"
	chmod 755 "$1"
}

@test "doctor: the lean emulator goes before the host's, and is told when that is newer" {
	local programs=$BATS_TEST_TMPDIR/programs host=$BATS_TEST_TMPDIR/bin name=qemu-system-x86_64
	mkdir -p "$programs"
	cp "$HULL" "$programs/hull"
	touch "$programs/hull-shim"
	fake_qemu "$host/$name" "Debian 1:7.2+dfsg-7+deb12u18+b3"
	export PATH=$host:$PATH HULL_CONFIG=$BATS_TEST_TMPDIR/hull.conf
	touch "$HULL_CONFIG"
	run "$programs/hull" system doctor
	assert_line "[hint] emulator: $host/$name, 1:7.2+dfsg-7+deb12u18"
	fake_qemu "$programs/qemu/$name" "hull 1:7.2+dfsg-7+deb12u18"
	run "$programs/hull" system doctor
	assert_line "[ok]   emulator: $programs/qemu/$name, 1:7.2+dfsg-7+deb12u18"
	fake_qemu "$programs/qemu/$name" "hull 1:7.2+dfsg-7+deb12u9"
	run "$programs/hull" system doctor
	assert_line "[hint] emulator: $programs/qemu/$name, 1:7.2+dfsg-7+deb12u9"
	assert_line --partial "the host's '$host/$name' is newer (1:7.2+dfsg-7+deb12u18)"

	printf '[vm]\nqemu = %s\n' "$host/$name" > "$HULL_CONFIG"
	run "$programs/hull" system doctor
	assert_line "[ok]   emulator: $host/$name, 1:7.2+dfsg-7+deb12u18"
	printf '[vm]\nqemu = /nonexistent/qemu\n' > "$HULL_CONFIG"
	run -1 "$programs/hull" system doctor
	assert_line "[FAIL] emulator: [vm] qemu: cannot run '/nonexistent/qemu': No such file or directory"
}
