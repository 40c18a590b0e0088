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
	fails 1 'Error: container not found: c2' hull cp f c2:/
	fails 1 "Error: cannot open '/no/where': No such file or directory" hull cp f c1:/no/where
	fails 1 "Error: the destination directory 'new/' does not exist" hull cp f c1:/new/
	fails 1 "Error: cannot copy a directory over 'file', which is none" hull cp src c1:/file
	fails 1 "Error: cannot create 'f': Is a directory" hull cp f c1:/dir
	fails 1 "Error: cannot open '/loop': Symbolic link loop" hull cp f c1:/loop
	fails 1 "Error: cannot open '/file/': Not a directory" hull cp c1:/file/ x
	fails 1 "Error: cannot open 'no/where': No such file or directory" hull cp c1:/file no/where
	fails 1 "Error: one of source and destination has to be CONTAINER:PATH" hull cp f x
	fails 1 "Error: 'c1:' is not CONTAINER:PATH" hull cp c1: x
	fails 1 "Error: the archive is damaged: a header's checksum does not fit (is it compressed?)" \
		hull cp - c1:/tmp < <(head -c 2000 /dev/urandom)
	head -c 3000000 /dev/urandom > large
	fails 1 "Error: cannot write 'large': No space left on device" hull cp large c1:/small
	run -0 --separate-stderr hull cp c1:/tmp/. dir
	assert_equal "$stderr" "Warning: 'null' is a device: left out"
	run -0 find dir -mindepth 1
	assert_output ''
	run -0 hull exec c1 cat /file
	assert_output old
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
