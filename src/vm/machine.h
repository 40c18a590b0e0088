/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: what is fixed when its template is made. Containers of one shape share a template.
 */
#ifndef VM_MACHINE_H
#define VM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/accel.h"

#define MACHINE_QEMU_PROGRAM "qemu-system-x86_64"

/* Of any set of devices. */
#define MACHINE_DISKS_MAX 17
#define MACHINE_NICS_MAX 4

/* Slots that a template's guest has probed already and that a restore fills. The disks: slot 0 is
 * read-only (the image), slots 1 and 2 are for the scratch disk, those from 3 on for volumes; the
 * last read_only_disks of them cannot be written to. */
struct machine_devices {
	uint32_t disks;
	uint32_t read_only_disks; /* of the disks; slot 0 is not counted */
	uint32_t nics;
};
#define MACHINE_VOLUME_SLOT 3 /* the first one */

/* What nearly every container needs, and what the others do: docs/decisions/0006-device-sets.md. */
extern const struct machine_devices machine_devices_base;
extern const struct machine_devices machine_devices_extended;

/* The first slot that is read-only, slot 0 aside. */
static inline uint32_t machine_first_read_only(const struct machine_devices *devices)
{
	return devices->disks - devices->read_only_disks;
}

/* Whether a set has at least what is needed. */
bool machine_devices_suffice(const struct machine_devices *devices,
			     const struct machine_devices *needed);

/* An image's disk (a VMDK descriptor) and where what it consists of lies. */
struct machine_image {
	const char *disk;
	const char *extent_dirs[2];
};

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
	struct machine_devices devices;
	/* The template is the one of this shape without an image, with the image's root file system
	 * mounted as well: only for machines that have this very disk in slot 0. NULL: for any. */
	const struct machine_image *image;
};

/* The emulator for this architecture in search_path (the value of PATH; NULL: the usual
 * directories); owned by the caller. -ENOENT with what to install. */
int machine_find_qemu(const char *search_path, char **ret_path, struct err *err);

#endif
