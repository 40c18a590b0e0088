/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks that are copied with a machine: its scratch disk (scratch.img) and the volumes that it
 * can write to (volume-N.img, N the number of the first mount). Each is copied while the machine
 * writes to it, and again, once it stands still, if it was written to meanwhile.
 */
#ifndef SHIM_SAVED_DISKS_H
#define SHIM_SAVED_DISKS_H

#include <stdint.h>

#include "base/err.h"
#include "shim/launch.h"

struct saved_disks;

struct saved_disks *saved_disks_new(const struct launch *launch);
struct saved_disks *saved_disks_free(struct saved_disks *disks);
/* What they take on the host's disk. */
uint64_t saved_disks_bytes(const struct saved_disks *disks);
/* Has what was written to them reach the host's disk. Blocks. */
void saved_disks_sync(const struct saved_disks *disks);
/* Copies all into directory. */
int saved_disks_copy(struct saved_disks *disks, const char *directory, struct err *err);
/* Copies those again that may have changed since. */
int saved_disks_update(struct saved_disks *disks, const char *directory, struct err *err);

#endif
