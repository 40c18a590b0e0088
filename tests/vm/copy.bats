#!/usr/bin/env bats
# Files between the host and a container: cp, export, diff, commit.

load helpers

# A tree with all that a tree may hold; names of 300 files of a few bytes.
make_tree() {
	mkdir -p "$1"/sub/empty "$1"/many
	echo hello > "$1"/file
	ln "$1"/file "$1"/sub/hard
	ln -s ../nowhere "$1"/soft
	ln -s /etc/passwd "$1"/absolute
	mkfifo "$1"/fifo
	: > "$1"/zero
	truncate -s 2M "$1"/holes
	printf x >> "$1"/holes
	head -c 3000000 /dev/urandom > "$1"/random
	echo odd > "$1"/$'a name\nof two lines \xff'
	mkdir "$1/$(printf %0200d 1)"
	echo long > "$1/$(printf %0200d 1)/$(printf %0200d 2)"
	seq 300 | (cd "$1"/many && while read -r n; do echo "$n" > "f$n"; done)
	setfattr -n user.hull -v value "$1"/file
	chmod 640 "$1"/file
	chmod 555 "$1"/sub/empty
	touch -d '1960-01-02 03:04:05.678' "$1"/zero
	touch -h -d '2001-02-03 04:05:06.789' "$1"/soft
	touch -d '2011-02-03 04:05:06.123456789' "$1"/sub "$1"
}

# Type, mode, size, time, target and number of names of all below a directory, contents and attributes.
manifest() {
	(
		cd "$1" || return
		find . -mindepth 1 -type d -printf '%p %y %m %T@\n' -o -printf '%p %y %m %s %T@ %l %n\n'
		find . -type f -print0 | sort -z | xargs -0 sha256sum
		find . -type f -print0 | sort -z | xargs -0 getfattr -d -m -
	) | LC_ALL=C sort
}

@test "cp: a tree goes in and comes back as it was; out by '-' too" {
	make_tree tree
	manifest tree > before
	hull run -d --name c1 busybox sleep 1000
	run -0 --separate-stderr hull cp tree c1:/srv
	assert_output ''
	run -0 hull exec c1 sh -c 'cd /srv; stat -c "%n %u:%g %a" file sub/empty; stat -c %h sub/hard; cat many/f300; readlink absolute; [ -p fifo ]; du -k holes'
	assert_line --index 0 'file 0:0 640'
	assert_line --index 1 'sub/empty 0:0 555'
	assert_line --index 2 2
	assert_line --index 3 300
	assert_line --index 4 /etc/passwd
	hull cp c1:/srv out
	manifest out > after
	diff -u before after
	mkdir untarred
	hull cp c1:/srv - | tar -C untarred -xp
	rm untarred/srv/fifo out/fifo
	diff -r --no-dereference out untarred/srv
	chmod -R u+w tree out untarred
}

@test "cp: where copies go" {
	mkdir -p src/in dir
	echo 1 > src/in/f
	echo 2 > f
	hull run -d --name c1 busybox sleep 1000
	hull exec c1 sh -c 'mkdir /dir /there; echo old > /file; ln -s /dir /to_dir; ln -s file /to_file'
	hull cp src c1:/new           # becomes it
	hull cp src c1:/there         # into it
	hull cp src/. c1:/dir         # what is in it
	hull cp f c1:/to_dir          # through a link
	hull cp f c1:to_file          # through a link, and relative to the root
	hull cp f c1:/there/other
	hull cp f c1:/tmp/
	run -0 hull exec c1 sh -c 'cd /; find new there dir tmp -type f | sort; cat file; readlink to_file; readlink to_dir'
	assert_output $'dir/f\ndir/in/f\nnew/in/f\nthere/other\nthere/src/in/f\ntmp/f\n2\nfile\n/dir'

	hull cp c1:/there dir
	hull cp c1:/there/. dir
	hull cp c1:/there new
	hull cp c1:/file copied
	hull cp c1:/to_file link
	hull cp -L c1:/to_file followed
	(cd dir && find . -type f | LC_ALL=C sort) > found
	printf '%s\n' ./other ./src/in/f ./there/other ./there/src/in/f | diff -u - found
	run -0 cat copied followed
	assert_output $'2\n2'
	run -0 readlink link
	assert_output file
	assert_dir_exists new/src/in

	hull cp f c1:/etc/hosts # something is mounted there
	run -0 hull exec c1 cat /etc/hosts
	assert_output 2
	printf 'run as who?' > owned
	chown 12:34 owned 2> /dev/null || true
	chmod 4755 owned
	hull cp -a owned c1:/owned
	hull cp owned c1:/not_owned
	run -0 hull exec c1 stat -c '%u:%g %a' /owned /not_owned
	assert_output "$(stat -c '%u:%g' owned) 4755"$'\n0:0 4755'
	hull cp c1:/owned back
	run -0 stat -c '%u %a' back
	assert_output "$(id -u) 755"
}

@test "cp: what cannot be done is said in one line, and nothing is left half done" {
	mkdir -p src dir
	echo 2 > f
	hull run -d --name c1 --tmpfs /small:size=1m busybox sleep 1000
	hull exec c1 sh -c 'mkdir -p /dir/f; echo old > /file; ln -s loop /loop; mknod /tmp/null c 1 3'
	fails 1 "Error: path '/nosuch' does not exist" hull cp c1:/nosuch .
	fails 1 "Error: path 'nosuch' does not exist" hull cp nosuch c1:/
	fails 1 'Error: container not found: other' hull cp f other:/
	fails 1 "Error: cannot open '/no/where': No such file or directory" hull cp f c1:/no/where
	fails 1 "Error: the destination directory 'new/' does not exist" hull cp f c1:/new/
	fails 1 "Error: cannot copy a directory over 'file', which is none" hull cp src c1:/file
	fails 1 "Error: cannot create 'f': Is a directory" hull cp f c1:/dir
	fails 1 "Error: cannot open '/loop': Symbolic link loop" hull cp f c1:/loop
	fails 1 "Error: cannot open '/file/': Not a directory" hull cp c1:/file/ x
	fails 1 "Error: cannot open 'no/where': No such file or directory" hull cp c1:/file no/where
	fails 64 $'Error: one of source and destination has to be CONTAINER:PATH\nUsage: hull copy [OPTIONS] SOURCE DESTINATION' hull cp f x
	fails 64 $'Error: \'c1:\' is not CONTAINER:PATH\nUsage: hull copy [OPTIONS] SOURCE DESTINATION' hull cp c1: x
	fails 1 "Error: the archive is damaged: a header's checksum does not fit (is it compressed?)" \
		hull cp - c1:/tmp < <(head -c 2000 /dev/urandom)
	head -c 3000000 /dev/urandom > large
	fails 1 "Error: cannot write 'large': No space left on device" hull cp --progress none large c1:/small
	run -0 --separate-stderr hull cp c1:/tmp/. dir
	assert_equal "$stderr" "Warning: 'null' is a device: left out"
	run -0 find dir -mindepth 1
	assert_output ''
	run -0 hull exec c1 cat /file
	assert_output old
}

@test "cp: from one container to another, of compressed archives, and of more at a time than there are lanes" {
	local -a pids=() fds=()
	local i fd
	head -c 5000123 /dev/urandom > large
	hull run -d --name c1 busybox sleep 1000
	hull run -d --name c2 busybox sleep 1000
	hull cp large c1:/
	hull exec c1 sh -c 'chown 5:6 /large; mkdir /dir; ln -s ../large /dir/link'
	run -0 --separate-stderr hull cp --progress none c1:/large c2:/tmp/copy
	assert_equal "$stderr" ''
	hull cp --progress none -a c1:/large c2:/tmp
	hull cp --progress none c1:/dir c2:/
	run -0 hull exec c2 sh -c 'stat -c %u:%g /tmp/copy /tmp/large; readlink /dir/link; cat /tmp/large | cmp - /tmp/copy'
	assert_output $'0:0\n5:6\n../large'
	fails 1 "Error: path '/nosuch' does not exist" hull cp c1:/nosuch c2:/
	fails 1 "Error: cannot open '/no/where': No such file or directory" hull cp c1:/large c2:/no/where

	gzip -c large > large.gz
	tar -cz large | hull cp --progress none - c2:/dir
	hull cp c2:/dir/large back
	cmp large back
	fails 1 'Error: the gzip data is cut off' hull cp - c2:/dir < <(tar -cz large | head -c 100000)
	fails 1 'Error: the data is compressed with bzip2, xz or lz4; only gzip and zstd are supported' \
		hull cp - c2:/dir < <(printf 'BZh91AY&SY')

	# Each holds a lane until it is read; what comes then takes the channel.
	for i in 1 2 3 4; do
		mkfifo "p$i"
		"$HULL" cp c1:/large - > "p$i" 3>&- &
		pids+=($!)
		exec {fd}< "p$i"
		fds+=("$fd")
		[[ -n $(head -c 5 <&"$fd") ]]
	done
	hull cp --progress none c1:/large back
	cmp large back
	hull cp --progress none back c1:/again
	kill -KILL "${pids[@]}"
	for fd in "${fds[@]}"; do
		exec {fd}<&-
	done
	wait "${pids[@]}" || true
	hull cp --progress none c1:/again back
	cmp large back
	# What was under way when the supervisor is killed comes still, and the copy says that it is not whole.
	"$HULL" cp c1:/large - > p1 3>&- &
	exec {fd}< p1
	[[ -n $(head -c 5 <&"$fd") ]]
	kill -KILL "$(shim_of c1)"
	cat <&"$fd" > rest
	exec {fd}<&-
	ends 1 $!
	run -0 state_of c1
	assert_output stopped
	# In one container that does not run: by one machine.
	hull cp --progress none large c1:/kept
	hull cp --progress none c1:/kept c1:/copy
	hull cp --progress none c1:/copy - | tar -xO copy | cmp large -
	run -0 state_of c1
	assert_output stopped
	hull pause c2
	fails 1 "Error: container c2 is paused; 'hull unpause' it first" hull cp large c2:/
}

@test "cp: neither an archive nor the container's links lead out of where the copy goes" {
	python3 - <<- 'END'
		import io, tarfile
		def make(name, *entries):
		    with tarfile.open(name, "w") as tar:
		        for path, link in entries:
		            info = tarfile.TarInfo(path)
		            if link:
		                info.type, info.linkname = tarfile.SYMTYPE, link
		                tar.addfile(info)
		            else:
		                info.size = 4
		                tar.addfile(info, io.BytesIO(b"evil"))
		make("up.tar", ("../../../../evil", None))
		make("through.tar", ("l", "/tmp/outside"), ("l/evil", None))
	END
	hull run -d --name c1 busybox sleep 1000
	hull exec c1 sh -c 'mkdir -p /tmp/outside /in; ln -s "$1" /to_host; mkdir /tree; ln -s "$1" /tree/l; mkdir /etc/x' - "$PWD"
	fails 1 "Error: the archive holds a bad name: '../../../../evil'" hull cp - c1:/in < up.tar
	# A link in an archive is one in the container, whatever it leads to there.
	run -0 hull cp - c1:/in < through.tar
	run -0 hull exec c1 cat /tmp/outside/evil
	assert_output evil
	# Links of the container to where something is on the host: the container's own root is meant.
	touch here
	run -1 hull cp c1:/to_host/here got
	hull cp c1:/tree .
	[[ -L tree/l ]]
	hull cp c1:/tree .
	hull exec c1 sh -c 'rm /tree/l; mkdir /tree/l; echo evil > /tree/l/evil'
	fails 1 "Error: cannot copy a directory over 'tree/l', which is none" hull cp c1:/tree .
	assert_not_exists evil
}

@test "a pipe that holds more than the program reads at once arrives whole" {
	head -c 20000000 /dev/urandom > random
	hull run -d --name c1 busybox sleep 1000
	run -0 hull exec -i c1 sh -c 'sleep 0.3; sha256sum' < <(cat random)
	assert_output "$(sha256sum < random)"
}

@test "cp: into and out of a container that does not run; a start waits for it" {
	echo new > f
	mkdir dir
	head -c 20000000 /dev/urandom > large
	hull run --name c1 -v kept:/vol busybox sh -c 'echo written > /file; echo in volume > /vol/v; ln -s /file /link; mkdir /dir'
	hull cp c1:/file got
	run -0 cat got
	assert_output written
	hull cp c1:/vol/v got
	run -0 cat got
	assert_output 'in volume'
	run -0 state_of c1
	assert_output stopped
	run -0 hull inspect c1
	before=$output
	hull cp f c1:/link
	hull cp f c1:/dir
	hull cp f c1:/vol/w
	hull cp - c1:/dir < <(tar -c dir large)
	run -0 hull inspect c1
	assert_output "$before"
	fails 1 "Error: path '/nosuch' does not exist" hull cp c1:/nosuch .
	hull diff c1 > diff
	printf '%s\n' 'A /dir' 'A /dir/dir' 'A /dir/f' 'A /dir/large' 'A /file' 'A /link' | diff -u - diff

	hull create --name c2 -v kept:/vol busybox sh -c 'cat /f /vol/v /vol/w'
	run -0 hull cp f c2:/
	run -0 state_of c2
	assert_output created
	# All at once: each in turn, and none is lost.
	hull cp f c2:/one &
	hull cp f c2:/two &
	hull cp c2:/f three &
	run -0 hull start -a c2
	assert_output $'new\nin volume\nnew'
	wait
	hull diff c2 > diff
	printf 'A /%s\n' f one two | diff -u - diff
	run -0 cat three
	assert_output new

	# A machine that is killed while it copies takes its command with it, and nothing else.
	mkfifo pipe
	hull cp - c2:/ < pipe &
	exec 9> pipe
	soon machine_of c2
	kill -KILL "$(machine_of c2)"
	ends 1 $!
	exec 9>&-
	run -0 state_of c2
	assert_output stopped
	hull delete c1 c2
	hull volume delete kept
}

@test "a copy that is given up leaves nothing behind in the container" {
	hull run -d --name c1 busybox sleep 1000
	mkfifo pipe
	"$HULL" cp - c1:/tmp < pipe &
	exec 9> pipe
	head -c 100 /dev/zero >&9
	kill -KILL $!
	exec 9>&-
	wait $! || true
	hull exec c1 true
	# A container can be stopped at once while somebody reads it slowly.
	hull exec c1 sh -c 'head -c 30000000 /dev/zero > /large'
	mkfifo slow
	"$HULL" cp c1:/large - > slow &
	exec 8< slow
	run -0 hull stop -t 1 c1
	# What reads it gets what was under way, and the copy says that it is not whole.
	cat <&8 > rest
	exec 8<&-
	ends 1 $!
}

@test "export, diff and commit: what a container has become" {
	hull run -d --name c1 -v vol:/vol busybox sleep 1000
	run -0 hull diff c1
	assert_output ''
	hull exec c1 sh -c 'echo x > /new; chown 5:6 /new; ln /new /hard; rm /bin/ls; rm -r /var; mkdir /var; touch /var/x; chmod 700 /home
		echo y >> /etc/passwd; echo v > /vol/v; mknod /device c 7 8; ln -sf nowhere /bin/cat; touch "/two
lines"; truncate -s 5M /holes; touch /tmp/gone; rm /tmp/gone'
	hull diff c1 > diff
	diff -u - diff <<- 'END'
		C /bin
		C /bin/cat
		D /bin/ls
		A /device
		C /etc
		C /etc/passwd
		A /hard
		A /holes
		C /home
		A /new
		A /two?lines
		C /var
		D /var/log
		D /var/tmp
		A /var/x
	END
	run -0 hull diff --format json c1
	assert_equal "$(jq -r '.[] | select(.path == "/two\nlines").kind' <<< "$output")" A

	hull export -o c1.tar c1
	tar -tvf c1.tar --numeric-owner > list
	grep -q ' 7,8 .* device$' list
	grep -q '5/6 .* new link to hard$' list
	grep -q ' vol/$' list
	run -1 grep -E 'vol/v|bin/ls$|(dev|proc|sys)/.' list
	assert_equal "$(hull export c1 | tar -t | wc -l)" "$(wc -l < list)"

	run -0 --separate-stderr hull commit -m 'a word' -a somebody -c 'ENV ADDED=yes' -c 'CMD ["head", "/new"]' c1 made
	assert_output docker.io/library/made:latest
	run -0 hull image history made
	assert_line --index 1 --regexp 'hull commit +a word'
	assert_line --index 2 --partial 'import --builtin'
	run -0 hull run --name c2 made
	assert_output x
	run -127 hull run --rm made ls
	run -0 hull run --rm made sh -c 'echo $ADDED; stat -c "%h %u:%g" /new; find /var; [ ! -e /vol ]; stat -c %a /home; stat -c "%t %T" /device; readlink /bin/cat; stat -c %s /holes'
	assert_output $'yes\n2 5:6\n/var\n/var/x\n700\n7 8\nnowhere\n5242880'
	# A further one on top, of a container that does not run; others read it too.
	hull run --name c3 made sh -c 'rm /new /hard; touch /third'
	hull commit c3 made:again
	run -0 hull run --rm made:again sh -c 'ls -d /new /hard /third 2> /dev/null; true'
	assert_output /third
	hull image save -o made.tar made:again
	run -0 skopeo inspect --config oci-archive:made.tar
	assert_equal "$(jq -c '[.author, (.rootfs.diff_ids | length), (.history | length)]' <<< "$output")" '[null,3,3]'
	fails 1 'Error: container not found: nosuch' hull diff nosuch
	fails 1 'Error: container not found: nosuch' hull commit nosuch x
	fails 1 "Error: cannot create 'no/where.part': No such file or directory" hull export -o no/where c1
	hull delete -f c1 c2 c3
	hull image delete made made:again
	hull volume delete vol
}
