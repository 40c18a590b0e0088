#!/usr/bin/env bats
# An image that was started gets a template of its own: made in the background, used by the next start.

load helpers

# own_image TEXT: an image of its own for this test, busybox with a file /which.
own_image() {
	mkdir -p tree
	echo "$1" > tree/which
	hull image save -o bb.tar busybox
	hull run --rm busybox tar -c -f - bin > root.tar
	tar -rf root.tar -C tree which
	hull image import root.tar "which:$1"
}

# started_from: the template of a start that was shown with --debug.
started_from() {
	sed -n 's/.*starts from //p' "$1"
}

templates_of_images() {
	grep -l '"image"' "$HULL_ROOT"/templates/*/manifest.json
}

has_template() {
	[[ $(templates_of_images | wc -l) -eq $1 ]]
}

# The templates of other tests' images must not be counted.
template_setup() {
	vm_setup
	own_state
	hull system start
}

setup() {
	template_setup
}

@test "the second start of an image finds its root mounted, and everything else is the same" {
	own_image one > /dev/null
	hull --debug run --name first which:one cat /which 2> first.log
	soon has_template 2 # busybox has run as well
	run -0 hull --debug run --rm which:one sh -c 'cat /which && echo x > /written && mount | grep " / "' 2> second.log
	assert_line one
	assert_line --partial 'overlay'
	hull --debug run --rm which:one true 2> second.log
	[[ $(started_from first.log) != "$(started_from second.log)" ]]
	templates_of_images | grep -qF "$(started_from second.log)/manifest.json"
	run -1 hull run --rm --read-only which:one sh -c 'echo x > /f'
	assert_output --partial 'Read-only file system'

	# A disk that was written to is not the one that the template has mounted.
	hull run --name kept which:one sh -c 'cat /kept; echo kept > /kept'
	run -0 hull start -a kept
	assert_output kept
	run -0 hull start -a first
	assert_output one
}

is_stopped() {
	[[ $(state_of "$1") == stopped ]]
}

@test "a container that is started again by its policy keeps what it wrote" {
	own_image two > /dev/null
	hull run --rm which:two true
	soon has_template 2
	hull run -d --name again --restart on-failure:5 which:two \
		sh -c 'echo x >> /runs; grep -c x /runs; [ "$(grep -c x /runs)" -eq 3 ]'
	soon is_stopped again
	run -0 hull logs again
	assert_output $'1\n2\n3'
}

@test "off means none; what was used least recently makes room; what has no image goes with a prune" {
	printf '[vm]\nimage-templates = off\n' > "$HULL_CONFIG"
	hull run --rm busybox true
	: > "$HULL_CONFIG"
	run templates_of_images
	assert_output ''
	for i in 1 2 3 4 5 6 7 8; do
		mkdir "$HULL_ROOT/templates/000000000000000$i"
		echo "{\"image\": \"$HULL\"}" > "$HULL_ROOT/templates/000000000000000$i/manifest.json"
		touch -d "2020-01-0$i" "$HULL_ROOT/templates/000000000000000$i"
	done
	touch "$HULL_ROOT/templates/0000000000000001"
	hull run --rm busybox true
	soon assert_dir_not_exists "$HULL_ROOT/templates/0000000000000002"
	assert_dir_exists "$HULL_ROOT/templates/0000000000000001"
	has_template 8

	echo '{"image": "/no/such/disk"}' > "$HULL_ROOT/templates/0000000000000003/manifest.json"
	hull system prune > /dev/null
	assert_dir_not_exists "$HULL_ROOT/templates/0000000000000003"
	assert_dir_exists "$HULL_ROOT/templates/0000000000000004"
}
