/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio disks by serial. */
#ifndef GUEST_DISKS_H
#define GUEST_DISKS_H

#include "base/err.h"

#define DISK_PATH_MAX 64

/* Reads the serials of the disks that are there, each of which asks the device: once, at boot. */
void disks_scan(void);
/* Drops what the kernel has cached of all disks: in the template these are placeholders. */
void disks_forget(void);
/* The device node of the disk with that serial. -ENODEV. */
int disk_find(const char *serial, char ret_path[DISK_PATH_MAX], struct err *err);

#endif
