/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: what is fixed when its template is made. Containers of one shape share a template.
 */
#ifndef VM_MACHINE_H
#define VM_MACHINE_H

#include <stdint.h>

#include "vm/accel.h"

#define MACHINE_DISK_SLOTS 4 /* slot 0 is read-only (the image), slot 1 the scratch disk */

struct machine_shape {
	enum accel_kind accel;
	uint32_t vcpus;
	uint64_t memory_bytes;
	const char *qemu;    /* path of the emulator */
	const char *kernel;  /* ELF vmlinux */
	const char *modules; /* directory of NN-name.ko in load order; NULL: all is built in */
	const char *init;    /* path of hull-init */
	/* A fresh scratch disk (ext4). The template's guest has a copy of it mounted in slot 1, and
	 * that copy (template.scratch_path) is what fresh containers start from: mounting costs as
	 * much as the rest of a start under emulation. NULL: slot 1 stays empty. */
	const char *scratch;
};

/* The emulator for this architecture in search_path (the value of PATH; NULL: the usual
 * directories); owned by the caller. -ENOENT with what to install. */
int machine_find_qemu(const char *search_path, char **ret_path, struct err *err);

#endif
