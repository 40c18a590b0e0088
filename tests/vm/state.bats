#!/usr/bin/env bats
# The state of a machine: kept, brought back, multiplied.

load helpers

teardown() {
	[[ -n $HULL_TEST_SKIP ]] || hull snapshot ls -q | xargs -r "$HULL" snapshot delete > /dev/null
	vm_teardown
}

# A program with something of everything: memory, a file that stays open, a tmpfs.
COUNTER='exec 5> /open; i=0
	while :; do i=$((i + 1)); echo $i > /count; echo $i > /dev/shm/count; echo line $i >&5; echo $i; sleep 0.1; done'

# count_of CONTAINER: where its program is.
count_of() {
	hull exec "$1" sh -c 'until read -r n < /count; do :; done; echo $n'
}

is_beyond() {
	[[ $(count_of "$1") -gt $2 ]]
}

# counts_on CONTAINER: the counter of its program rises.
counts_on() {
	soon is_beyond "$1" "$(count_of "$1")"
}

# is_whole CONTAINER: its open file has every line.
is_whole() {
	hull exec "$1" cat /open > lines
	seq -f 'line %g' "$(wc -l < lines)" | diff - lines
}

@test "pause holds a container where it is, unpause lets it go on" {
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 2
	run -0 hull pause web
	assert_output web
	assert_equal "$(state_of web)" paused
	fails 1 'Error: container web is already paused' hull pause web
	fails 125 "Error: container web is paused; 'hull unpause' it first" hull exec web true
	fails 1 "Error: container web is paused; 'hull unpause' it first" hull suspend web
	run -0 hull unpause web
	counts_on web
	is_whole web
}

@test "a suspended container goes on where it was" {
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 3
	local shim machine before
	shim=$(shim_of web)
	machine=$(machine_of web)
	hull exec web sh -c 'echo kept > /dev/shm/mine'
	before=$(count_of web)
	run -0 hull suspend web
	assert_output web
	wait_for_end "$shim" "$machine"
	assert_equal "$(state_of web)" suspended
	fails 125 'Error: container web is not running' hull exec web true
	run -0 --separate-stderr hull prune
	assert_output ''
	run -0 hull resume web
	assert_output web
	assert_equal "$(state_of web)" running
	assert [ "$(count_of web)" -ge "$before" ]
	counts_on web
	is_whole web
	run -0 hull exec web cat /dev/shm/mine
	assert_output kept
	# The clock of now, and a log without a gap.
	assert [ "$(hull exec web date +%s)" -ge "$(($(date +%s) - 2))" ]
	hull logs web > log
	seq "$(wc -l < log)" | diff - log
	# Again, by start.
	run -0 hull suspend web
	run -0 hull start web
	counts_on web
	fails 1 'Error: container web is not suspended' hull resume web
	run -0 hull stop -t 0 web
	run -0 hull start web
	run -0 hull exec web sh -c '! test -e /dev/shm/mine'
}

@test "suspended: who is attached is told, who comes later talks to the same process" {
	mkfifo pipe
	hull run -i --name web busybox sh -c 'read x; echo got $x; read x; echo got $x' < pipe > out 2> err &
	local runner=$!
	exec 9> pipe
	echo one >&9
	logged web 'got one'
	run -0 hull suspend web
	exec 9>&-
	ends 125 "$runner"
	run -0 cat err
	assert_output "Error: container web was suspended; 'hull resume' goes on with it"
	run -0 hull resume web
	echo two | hull attach web
	run -0 hull wait web
	run -0 hull logs web
	assert_output $'got one\ngot two'
}

@test "commands in a suspended container lose who ran them, not their lives" {
	hull run -d --name web busybox sleep 1000
	hull exec -d web sh -c 'while :; do echo x; date +%s > /alive; sleep 0.1; done'
	mkfifo pipe
	"$HULL" exec -i web cat < pipe > out 2> err &
	local runner=$!
	exec 9> pipe
	soon hull exec web pidof cat
	run -0 hull suspend web
	wait "$runner" || true
	run -0 hull resume web
	hull exec web rm -f /alive
	soon hull exec web test -s /alive
	# The end of its input ended it.
	run -1 hull exec web pidof cat
	exec 9>&-
}

@test "--rm: a suspended container stays until it has ended" {
	hull run -d --rm --name web busybox sleep 1000
	run -0 hull suspend web
	assert_equal "$(state_of web)" suspended
	run -0 hull resume web
	run -0 hull exec web true
	run -0 hull suspend web
	run -0 hull delete web
	run -0 hull ls -aq
	assert_output ''
}

@test "stop gives up what was suspended, and keeps the disk" {
	hull run -d --name web busybox sh -c '[ -e /file ] || echo mine > /file; sync; echo ready; sleep 1000'
	logged web ready
	run -0 hull suspend web
	run -0 hull stop web
	assert_equal "$(state_of web)" stopped
	assert_not_exists "$HULL_ROOT/containers/$(uuid_of web)/saved"
	run -0 hull start web
	run -0 hull exec web cat /file
	assert_output mine
}

@test "a supervisor killed while it suspends: running still, or suspended" {
	local i shim suspender
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 2
	for i in 0.03 0.1 0.2 0.3; do
		shim=$(shim_of web)
		"$HULL" suspend web > out 2>&1 &
		suspender=$!
		sleep "$i" # at whatever step it is
		kill -9 "$shim" 2> /dev/null || true
		wait "$suspender" || true
		wait_for_end "$shim"
		case $(state_of web) in
		suspended) run -0 hull resume web ;;
		stopped) run -0 hull start web ;;
		*) fail "is $(state_of web)" ;;
		esac
		counts_on web
	done
	run find "$HULL_ROOT/containers" -name saving
	assert_output ''
}

@test "a supervisor killed while it resumes: suspended still, or stopped" {
	local i resumer
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 2
	for i in 0.05 0.08 0.12; do
		run -0 hull suspend web
		"$HULL" resume web > out 2>&1 &
		resumer=$!
		sleep "$i"
		pkill -9 -P "$resumer" -x hull-shim || true
		wait "$resumer" || true
		case $(state_of web) in
		suspended) run -0 hull resume web ;;
		stopped) run -0 hull start web ;;
		running) ;;
		*) fail "is $(state_of web)" ;;
		esac
		counts_on web
	done
}

@test "a saved machine that was altered or cut short is not used" {
	hull run -d --name web busybox sleep 1000
	run -0 hull suspend web
	local saved
	saved=$HULL_ROOT/containers/$(uuid_of web)/saved
	cp "$saved/state" state
	dd if=/dev/urandom of="$saved/state" bs=1 seek=1000 count=8 conv=notrunc status=none
	fails 1 "Error: container web cannot be resumed: the saved state of its devices is damaged; 'hull stop web' gives up its memory and keeps its disk" hull resume web
	assert_equal "$(state_of web)" suspended
	cp state "$saved/state"
	cp --sparse=always "$saved/ram" ram
	truncate -s 40M "$saved/ram"
	fails 1 "Error: container web cannot be resumed: its saved memory is damaged; 'hull stop web' gives up its memory and keeps its disk" hull resume web
	cp --sparse=always ram "$saved/ram"
	run -0 hull resume web
	run -0 hull exec web true
}

@test "the disk is full while it is saved: it runs on" {
	[[ $EUID -eq 0 ]] || skip 'mounting a small file system needs root'
	local state=$BATS_TEST_TMPDIR/small
	mkdir "$state"
	mount -t tmpfs -o size=400m tmpfs "$state"
	own_state "$state/root"
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 2
	# Room for what the container writes, and not for its memory.
	dd if=/dev/zero of="$state/filler" bs=1M count=$(($(df --output=avail -m "$state" | tail -n 1) - 40)) status=none
	run -1 --separate-stderr hull suspend web
	assert_output ''
	[[ $stderr == 'Error: the machine may take '*' are free on the disk' ]]
	assert_equal "$(state_of web)" running
	counts_on web
	is_whole web
	rm "$state/filler"
	run -0 hull suspend web
	run -0 hull resume web
	counts_on web
	hull delete -af
	umount "$state" || umount -l "$state"
}

# fork_value CONTAINER NAME
fork_value() {
	hull exec "$1" sed -n "s/^HULL_FORK_$2=//p" /run/hull/fork
}

@test "forks of a running container go on where it was, each as itself" {
	local name
	hull run -d --name web busybox sh -c "trap 'echo forked >> /signals' USR1; $COUNTER"
	logged web 3
	hull exec web sh -c 'echo kept > /dev/shm/mine; dd if=/dev/urandom of=/dev/shm/data bs=1M count=5 2> /dev/null; md5sum /dev/shm/data > /sum'
	# What a command left that was killed goes with the next.
	mkdir -p "$HULL_ROOT/snapshots/.making-x"
	: > "$HULL_ROOT/snapshots/.making-y.lock"
	run -0 hull fork web -n 3 --name kid --signal USR1
	assert_output $'kid-1\nkid-2\nkid-3'
	run -0 hull ls --format json
	assert_equal "$(jq -r '[.[] | select(.configuration.origin == "web") | .id] | sort | join(" ")' <<< "$output")" \
		'kid-1 kid-2 kid-3'
	assert_equal "$(jq -r '[.[].status.networks[].ipv4Address] | unique | length' <<< "$output")" 4
	for name in web kid-1 kid-2 kid-3; do
		counts_on "$name"
		is_whole "$name"
		run -0 hull exec "$name" md5sum -c /sum
		run -0 hull exec "$name" cat /dev/shm/mine
		assert_output kept
		run -0 hull exec "$name" hostname
		assert_output "$name"
		hull exec "$name" sh -c 'od -An -N16 -tx1 /dev/urandom' >> random
		run -0 hull exec "$name" cat /sys/class/net/eth0/address
		echo "$output" >> addresses
	done
	assert_equal "$(sort -u random | wc -l)" 4
	assert_equal "$(sort -u addresses | wc -l)" 4
	assert_equal "$(fork_value kid-2 INDEX) $(fork_value kid-2 COUNT) $(fork_value kid-2 ORIGIN)" '2 3 web'
	soon hull exec kid-3 grep -q forked /signals
	run -1 hull exec web test -e /signals
	# What one writes, no other has.
	hull exec kid-1 sh -c 'echo one > /own; sync'
	run -1 hull exec kid-2 test -e /own
	# Names lead to each, over the network.
	run -0 hull exec web ping -c 1 -W 5 kid-2
	# A fork's fork; the parent can go.
	run -0 hull delete -f web
	run -0 hull fork kid-1 --name grandkid
	assert_output grandkid
	counts_on grandkid
	is_whole grandkid
	assert_equal "$(fork_value grandkid GENERATION) $(fork_value grandkid ORIGIN)" '2 kid-1'
	run -0 hull exec grandkid md5sum -c /sum
	# Its life goes on as any other's.
	run -0 hull suspend grandkid
	run -0 hull resume grandkid
	counts_on grandkid
	run -0 hull stop -t 0 grandkid
	run -0 hull start grandkid
	run -0 hull exec grandkid cat /own
	assert_output one
	# A directory that a snapshot of an earlier test has needed may be there, empty.
	run find "$HULL_ROOT/snapshots" -mindepth 1 ! -path '*/.bases'
	assert_output ''
}

@test "what cannot be forked is said" {
	fails 1 'Error: container not found: web' hull fork web
	hull run -d --name web busybox sleep 1000
	hull run -d --name kid-2 busybox sleep 1000
	run -1 --separate-stderr hull fork web -n 2 --name kid
	assert_output kid-1
	assert_equal "$stderr" 'Error: container with id kid-2 already exists'
	run -64 hull fork web --count 0
	run -64 hull fork web --signal NONE
}

# snapshot_file NAME FILE
snapshot_file() {
	echo "$HULL_ROOT/snapshots/$(hull snapshot inspect "$1" | jq -r '.[0].id')/$2"
}

@test "a snapshot of a running container: back to it, again and again" {
	local before
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 3
	hull exec web sh -c 'echo kept > /dev/shm/mine; dd if=/dev/urandom of=/dev/shm/data bs=1M count=9 2> /dev/null; md5sum /dev/shm/data > /sum'
	run -0 hull snapshot create web
	assert_output web-1
	run -0 hull snapshot create --name warm web
	assert_output warm
	fails 1 'Error: snapshot already exists: warm' hull snapshot create --name warm web
	before=$(count_of web)
	counts_on web
	run -0 hull snapshot ls -q
	assert_line warm
	assert_line web-1
	run -0 hull snapshot inspect warm
	assert_equal "$(jq -r '.[0] | "\(.container) \(.state) \(.configuration.image.reference)"' <<< "$output")" \
		'web running docker.io/library/busybox:latest'
	# What the first takes: the nine megabytes that are like nothing else, and not much more. The second is like it.
	assert_equal "$(jq -r '.[0].parent.name' <<< "$output")" web-1
	local saved
	saved=$(jq '.[0].savedMemoryInBytes' <<< "$output")
	run -0 hull snapshot inspect web-1
	assert [ "$(jq '.[0].savedMemoryInBytes' <<< "$output")" -gt "$((saved + 8000000))" ]
	assert [ "$(jq '.[0].sizeInBytes + .[0].sharedInBytes' <<< "$output")" -gt 9000000 ]
	assert [ "$(jq '.[0].sizeInBytes' <<< "$output")" -lt "$(jq '.[0].savedMemoryInBytes * 1.2 + 2000000 | floor' <<< "$output")" ]
	# As new ones.
	run -0 hull snapshot restore warm --name one
	assert_output one
	fails 125 "Error: snapshot warm goes on as it was saved: '--restart' cannot be chosen" hull run --restart always --snapshot warm
	run -0 hull run -d --rm --snapshot warm --name two
	assert_output two
	run -0 hull fork warm -n 2 --name kid
	assert_output $'kid-1\nkid-2'
	for name in one two kid-1 kid-2; do
		counts_on "$name"
		is_whole "$name"
		run -0 hull exec "$name" md5sum -c /sum
		run -0 hull exec "$name" hostname
		assert_output "$name"
		assert_equal "$(fork_value "$name" ORIGIN)" warm
	done
	# An image that begins there, and keeps it.
	run -0 hull image import --from-snapshot warm hot
	assert_output docker.io/library/hot:latest
	fails 1 'Error: snapshot warm is in use by image docker.io/library/hot:latest' hull snapshot delete warm
	run -0 hull image inspect hot
	assert_equal "$(jq -r '.[0].variants[0].snapshot' <<< "$output")" "$(hull snapshot inspect warm | jq -r '.[0].id')"
	fails 125 "Error: image hot goes on from a snapshot, whose program runs already: it takes no other" hull run hot true
	fails 125 "Error: image hot goes on from a snapshot, whose program runs already: '--env' cannot be chosen" hull run -e A=b hot
	fails 125 "Error: image hot goes on from a snapshot, whose program runs already: '--label' cannot be chosen" hull run -l a=b hot
	run -0 hull run -d --rm --name three hot
	run -0 hull exec three md5sum -c /sum
	counts_on three
	hull delete -f three
	run -0 --separate-stderr hull image save --progress none hot -o hot.tar
	assert_equal "$stderr" 'Warning: the snapshot that image hot goes on from is not in the archive'
	hull image tag hot still
	hull image delete hot
	fails 1 'Error: snapshot warm is in use by image docker.io/library/still:latest' hull snapshot delete warm
	hull image delete still
	# Deleted while they run: they go on; so does what was kept as a difference to it.
	run -0 hull snapshot create --name next one
	run -0 hull snapshot ls
	assert_line --regexp '^[0-9a-f-]{12} +next +one .* warm$'
	run -0 hull snapshot delete warm
	assert_output warm
	counts_on one
	hull delete -f one
	run -0 hull snapshot restore next --name one
	run -0 hull exec one md5sum -c /sum
	is_whole one
	hull snapshot delete next
	run -0 hull exec kid-2 md5sum -c /sum
	# Elsewhere such an image has none, and begins as its container did.
	hull image load -i hot.tar > /dev/null
	run -0 --separate-stderr hull run --rm hot echo cold
	assert_output cold
	assert_equal "$stderr" 'Warning: the snapshot that image hot goes on from is not here: it starts from the beginning'
	hull image delete hot
	run -0 hull stop -t 0 two
	run -0 hull ls -aq --filter name=two
	assert_output ''
	# In place: what was written since is gone, what was in memory is back.
	hull exec web sh -c 'rm /dev/shm/mine; echo later > /later; sync'
	run -0 hull snapshot restore --in-place web-1
	assert_output web
	run -0 hull exec web cat /dev/shm/mine
	assert_output kept
	run -1 hull exec web test -e /later
	counts_on web
	is_whole web
	# And again, of a stopped one.
	run -0 hull stop -t 0 web
	run -0 hull snapshot restore --in-place web-1
	counts_on web
	hull snapshot delete web-1
	run find "$HULL_ROOT/snapshots" -type f
	assert_output ''
}

# is_in_step CONTAINER: the log in its volume has every line up to now, and goes on.
is_in_step() {
	local before
	before=$(hull exec "$1" sh -c 'wc -l < /d/log')
	soon hull exec "$1" sh -c "[ \$(wc -l < /d/log) -gt $before ]"
	run -0 hull exec "$1" awk '$1 != NR' /d/log
	assert_output ''
}

@test "volumes are copied with the machine that writes to them" {
	local file name
	hull run -d --name db -v data:/d -v data:/again:ro -v ro:/r:ro busybox \
		sh -c 'i=0; while :; do i=$((i + 1)); echo $i >> /d/log; sleep 0.1; done'
	soon hull exec db test -s /d/log
	hull exec db sh -c 'echo kept > /d/kept; sync'
	fails 1 "Error: container db runs and can write to volume 'data': add --volumes to keep it too" hull snapshot create db
	run -0 hull snapshot create --volumes --name keep db
	# What was killed while it put a snapshot's memory together.
	file=$(snapshot_file keep ram.new)
	: > "$file"
	run -0 hull fork db -n 2 --name kid
	assert_not_exists "$file"
	run -0 hull snapshot restore keep --name back
	for name in db kid-1 kid-2 back; do
		is_in_step "$name"
		hull exec "$name" sh -c "echo $name > /d/own"
	done
	for name in db kid-1 kid-2 back; do
		run -0 hull exec "$name" cat /again/own
		assert_output "$name"
	done
	run -0 hull volume ls --format json
	assert_equal "$(jq '[.[] | select(.configuration.labels["hull.copy-of"] == "data")] | length' <<< "$output")" 3
	# Unmounted, mounted: the file system of a copy is whole.
	run -0 hull stop -t 0 kid-1
	hull start kid-1
	run -0 hull exec kid-1 cat /d/own
	assert_output kid-1
	# In place: not while another has it, and then what was in it.
	hull stop -t 0 db
	hull run -d --name other -v data:/d busybox sh -c 'echo none >> /d/log; sleep 1000'
	run -1 --separate-stderr hull snapshot restore --in-place keep
	[[ $stderr == "Error: volume 'data' is in use by container other"* ]]
	assert_equal "$(state_of db)" stopped
	hull delete -f other
	run -0 hull snapshot restore --in-place keep
	assert_output db
	is_in_step db
	run -1 hull exec db test -e /d/own
	# What it reads has to be as it was.
	hull delete -f kid-1 kid-2 back
	hull stop -t 0 db
	hull run --rm -v ro:/r busybox true
	fails 1 "Error: volume 'ro', which its machine has read, has changed since; 'hull snapshot restore --disks-only' restores its disks" \
		hull snapshot restore keep
	run -0 hull snapshot restore keep --disks-only --name disks
	hull start disks
	run -0 hull exec disks cat /d/kept
	assert_output kept
	hull delete -f disks
	file=$(snapshot_file keep volume-0.img)
	printf x | dd of="$file" bs=1 seek=50000 conv=notrunc status=none
	fails 1 "Error: snapshot keep: 'volume-0.img' in it is damaged" hull snapshot restore keep --disks-only
	# Of one that does not run, by choice.
	run -0 hull snapshot create db --volumes --name still
	assert_exists "$(snapshot_file still volume-0.img)"
	run -0 hull snapshot create db --name bare
	assert_not_exists "$(snapshot_file bare volume-0.img)"
	hull snapshot delete keep still bare
	hull delete db
	hull volume prune > /dev/null
}

# has_more FILE LINES
has_more() {
	[[ $(wc -l < "$1") -gt $2 ]]
}

@test "shared directories and sockets go on with the machine, here and in its copies" {
	local name before share=$BATS_TEST_TMPDIR/share
	mkdir -p "$share/d"
	echo before > "$share/d/ext"
	hull run -d --name web -v "$share:/s" -v "$share/d/ext:/one:ro" -w /s --publish-socket "$BATS_TEST_TMPDIR/sock:/run/x" --publish-socket "$BATS_TEST_TMPDIR/{name}.sock:/run/x" busybox sh -c 'exec 5>> log 6< d/ext
		i=0; while :; do i=$((i + 1)); echo $i >&5; cat d/new > seen 2> /dev/null; sleep 0.1; done'
	soon grep -q 3 "$share/log"
	run -0 hull exec web cat /s/d/ext /one
	run -0 hull suspend web
	assert_exists "$HULL_ROOT/containers/$(uuid_of web)/saved/shares"
	before=$(wc -l < "$share/log")
	# What others did meanwhile is seen: a name that was not there, another file in a place, other content.
	echo new > "$share/d/new"
	rm "$share/d/ext"
	echo after > "$share/d/ext"
	assert_equal "$(wc -l < "$share/log")" "$before"
	run -0 hull resume web
	soon grep -q new "$share/seen"
	soon has_more "$share/log" "$before"
	run -0 awk '$1 != NR' "$share/log"
	assert_output ''
	run -0 hull exec web cat /s/d/ext
	assert_output after
	run -1 hull exec web sh -c 'cat < /proc/1/fd/6'
	assert_exists "$BATS_TEST_TMPDIR/sock"
	# Copies share it with the one that they are copies of.
	run -0 hull fork web --name kid
	run -0 hull snapshot create web --name warm
	run -0 hull snapshot restore warm --name back
	for name in web kid back; do
		assert_exists "$BATS_TEST_TMPDIR/$name.sock"
		run -0 hull exec "$name" sh -c 'readlink /proc/1/cwd; echo '"$name"' > own; cat own'
		assert_output $'/s\n'"$name"
		assert_equal "$(cat "$share/own")" "$name"
	done
	hull delete -f kid back
	assert_not_exists "$BATS_TEST_TMPDIR/kid.sock"
	# Altered, it is not used.
	printf x | dd of="$(snapshot_file warm shares)" bs=1 seek=30 conv=notrunc status=none
	fails 1 "Error: the machine of snapshot warm cannot be used: 'shares' in it is damaged; 'hull snapshot restore --disks-only' restores its disks" \
		hull snapshot restore warm
	hull snapshot delete warm
}

@test "a snapshot's disk alone" {
	hull run --name web busybox sh -c 'echo mine > /file'
	run -0 hull snapshot create web --name disk
	run -0 hull snapshot ls --format json
	assert_equal "$(jq -r '.[0].state' <<< "$output")" stopped
	fails 1 "Error: snapshot disk has no memory: 'hull snapshot restore' makes a container of its disk" hull fork disk
	run -0 hull snapshot restore disk --name copy
	assert_equal "$(state_of copy)" created
	hull start -a copy
	run -0 hull wait copy
	assert_output 0
	hull delete copy
	# It runs again in the copy, where the file is to be the old one.
	hull run -d --name live busybox sh -c '[ -e /file ] || echo mine > /file; sync; echo ready; sleep 1000'
	logged live ready
	hull snapshot create live --name both
	run -0 hull snapshot restore both --disks-only --name copy
	run -0 hull start copy
	run -0 hull exec copy cat /file
	assert_output mine
	hull snapshot delete disk both
}

@test "a snapshot that was altered, cut short or made elsewhere is not used" {
	local file
	hull run -d --name web busybox sh -c "$COUNTER"
	logged web 2
	hull snapshot create web --name warm
	hull snapshot create web --name child
	file=$(snapshot_file warm memory)
	cp "$file" memory
	dd if=/dev/urandom of="$file" bs=1 seek=100000 count=16 conv=notrunc status=none
	fails 1 "Error: the machine of snapshot warm cannot be used: its saved memory is damaged; 'hull snapshot restore --disks-only' restores its disks" \
		hull snapshot restore warm
	fails 1 "Error: the machine of snapshot child cannot be used: its saved memory is damaged; 'hull snapshot restore --disks-only' restores its disks" \
		hull snapshot restore child
	hull snapshot delete child
	truncate -s -100 "$file"
	run -1 hull snapshot restore warm
	cp memory "$file"
	file=$(snapshot_file warm saved.json)
	cp "$file" saved.json
	sed -i 's/"protocol":[0-9]*/"protocol":99/' "$file"
	run -1 --separate-stderr hull snapshot restore warm
	[[ $stderr == "Error: the machine of snapshot warm cannot be used: it was saved by hull "* ]]
	cp saved.json "$file"
	run -0 hull snapshot restore warm --name back
	counts_on back
	# Once used, its cache is looked at again when somebody touches it.
	printf x | dd of="$(snapshot_file warm ram)" bs=1 seek=5000000 conv=notrunc status=none
	run -0 hull snapshot restore warm --name again
	counts_on again
	is_whole again
	hull snapshot delete warm
}

# The host boots: all that runs is gone at once, so is the directory of what is true until then, and its name for this
# boot is another (for a program that looks through the mounts that it is started with: only root makes those).
boot_host() {
	local run=$HULL_RUN
	hull_processes | xargs kill -9
	# shellcheck disable=SC2046
	wait_for_end $(hull_processes)
	rm -r "$run"
	[[ $EUID -eq 0 ]] || return 0
	cat /proc/sys/kernel/random/uuid > boot_id
	cat > hull <<- EOF
		#!/bin/sh
		exec unshare -m sh -c 'mount --bind "\$0" /proc/sys/kernel/random/boot_id && exec "\$@"' "$PWD/boot_id" "$HULL" "\$@"
	EOF
	chmod +x hull
	HULL=$PWD/hull
}

@test "the host boots: what ran is stopped, what was saved goes on" {
	local before ram
	hull run -d --name web --restart always -v data:/d busybox sh -c 'trap "" TERM; while :; do i=$((i + 1)); echo $i >> /d/log; sync; sleep 0.1; done'
	hull run -d --name slept -p 127.0.0.1::80 busybox sh -c "$COUNTER"
	hull run -d --rm --name gone busybox sleep 1000
	soon hull exec web test -s /d/log
	hull pause gone
	run -0 hull snapshot create --volumes --name warm web
	hull snapshot restore warm --name first
	ram=$(snapshot_file warm ram)
	before=$(stat -c %i "$ram")
	before+=" $(hull exec web sh -c 'wc -l < /d/log')"
	logged slept 3
	hull suspend slept
	boot_host
	run -0 hull ls -aq
	assert_output $'first\nslept\nweb'
	assert_equal "$(state_of web)" stopped
	assert_equal "$(state_of first)" stopped
	assert_equal "$(state_of slept)" suspended
	run -0 hull wait web
	assert_output 137
	run -0 hull resume slept
	counts_on slept
	is_whole slept
	run -0 hull snapshot restore warm --name back
	is_in_step back
	# Memory that another boot has put together is not believed.
	assert [ "$EUID" -ne 0 -o "$(stat -c %i "$ram")" != "${before% *}" ]
	# What was on the disk is there, and the volume is nobody's.
	run -0 hull run --rm -v data:/d busybox sh -c 'wc -l < /d/log'
	assert [ "$output" -ge "${before#* }" ]
	run -0 hull start web first
	run -0 hull exec first true
	hull delete -f web first back
	hull volume prune > /dev/null
}
