#!/usr/bin/env bats
# Directories and files of the host in a container.

load helpers

# in_container COMMAND...: a shell command in container "box".
in_container() {
	hull exec box sh -c "$*"
}

# start_with ARG...: a container "box" that stays.
start_with() {
	hull run -d --name box "$@" busybox sleep 1000
}

@test "what one side writes the other side reads next" {
	mkdir d
	echo one > d/f
	start_with -v ./d:/mnt
	run -0 in_container 'cat /mnt/f; echo two > /mnt/g; mkdir -p /mnt/a/b; mv /mnt/g /mnt/a/b/h; ln -s h /mnt/a/b/l; echo x >> /mnt/a/b/h'
	assert_output one
	run -0 cat d/a/b/l
	assert_output $'two\nx'
	assert_not_exists d/g
	# Names that were not there, contents of the same size, other sizes, what is gone.
	run -1 in_container 'cat /mnt/new'
	echo new > d/new
	run -0 in_container 'cat /mnt/new'
	assert_output new
	echo wen > d/new
	run -0 in_container 'cat /mnt/new'
	assert_output wen
	echo longer >> d/new
	run -0 in_container 'cat /mnt/new; stat -c %s /mnt/new'
	assert_output $'wen\nlonger\n11'
	echo replaced > d/other
	mv d/other d/new
	run -0 in_container 'cat /mnt/new'
	assert_output replaced
	mv d/a d/moved
	run -0 in_container 'cat /mnt/moved/b/h; ls /mnt'
	assert_output $'two\nx\nf\nmoved\nnew'
	rm -r d/moved
	run -0 in_container 'ls /mnt'
	assert_output $'f\nnew'
}

@test "a read-only share is that on the host, whatever the container does" {
	mkdir d
	echo old > d/f
	start_with --privileged -v "$PWD/d:/mnt:ro" --mount "type=bind,source=$PWD/d,target=/again,readonly"
	run -1 in_container 'echo new > /mnt/f'
	assert_output --partial 'Read-only file system'
	in_container 'mount -o remount,rw,bind /mnt && mount -o remount,rw,bind /again'
	for op in 'echo new > /mnt/f' 'rm /mnt/f' 'mkdir /again/x' 'mv /mnt/f /mnt/g' 'chmod 600 /mnt/f' 'ln /mnt/f /mnt/g' 'ln -s f /mnt/g' 'touch /again/f' 'truncate -s 0 /mnt/f'; do
		run -1 in_container "$op"
		assert_output --partial 'Read-only file system'
	done
	run -0 in_container 'cat /mnt/f /again/f'
	assert_output $'old\nold'
	run -0 ls d
	assert_output f
}

@test "a single file is shared without its neighbours, and follows its name" {
	echo one > f
	echo secret > neighbour
	start_with -v ./f:/etc/app.conf -v ./f:/new/place/f:ro -v "$(dirname "$HULL")/tests/vm/watch_files:/watch:ro"
	run -0 in_container 'cat /etc/app.conf /new/place/f; echo two > /etc/app.conf; ls /new/place'
	assert_output $'one\none\nf'
	run -0 cat f
	assert_output two
	echo three > f
	run -0 in_container 'cat /etc/app.conf'
	assert_output three
	# As editors save, to whoever watches and whoever has it open.
	hull exec box /watch /etc/app.conf > events &
	local watcher=$!
	soon grep -qx ready events
	hull exec -d box sh -c 'exec 3< /etc/app.conf; echo > /opened; until grep -q five <&3; do sleep 0.1; done; echo > /seen'
	soon hull exec box test -e /opened
	echo four > f~
	mv f~ f
	run -0 in_container 'cat /etc/app.conf /new/place/f; echo more >> /etc/app.conf'
	assert_output $'four\nfour'
	run -0 cat f
	assert_output $'four\nmore'
	run -1 in_container 'echo x > /new/place/f'
	soon grep -qx 'close /etc/app.conf ' events
	rm f
	run -0 in_container 'cat /etc/app.conf'
	assert_output $'four\nmore'
	ln -s neighbour f
	run -0 in_container 'cat /etc/app.conf'
	refute_output --partial secret
	rm f
	printf 'four\nmore\nfive\n' > f
	soon hull exec box test -e /seen
	run -0 in_container 'cat /etc/app.conf'
	assert_output $'four\nmore\nfive'
	hull stop box
	wait "$watcher" || true
}

@test "what cannot be mounted is told" {
	mkdir d
	touch f
	fails 125 "Error: path '$PWD/nosuch' does not exist" hull run --rm -v "$PWD/nosuch:/mnt" busybox true
	fails 125 "Error: path '$PWD/./nosuch' does not exist" hull run --rm -v ./nosuch:/mnt busybox true
	fails 125 "Error: cannot mount a directory on '/etc/passwd', which is none" hull run --rm -v ./d:/etc/passwd busybox true
	fails 125 "Error: cannot mount a file on '/etc', which is a directory" hull run --rm -v ./f:/etc busybox true
	hull create --name gone -v ./d:/mnt busybox true
	rmdir d
	fails 125 "Error: path '$PWD/d' does not exist" hull start -a gone
}

@test "links do not lead out of the share, nor do paths that change" {
	local out=$BATS_TEST_TMPDIR/outside i
	mkdir -p d/real "$out"
	echo secret > "$out/secret"
	ln -s "$out/secret" d/absolute
	ln -s ../outside d/relative
	ln -s "$out" d/dir
	echo inside > d/real/secret
	start_with -v ./d:/mnt
	run -1 in_container 'cat /mnt/absolute /mnt/relative/secret /mnt/dir/secret'
	refute_output --partial secret$'\n'
	run -0 in_container 'readlink /mnt/absolute'
	assert_output "$out/secret"
	# A directory of the path becomes a link, and a directory again, all the time.
	for ((i = 0; i < 500; i++)); do
		ln -s "$out" d/link && mv -T d/real d/aside && mv -T d/link d/real
		rm d/real && mv -T d/aside d/real
	done &
	run in_container 'i=0; while [ $i -lt 15 ]; do cat /mnt/real/secret; echo planted > /mnt/real/planted$i; i=$((i+1)); done'
	wait
	refute_line secret
	run -0 in_container 'cat /mnt/real/secret'
	assert_output inside
	run -0 ls "$out"
	assert_output secret
}

@test "programs that watch for changes are told of those of the host" {
	mkdir -p d/sub/deep
	echo x > d/sub/f
	start_with -v ./d:/mnt -v "$(dirname "$HULL")/tests/vm/watch_files:/watch:ro"
	hull exec box /watch /mnt/sub /mnt/sub/deep /mnt/sub/f > events &
	local watcher=$!
	soon grep -qx ready events
	# The container's own changes come once, as they always do.
	in_container 'echo own > /mnt/sub/own'
	echo y > d/sub/f
	soon grep -qx 'close /mnt/sub f' events
	touch d/sub/new
	soon grep -qx 'create /mnt/sub new' events
	chmod 600 d/sub/new
	soon grep -qx 'attrib /mnt/sub new' events
	mkdir d/sub/deep/dir
	soon grep -qx 'create /mnt/sub/deep dir' events
	# As editors save: a new file takes the place of the old one.
	echo z > d/sub/f~
	mv d/sub/f~ d/sub/f
	soon grep -qx 'gone /mnt/sub/f ' events
	rm d/sub/new
	soon grep -qx 'delete /mnt/sub new' events
	run -0 in_container 'ls /mnt/sub; cat /mnt/sub/f'
	assert_output $'deep\nf\nown\nz'
	hull stop box
	wait "$watcher" || true
	run -0 cat events
	assert_line 'modify /mnt/sub f'
	assert_line 'modify /mnt/sub/f '
	assert_equal "$(grep -c '/mnt/sub own' events)" 3
}

@test "a tree of thousands of files: found, looked at again, changed on both sides" {
	mkdir d
	(cd d && seq -f 'd%.0f' 1 50 | xargs mkdir && for dir in d*; do seq -f "$dir/f%.0f" 1 100; done | xargs touch -d @1000000000)
	tar -C d -cf d/some.tar d1 d2
	start_with -v ./d:/mnt
	run -0 in_container 'find /mnt -type f | wc -l; find /mnt -type f -newer /mnt/some.tar | wc -l'
	assert_output $'5001\n0'
	touch d/d7/f70 d/d50/new
	rm -r d/d49
	run -0 in_container 'find /mnt -type f | wc -l; cd /mnt; find . -name "f*" -newer some.tar; mkdir out; tar -C out -xf some.tar; find out -type f | wc -l'
	assert_output $'4902\n./d7/f70\n200'
	run -0 find d/out -type f ! -newermt @1000000001
	assert_equal "${#lines[@]}" 200
}
