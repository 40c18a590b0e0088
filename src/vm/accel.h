/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator runs the VMs. A /dev/kvm that opens proves nothing (on some cloud hosts guest
 * kernel code is interpreted at 1 MIPS): the probe runs a ring-0 loop in a VM of its own and times
 * it.
 */
#ifndef VM_ACCEL_H
#define VM_ACCEL_H

#include "base/err.h"

enum accel_kind {
	ACCEL_TCG, /* QEMU's software emulation: works everywhere */
	ACCEL_KVM,
	ACCEL_COUNT
};
extern const char *const accel_names[ACCEL_COUNT]; /* "tcg", "kvm" */

struct accel {
	enum accel_kind kind;
	char reason[256];  /* one line: what was found, for `system doctor` */
	char advice[256];  /* what would make it faster; "" if nothing */
	double guest_mips; /* measured speed of ring-0 code under KVM; 0 not measured */
};

/* wanted: "auto" (KVM where it is fast), "kvm" (wherever it works) or "tcg". The probe's result is
 * kept in cache_dir per boot of the host (and per identity of /dev/kvm). -EINVAL for other words,
 * -ENODEV when kvm is wanted but cannot be used. */
int accel_choose(const char *wanted, const char *cache_dir, struct accel *ret_accel,
		 struct err *err);

#endif
