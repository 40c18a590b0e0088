/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio disks by serial. */
#ifndef GUEST_DISKS_H
#define GUEST_DISKS_H

#include "base/err.h"

#define DISK_PATH_MAX 64

/* Reads the serials of the disks that are there, each of which asks the device: once, at boot. */
void disks_scan(void);
/* The device node of the disk with that serial, with nothing cached of what it held before (the
 * template's placeholder). -ENODEV. */
int disk_find(const char *serial, char ret_path[DISK_PATH_MAX], struct err *err);

#endif
