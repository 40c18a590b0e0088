# SPDX-License-Identifier: Apache-2.0
# Thin: meson builds, scripts/ do the rest. `make` builds into build/, where build/hull runs in place.

all: build/build.ninja
	@ninja -C build

build/build.ninja:
	@meson setup build

# On a fresh machine: packages, build, guest kernel, a first container.
quickstart:
	@scripts/quickstart

# All that CI runs; FAST=1 leaves out clang, sanitizers and fuzzing.
check:
	@scripts/check

# hull under KVM, in a machine whose processor is emulated with virtualization: ten minutes.
check-kvm: all
	@tests/kvm/run build

bench: all
	@bench/run

# Each parser of untrusted input for FUZZ_SECONDS.
fuzz:
	@scripts/fuzz -s $(or $(FUZZ_SECONDS),60)

format:
	@find src tests fuzz -name '*.[ch]' | xargs clang-format -i

lint:
	@scripts/lint

# The lean guest kernel: boots three times as fast; takes a quarter of an hour to build.
kernel:
	@scripts/install-deps --kernel
	@kernel/build-lean build/kernel/lean

# A lean QEMU of the version that the host has: starts faster, takes less memory; takes ten minutes to build.
qemu:
	@scripts/install-deps --qemu
	@qemu/build-lean build/qemu build/kernel

install: all
	@meson install -C build --no-rebuild

# The guest kernels and the lean QEMU stay: they were fetched, or took long to build.
clean:
	@rm -rf build-*/
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name kernel ! -name qemu -exec rm -rf {} +

.PHONY: all quickstart check check-kvm bench fuzz format lint kernel qemu install clean
