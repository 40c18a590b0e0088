#!/usr/bin/env bats
# What is killed, spoilt, full or missing: the next command tells the truth, and nothing is left behind.

load helpers

teardown() {
	[[ -n $HULL_TEST_SKIP ]] || : > "$HULL_CONFIG"
	vm_teardown
}

@test "a killed shim: the container is stopped, its machine gone, and it starts again" {
	hull run -d --name web busybox sh -c 'echo x >> /runs; sync; echo ready; sleep 1000'
	logged web ready
	local shim machine
	shim=$(shim_of web)
	machine=$(machine_of web)
	kill -9 "$shim"
	wait_for_end "$shim" "$machine"
	assert_equal "$(state_of web)" stopped
	fails 125 'Error: container web is not running' hull exec web true
	run -0 hull wait web
	assert_output 137
	run -0 hull start web
	run -0 hull exec web true
	# At once: what its machine leaves last is waited for.
	machine=$(machine_of web)
	kill -9 "$(shim_of web)"
	run -0 hull start web
	run -0 hull exec web true
	wait_for_end "$machine"
}

@test "a killed shim of a container with --rm: it is removed" {
	hull run -d --rm --name web busybox sleep 1000
	local shim machine
	shim=$(shim_of web)
	machine=$(machine_of web)
	kill -9 "$shim"
	wait_for_end "$shim" "$machine"
	run -0 hull ls -aq
	assert_output ''
	assert_nothing_left
}

@test "a killed machine: its container is stopped and starts again" {
	hull run -d --name web busybox sleep 1000
	local shim machine
	shim=$(shim_of web)
	machine=$(machine_of web)
	kill -9 "$machine"
	wait_for_end "$machine" "$shim"
	assert_equal "$(state_of web)" stopped
	run -0 hull start web
	run -0 hull exec web true
}

@test "a killed clerk: what can no longer be recorded is stopped, in order" {
	hull run -d --name web -v data:/d --restart always busybox sh -c 'trap "echo in order >> /d/file; exit 0" TERM; echo ready; while :; do sleep 0.1; done'
	logged web ready
	local shim machine
	shim=$(shim_of web)
	machine=$(machine_of web)
	kill -9 "$(pgrep -x hull-rows -P "$shim")"
	wait_for_end "$machine" "$shim"
	assert_equal "$(state_of web)" stopped
	run -0 hull start web
	run -0 hull exec web cat /d/file
	assert_output 'in order'
	hull delete -f web
	hull volume delete data
}

@test "a killed machine is told to whoever is attached" {
	hull run --name web busybox sh -c 'echo ready; sleep 1000' > out 2> err &
	local runner=$! machine
	logged web ready
	machine=$(machine_of web)
	kill -9 "$machine"
	ends 125 "$runner"
	run -0 cat err
	assert_output "Error: the machine ended unexpectedly (see 'hull logs --boot')"
}

@test "a killed run: the container goes on" {
	hull run --name web busybox sh -c 'echo ready; sleep 1000' > out &
	local runner=$!
	logged web ready
	pkill -9 -P "$runner" || kill -9 "$runner"
	wait "$runner" || true
	assert_equal "$(state_of web)" running
	run -0 hull exec web echo in
	assert_output in
	run -0 hull stop -t 0 web
}

@test "a killed run whose program writes on: nothing blocks" {
	"$HULL" run --name web busybox sh -c 'echo ready; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; echo end' > out &
	local runner=$!
	logged web ready
	kill -9 "$runner"
	wait "$runner" || true
	run -0 timeout 60 "$HULL" wait web
	assert_output 0
	run -0 hull logs -n 1 web
	assert_output end
}

@test "a reader that does not read blocks only itself" {
	mkfifo pipe
	"$HULL" run --name web busybox sh -c 'echo ready; yes' > pipe &
	local runner=$!
	exec 9< pipe
	soon is_listed web
	run -0 timeout 60 "$HULL" exec web echo in
	assert_output in
	run -0 timeout 60 "$HULL" stop -t 0 web
	exec 9<&-
	wait "$runner" || true
}

# no_image_templates: for the template that all images use; their own are not to stand in for it, nor their makers
# to boot it anew at the same time.
no_image_templates() {
	printf '[vm]\nimage-templates = off\n' > "$HULL_CONFIG"
}

# template_file NAME: of the template that all images use
template_file() {
	local ram
	no_image_templates
	ram=$(hull system doctor --format json | jq -r '.[] | select(.name == "template").finding')
	echo "$ram/$1"
}

# is_made_anew: a run finds the template bad, makes a new one, and works; the next has nothing to say.
is_made_anew() {
	run -0 --separate-stderr hull run --rm busybox echo fine
	assert_output fine
	[[ $stderr == *booting* ]]
	run -0 --separate-stderr hull run --rm busybox echo fine
	assert_output fine
	assert_equal "$stderr" ''
}

@test "a spoilt template is made anew: memory cut short" {
	truncate -s 4096 "$(template_file ram)"
	is_made_anew
}

@test "a spoilt template is made anew: memory with other bytes in it, noticed after a boot of the host" {
	local ram
	ram=$(template_file ram)
	touch -r "$ram" before
	dd if=/dev/urandom of="$ram" bs=4096 seek=4000 count=1 conv=notrunc status=none
	touch -r before "$ram"
	rm "$HULL_RUN"/template-*.checked
	is_made_anew
}

@test "a spoilt template is made anew: state with other bytes in it" {
	dd if=/dev/urandom of="$(template_file state)" bs=1 seek=2000 count=64 conv=notrunc status=none
	is_made_anew
}

@test "a spoilt template is made anew: files missing" {
	rm "$(template_file state)"
	is_made_anew
}

@test "a machine goes on when its template is deleted" {
	no_image_templates
	hull run -d --name web busybox sh -c 'echo ready; sleep 1000'
	logged web ready
	rm -r "$HULL_ROOT"/templates/*
	run -0 hull exec web sh -c 'head -c 20000000 /dev/zero | md5sum'
	is_made_anew
}

@test "two that need the same template boot it once" {
	rm -r "$HULL_ROOT"/templates/*
	hull run --rm busybox echo one > out.1 2> err.1 &
	local first=$!
	hull run --rm busybox echo two > out.2 2> err.2 &
	ends 0 "$!"
	ends 0 "$first"
	run -0 cat err.1 err.2
	assert_equal "$(grep -c booting <<< "$output")" 1
	assert_equal "$(find "$HULL_ROOT/templates" -name ram | wc -l)" 1
}

@test "[vm] template = off boots each machine" {
	printf '[vm]\ntemplate = off\n' > conf
	HULL_CONFIG=$PWD/conf run -4 hull run --rm busybox sh -c 'echo cold; exit 4'
	assert_output cold
}

# small_disk SIZE: a state of our own on a disk of that size.
small_disk() {
	[[ $EUID -eq 0 ]] || skip "mounting a small disk needs root"
	mkdir small
	truncate -s "$1" disk
	mkfs.ext4 -q disk
	mount -o loop disk small 2> /dev/null || skip "mounting is not possible here"
	HULL_TEST_DIR=$PWD HULL_ROOT=$PWD/small/root HULL_RUN=$PWD/run
}

teardown() {
	vm_teardown
	if mountpoint -q "$BATS_TEST_TMPDIR/small"; then
		umount "$BATS_TEST_TMPDIR/small"
	fi
}

@test "a full disk: the image cannot be made, and nothing of it stays" {
	small_disk 1m
	run -1 --separate-stderr hull image import --builtin
	assert_equal "${#stderr_lines[@]}" 1
	[[ $stderr == Error:*'No space left on device'* ]]
	run -0 hull image ls -q
	assert_output ''
	run find "$HULL_ROOT" -name '*.erofs*' -o -name '*.vmdk*' -o -path '*/ingest/*'
	assert_output ''
}

@test "a full disk: no template can be made, and nothing of it stays" {
	small_disk 20m
	hull image import --builtin
	run -125 --separate-stderr hull run --rm busybox true
	[[ $stderr == *'No space left on device'* ]]
	assert_equal "$(grep -c ^Error: <<< "$stderr")" 1
	run -0 ls "$HULL_ROOT/templates" # the lock of the maker stays, hidden
	assert_output ''
	run -0 hull ls -aq
	assert_output ''
}

@test "a disk that fills pauses the container that writes; with room it goes on" {
	small_disk 400m
	hull image import --builtin
	hull run -d --name web busybox sh -c 'echo ready; sleep 1000'
	logged web ready
	cat /dev/zero > small/ballast 2> /dev/null || true
	hull exec web sh -c 'head -c 50000000 /dev/zero | tr "\0" x > /big && sync && wc -c < /big' > out &
	local writer=$!
	# The database is on the full disk too: the shim knows it, not the row. What was asked just before it waits.
	soon eval '[[ $(state_of web) == paused ]]'
	run -0 hull ls
	assert_line --partial 'paused (disk full)'
	run -0 hull inspect web
	assert_equal "$(jq -r '.[0].status.reason' <<< "$output")" "the host's disk is full; it goes on when there is room"
	fails 125 "Error: container web is paused: the host's disk is full; it goes on when there is room" hull exec web true
	rm small/ballast
	ends 0 "$writer"
	assert_equal "$(state_of web)" running
	run -0 cat out
	assert_output 50000000
}

@test "on a full disk the truth is told, and what is deleted makes the room" {
	small_disk 400m
	hull image import --builtin
	hull run -d --name web busybox sh -c 'echo ready; sleep 1000'
	hull create --name other busybox true
	logged web ready
	cat /dev/zero > small/ballast 2> /dev/null || true
	run -0 hull ls -q
	assert_output web
	local shim
	shim=$(shim_of web)
	kill -9 "$shim"
	wait_for_end "$shim"
	run -0 hull ls -aq
	assert_output $'other\nweb'
	assert_equal "$(state_of web)" stopped
	run -0 hull rm web other
}

# installed_elsewhere: the programs without the kernel that stands beside them.
installed_elsewhere() {
	mkdir bin
	cp "$(dirname "$HULL")"/hull{,-shim,-image,-init} bin
	export HULL=$PWD/bin/hull
}

# As a guest's kernel could leave its disk: sums are right, what they are the sums of is not.
damage() {
	printf '%s\n' "${@:2}" > commands
	cp --sparse=always good.img "$1"
	/usr/sbin/debugfs -w -f commands "$1" > debugfs.log 2>&1
}

# Of a directory on the disk: its first block.
block_of() {
	/usr/sbin/debugfs -R "blocks $2" "$1" 2> /dev/null | cut -d ' ' -f 1
}

@test "a container's disk that its guest has damaged: commands end with an error, and little is written" {
	local HULL_TEST_TIMEOUT=60 disk
	hull run --name c1 busybox sh -c 'mkdir -p /data/sub; head -c 1000000 /dev/zero > /data/file; for i in $(seq 300); do echo $i > /data/sub/file$i; done'
	disk="$HULL_ROOT/containers/$(uuid_of c1)/scratch.img"
	cp --sparse=always "$disk" good.img

	yes | dd of="$disk" bs=1024 seek=1 count=1 iflag=fullblock conv=notrunc status=none
	fails 1 "Error: cannot mount the scratch disk 'slot2': Invalid argument" hull diff c1

	damage "$disk"
	yes | dd of="$disk" bs=4096 seek="$(block_of "$disk" upper/data/sub)" count=1 iflag=fullblock conv=notrunc status=none
	fails 1 "Error: cannot read the directory '/data/sub': Bad message" hull diff c1

	damage "$disk" 'sif upper/data/file size 0x0fffffffffffffff'
	run -1 --separate-stderr hull cp --progress none c1:/data out
	assert_equal "$stderr" "Error: cannot look at 'data/file': Bad message"

	damage "$disk" 'link upper/data upper/data/sub/loop'
	run -1 --separate-stderr hull export --progress none -o out.tar c1
	assert_equal "$stderr" "Error: cannot look at 'data/sub/loop': Symbolic link loop"
	assert_file_not_exist out.tar

	# The extents of the file lead to the table of inodes.
	damage "$disk" 'sif upper/data/file block[0] 0x0001f30a' 'sif upper/data/file block[1] 0x00010004' \
		'sif upper/data/file block[4] 8258'
	run -1 --separate-stderr hull commit --progress none c1 damaged
	assert_equal "$stderr" "Error: cannot look at 'data/file': Bad message"

	[[ $(du -sk . | cut -f 1) -lt 20000 ]]
	cp --sparse=always good.img "$disk"
	run -0 hull cp --progress none c1:/data/sub/file7 .
	assert_equal "$(< file7)" 7
}

@test "without a kernel: one line that says so" {
	installed_elsewhere
	run -125 --separate-stderr hull run --rm busybox true
	assert_output ''
	assert_equal "$stderr" "Error: there is no guest kernel; run 'make quickstart' in hull's source, or 'hull system kernel set PATH'"
	run -1 hull system start
	fails 125 "Error: cannot find kernel '/nosuch': No such file or directory" hull run --rm --kernel /nosuch busybox true
}

@test "without QEMU: one line that says what to install" {
	run -125 --separate-stderr env PATH=/nowhere "$HULL" run --rm busybox true
	assert_output ''
	assert_equal "${#stderr_lines[@]}" 1
	[[ $stderr == Error:*qemu-system* ]]
}

@test "a state directory with odd characters in its name" {
	own_state "$BATS_TEST_TMPDIR/a, b=c"
	run -0 --separate-stderr hull run --rm busybox echo fine
	assert_output fine
}

@test "a run directory that was emptied under a running container" {
	own_state
	hull run -d --name web busybox sleep 1000
	local shim
	shim=$(shim_of web)
	rm -r "$HULL_RUN"
	run hull ls -q
	kill "$shim"
	wait_for_end "$shim"
	run -0 hull ls -q
	assert_output ''
}

@test "SIGTERM to the shim stops the container in order" {
	hull run -d --name web busybox sh -c 'trap "exit 6" TERM; echo ready; while :; do sleep 0.1; done'
	logged web ready
	local shim
	shim=$(shim_of web)
	kill "$shim"
	wait_for_end "$shim"
	run -0 hull wait web
	assert_output 6
}

@test "ctrl-C while the template is made leaves nothing" {
	rm -r "$HULL_ROOT"/templates/*
	"$HULL" run --rm busybox true 2> err &
	local runner=$!
	soon grep -q booting err
	kill -TERM "$runner"
	wait "$runner" || true
	# shellcheck disable=SC2046
	wait_for_end $(hull_processes)
	run -0 hull run --rm busybox echo fine
	assert_line fine
	run -0 ls "$HULL_ROOT/templates"
	assert_equal "${#lines[@]}" 1
}

@test "another login, with another HULL_RUN, reaches what runs" {
	hull run -d -i --name web busybox sh -c 'echo ready; while read -r line; do echo "$line"; done'
	logged web ready
	mkdir login
	export HULL_RUN=$PWD/login
	run -0 hull exec web echo in
	assert_output in
	timeout 60 "$HULL" attach web < <(echo line) > attached &
	local attached=$!
	logged web line
	run -0 hull kill web
	ends 137 "$attached"
	run -0 hull wait web
	run -0 hull start web
	HULL_RUN=$HULL_TEST_DIR/run run -0 hull stop -t 0 web
	assert_equal "$(state_of web)" stopped
	run -0 find login -mindepth 1 -name '*.lock'
	assert_output ''
}

@test "a shim that runs and cannot be reached: nobody says that it was stopped" {
	hull run -d --name web busybox sleep 1000
	local uuid shim machine reason
	uuid=$(uuid_of web) shim=$(shim_of web) machine=$(machine_of web)
	mv "$HULL_ROOT/containers/$uuid/ctl" "$HULL_ROOT/containers/$uuid/lost"
	reason="container web is running, but its supervisor cannot be reached: cannot connect to '$HULL_ROOT/containers/$uuid/ctl': No such file or directory"
	fails 1 "Error: $reason" hull stop web
	fails 125 "Error: $reason" hull exec web true
	fails 1 "Error: $reason" hull kill web
	fails 1 "Error: $reason" hull delete -f web
	fails 1 "Error: $reason" hull wait web
	assert_equal "$(state_of web)" running
	mv "$HULL_ROOT/containers/$uuid/lost" "$HULL_ROOT/containers/$uuid/ctl"
	run -0 hull stop -t 0 web
	wait_for_end "$shim" "$machine"
}

@test "whatever is killed while it works, the next command tells the truth" {
	run -0 "${BATS_TEST_DIRNAME}/killer" --seed 3 --rounds 6
}
