#!/usr/bin/env bats
# The tests with real guests that are programs of their own: they need more of a machine than `hull` shows.

load helpers

# With a kernel of Debian, whose modules a guest has to load: what most users have.
programs_setup() {
	vm_setup
	BUILD=$(dirname -- "$HULL")
	KERNEL=$BUILD/kernel/generic
	[[ -d $KERNEL ]] || skip "there is no kernel in $KERNEL"
}

setup() {
	programs_setup
}

@test "templates and machines: made, restored, damaged, outdated, killed" {
	HULL_TEST_KERNEL=$KERNEL HULL_TEST_INIT=$BUILD/tests/vm/echo_init \
		timeout 300 "$BUILD/tests/vm/test_template"
}

@test "hull-init: sessions, processes, mounts, limits, a hostile root" {
	"$BATS_TEST_DIRNAME/make-disks" "$BATS_TEST_TMPDIR" "$BUILD/hull-init" "$KERNEL"
	timeout 300 "$BUILD/tests/vm/test_agent" "$KERNEL" "$BATS_TEST_TMPDIR"
}

@test "a merged image is in a guest what umoci unpacks" {
	[[ $EUID -eq 0 ]] || skip "umoci unpacks device nodes only as root"
	timeout 300 "$BATS_TEST_DIRNAME/merged-disk" "$BUILD" "$KERNEL"
}
