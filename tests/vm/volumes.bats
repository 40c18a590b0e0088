#!/usr/bin/env bats
# Volumes: data that outlives its containers, in real guests.

load helpers

# The machine with slots for several volumes has a template of its own.
setup_file() {
	[[ -n $HULL_TEST_SKIP ]] || "$HULL" run --rm -v /a -v /b busybox true 2> /dev/null
}

teardown() {
	vm_teardown
	[[ -n $HULL_TEST_SKIP ]] || timeout 60 "$HULL" volume delete --all > /dev/null
	assert_no_volume_left
}

assert_no_volume_left() {
	[[ -z $HULL_TEST_SKIP ]] || return 0
	run hull volume ls -q
	assert_output ''
	run find "$HULL_ROOT/volumes" -mindepth 1
	assert_output ''
}

# Bytes of the host's disk that a volume takes.
usage_of() {
	local kib _
	read -r kib _ < <(du -k "$HULL_ROOT/volumes/$1/disk.img")
	echo $((kib * 1024))
}

@test "a volume keeps what is written to it; made on first use, found by both notations" {
	run -0 hull run --rm -v data:/d busybox sh -c 'ls -A /d | wc -l; echo kept > /d/f; stat -c %a:%u:%g /d; df -h /d | tail -1'
	assert_line --index 0 0
	assert_line --index 1 755:0:0
	assert_line --index 2 --regexp ' (63|127|25[45]|509|51[0-2])\.[0-9]G '
	# Clean on disk, although its machine was not shut down.
	run -0 /usr/sbin/dumpe2fs -h "$HULL_ROOT/volumes/data/disk.img"
	assert_line --regexp '^Filesystem state: +clean$'
	refute_output --partial needs_recovery
	run -0 /usr/sbin/e2fsck -fn "$HULL_ROOT/volumes/data/disk.img"
	run -0 --separate-stderr hull run --rm --mount type=volume,source=data,target=/e/deep,readonly busybox sh -c 'cat /e/deep/f; ! touch /e/deep/g 2> /dev/null'
	assert_output kept
	run -0 hull volume inspect data
	assert_equal "$(jq -r '.[0].configuration | .name, .format, .driver' <<< "$output")" $'data\next4\nlocal'
	run -0 hull volume ls
	assert_line --index 1 --regexp '^data +named +local'
}

@test "one container at a time writes to a volume; several read it" {
	hull run --rm -v data:/d busybox touch /d/x
	hull run -d --name writer -v data:/d busybox sleep 1000
	fails 125 "Error: volume 'data' is in use by container writer: several containers can read it at once (:ro), or share one made with --opt type=directory" \
		hull run --rm -v data:/d:ro busybox true
	fails 1 "Error: volume 'data' is in use by container writer" hull volume rm data
	# What has a volume is over before anybody is told: the next one can have it at once.
	hull stop -t 0 writer
	hull run -d --name reader -v data:/d:ro busybox sleep 1000
	run -0 hull run --rm -v data:/d:ro busybox ls /d
	assert_output x
	run -125 hull run --rm -v data:/d busybox true
	hull rm -f reader writer
	hull run --rm -v data:/d busybox rm /d/x
	run -0 hull run --rm -v data:/d busybox ls -A /d
	assert_output ''
}

@test "several volumes at once, one below another, one twice; options are kept" {
	hull volume create --opt journal=writeback --opt size=32m small
	run -0 hull run --rm -v b:/a/b -v a:/a -v small:/s -v small:/t:ro -v c:/c:ro busybox \
		sh -c 'echo 1 > /a/1; echo 2 > /a/b/2; echo s > /s/s; cat /t/s; touch /t/x /c/x; grep " /s " /proc/mounts; df -k /s | tail -1'
	assert_line --index 0 s
	assert_line 'touch: /t/x: Read-only file system'
	assert_line 'touch: /c/x: Read-only file system'
	assert_line --partial 'data=writeback'
	run -0 hull run --rm -v a:/a -v b:/b busybox sh -c 'ls /a /b'
	assert_output $'/a:\n1\nb\n\n/b:\n2'
	# It is full when it is full, and nothing else is.
	run -1 hull run --rm -v small:/s busybox sh -c 'dd if=/dev/zero of=/s/big bs=1M count=64'
	assert_output --partial 'No space left on device'
}

@test "a new volume gets what the image has in its place, with owners, modes and links" {
	run -0 hull run --rm -v etc:/etc busybox sh -c 'stat -c "%n %a %u" /etc/passwd /etc/shadow; echo mine > /etc/group'
	assert_line --index 0 --regexp '^/etc/passwd [0-7]+ 0$'
	# Once: what is in it then is not touched.
	run -0 hull run --rm -v etc:/x busybox cat /x/group
	assert_output mine
	run -0 hull run --rm -v empty:/etc:nocopy busybox ls /etc
	refute_line passwd
}

@test "an image's VOLUMEs are kept apart, and removed with --rm; others stay until they are pruned" {
	mkdir -p fs/bin fs/etc fs/srv/data
	cp "$(command -v busybox)" fs/bin/busybox
	ln -s busybox fs/bin/sh
	ln -s busybox fs/bin/grep
	ln -s busybox fs/bin/touch
	echo root:x:0:0::/: > fs/etc/passwd
	tar -C fs -cf fs.tar .
	hull image import -c 'VOLUME /srv/data' -c 'VOLUME ["/etc"]' fs.tar withvolumes
	run -0 hull run --rm withvolumes sh -c 'grep -c "/dev/vd. /\(srv/data\|etc\) ext4" /proc/mounts; touch /srv/data/x'
	assert_output 2
	soon assert_no_volume_left
	hull run --name keeps -v named:/etc withvolumes touch /srv/data/x
	run -0 hull volume ls
	assert_line --regexp '^anon-[-0-9a-f]{36} +anonymous'
	assert_line --regexp '^named +named'
	run -0 hull start -a keeps
	run -0 --separate-stderr hull volume prune
	assert_output ''
	# With the container, if that is asked for; not what another one has, nor what has a name.
	hull create --name other -v /mine -v "$(hull volume ls -q | grep ^anon-):/shared" busybox true
	hull rm -v other
	run -0 hull volume ls -q
	assert_equal "${#lines[@]}" 2
	hull rm keeps
	run -0 hull volume prune --anonymous
	assert_line --regexp '^anon-'
	assert_line --partial Reclaimed
	run -0 hull volume ls -q
	assert_output named
	# A container that does not come to be leaves none.
	hull create --name taken busybox true
	run -125 hull run --name taken -v /x withvolumes true
	run -0 hull volume ls -q
	assert_output named
	hull image rm withvolumes
}

@test "what was synced survives kill -9 of the machine; the lock dies with its holder" {
	hull run -d --name crash -v data:/d busybox sh -c 'echo synced > /d/s; cp -a /bin /d/bin; sync; sync /d/s; echo ready; echo more > /d/m; sleep 1000'
	logged crash ready
	local machine shim
	machine=$(machine_of crash)
	shim=$(shim_of crash)
	kill -9 "$machine"
	wait_for_end "$machine" "$shim"
	assert_equal "$(state_of crash)" stopped
	fails 125 "Error: volume 'data' was not unmounted cleanly: mount it once without 'ro', which repairs it" \
		hull run --rm -v data:/d:ro busybox true
	run -0 hull run --rm -v data:/d busybox sh -c 'cat /d/s; cmp /bin/busybox /d/bin/busybox && echo same'
	assert_output $'synced\nsame'
	# The same with the supervisor, and with the machine's death by its.
	hull start crash
	soon logged crash ready
	machine=$(machine_of crash)
	shim=$(shim_of crash)
	kill -9 "$shim"
	wait_for_end "$machine" "$shim"
	run -0 hull run --rm -v data:/d busybox cat /d/s
	assert_output synced
}

@test "a suspended container keeps its volumes to itself" {
	hull run -d --name sleeper -v data:/d -v ro:/r:ro busybox sh -c 'echo before > /d/x; i=0; while :; do echo $i >> /d/log; i=$((i + 1)); sleep 0.2; done'
	soon hull exec sleeper test -s /d/log
	hull suspend sleeper
	fails 125 "Error: volume 'data' is in use by container sleeper, which is suspended" hull run --rm -v data:/d busybox true
	fails 125 "Error: volume 'data' is in use by container sleeper, which is suspended" hull run --rm -v data:/d:ro busybox true
	run -0 hull run --rm -v ro:/r:ro busybox ls -A /r
	run -125 hull run --rm -v ro:/r busybox true
	hull resume sleeper
	soon hull exec sleeper sh -c 'echo after >> /d/x; sync'
	hull stop -t 0 sleeper
	run -0 hull run --rm -v data:/d busybox sh -c 'cat /d/x; awk "\$1 != NR - 1" /d/log'
	assert_output $'before\nafter'
}

@test "a volume that is a directory is written by several containers at once" {
	hull volume create --opt type=directory shared
	hull run -d --name one -v shared:/d busybox sh -c 'until [ -e /d/go ]; do sleep 0.1; done; echo one > /d/new; mv /d/new /d/one; sleep 1000'
	run -0 --separate-stderr hull run --rm -v shared:/d -v shared:/r:ro busybox \
		sh -c 'touch /d/go; until [ -e /r/one ]; do sleep 0.1; done; cat /r/one; ! touch /r/x 2> /dev/null; echo two > /d/two'
	assert_output one
	assert_equal "$(cat "$HULL_ROOT/volumes/shared/data/two")" two
	fails 1 "Error: volume 'shared' is in use by container one" hull volume rm shared
	run -0 hull volume inspect shared
	assert_equal "$(jq -r '.[0].configuration | .format, (.source | endswith("/volumes/shared/data"))' <<< "$output")" $'directory\ntrue'
	fails 1 'Error: a volume that is a directory has no size and no journal' hull volume create --opt type=directory -s 1g other
}

@test "a volume that is a directory gets what the image has in its place, from one container" {
	mkdir -p fs/bin fs/srv/data/sub
	cp "$(command -v busybox)" fs/bin/busybox
	ln -s busybox fs/bin/sh
	seq -f 'fs/srv/data/sub/f%.0f' 1 40 | xargs touch
	ln fs/srv/data/sub/f1 fs/srv/data/hard
	ln -s sub/f1 fs/srv/data/soft
	chmod 750 fs/srv/data/sub
	tar -C fs -cf fs.tar .
	hull image import fs.tar withdata
	hull volume create --opt type=directory shared
	local count='/bin/busybox find /d ! -name ".hull*" | /bin/busybox wc -l' pid
	local -a pids=()
	# Whoever comes second sees all of it, too.
	for i in 1 2 3; do
		hull run --rm -v shared:/srv/data -v shared:/d withdata sh -c "$count; echo \$\$ > /d/own-$i" > "out$i" &
		pids+=("$!")
	done
	for pid in "${pids[@]}"; do
		ends 0 "$pid"
	done
	run -0 cat out1 out2 out3
	for i in 0 1 2; do
		((lines[i] >= 44 && lines[i] <= 46)) || fail "$output"
	done
	local data=$HULL_ROOT/volumes/shared/data
	assert_equal "$(stat -c %h "$data/hard") $(readlink "$data/soft") $(stat -c %a "$data/sub")" '2 sub/f1 750'
	run -0 ls -A "$data"
	assert_output $'hard\nown-1\nown-2\nown-3\nsoft\nsub'
	# A copy that was broken off is made anew, by who is alone; what is in it otherwise stays.
	rm "$data/hard" "$data"/own-*
	mkdir "$data/.hull-filling"
	run -0 hull run --rm -v shared:/srv/data withdata /bin/busybox ls -A /srv/data
	assert_output $'hard\nsoft\nsub'
	rm "$data/hard"
	run -0 hull run --rm -v shared:/srv/data withdata /bin/busybox ls -A /srv/data
	assert_output $'soft\nsub'
	# Nothing is there that could be copied, or nothing is to be.
	hull volume create --opt type=directory other
	run -0 hull run --rm -v other:/nosuch -v other:/again:ro withdata /bin/busybox ls -A /nosuch /again
	assert_output $'/again:\n\n/nosuch:'
	run -0 hull run --rm -v other:/srv/data:nocopy withdata /bin/busybox ls -A /srv/data
	assert_output ''
	hull image rm withdata
}

@test "deleted files give their space back to the host, of a volume and of a container" {
	hull run --name big -v data:/d busybox sh -c 'dd if=/dev/urandom of=/d/f bs=1M count=48; cp /d/f /f; sync' 2> /dev/null
	local scratch
	scratch=$HULL_ROOT/containers/$(uuid_of big)/scratch.img
	(($(usage_of data) > 48000000))
	(($(du -k "$scratch" | cut -f 1) > 48000))
	hull rm big > /dev/null
	hull create --name small -v data:/d busybox sh -c 'cp /d/f /f; sync; rm /d/f /f; sync'
	hull start -a small
	scratch=$HULL_ROOT/containers/$(uuid_of small)/scratch.img
	(($(usage_of data) < 16000000))
	(($(du -k "$scratch" | cut -f 1) < 16000))
}

@test "a quota of the container's own disk" {
	run -1 hull run --rm --storage-opt size=32m busybox dd if=/dev/zero of=/f bs=1M count=64
	assert_output --partial 'No space left on device'
	hull run --name it --storage-opt size=64m busybox sh -c 'echo a > /a'
	run -0 hull start -a it
	run -125 hull run --rm --storage-opt size=1p busybox true
	assert_output --partial 'a container'
}

@test "places and sources that cannot be" {
	fails 125 "Error: cannot mount a directory on '/etc/passwd', which is none" hull run --rm -v data:/etc/passwd busybox true
	fails 125 'Error: duplicate mount point: /x' hull run --rm -v a:/x -v b:/x busybox true
	run -125 hull run --rm -v bad..name!:/x busybox true
	assert_output --partial "invalid volume name 'bad..name!'"
	fails 1 'Error: a volume has 16 MiB to 16 TiB, not 1.00 PiB' hull volume create -s 1p huge
	run -64 hull volume create -s 0 none
	fails 1 'Error: volume not found: nosuch' hull volume rm nosuch
	run -0 hull volume create --label a=b named
	fails 1 'Error: volume already exists: named' hull volume create named
	hull create --name has -v named:/n busybox true
	fails 1 "Error: volume 'named' is in use by container has" hull volume rm named
	# As many as the machine has places for, and not one more.
	run -0 hull run --rm -v /1 -v /2 -v /3 -v /4 -v /5 -v /6 -v /7 -v /8 -v /9 -v named:/r:ro busybox \
		sh -c 'for i in 1 2 3 4 5 6 7 8 9; do touch /$i/x || exit 1; done; grep -c ext4 /proc/mounts'
	assert_output 10
	fails 125 'Error: a container has at most 9 volumes that it can write to' \
		hull run --rm -v /1 -v /2 -v /3 -v /4 -v /5 -v /6 -v /7 -v /8 -v /9 -v /10 busybox true
	# Leftovers of what was broken off are collected.
	mkdir -p "$HULL_ROOT/volumes/orphan" "$HULL_ROOT/volumes/.making"
	touch "$HULL_ROOT/volumes/orphan/disk.img"
	hull system prune > /dev/null
	assert_not_exist "$HULL_ROOT/volumes/orphan"
	assert_not_exist "$HULL_ROOT/volumes/.making"
	assert_exist "$HULL_ROOT/volumes/named"
}

@test "system df counts volumes" {
	hull volume create unused
	hull create --name has -v used:/n busybox true
	run -0 hull system df --format json
	assert_equal "$(jq -c '.volumes | [.total, .active, .reclaimable < .sizeInBytes, .reclaimable > 0]' <<< "$output")" '[2,1,true,true]'
}
