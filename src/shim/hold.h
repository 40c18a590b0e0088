/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's disk is full. QEMU stops its machine when a write finds no room, loses nothing, and
 * writes again when it goes on. The container is paused then, and goes on by itself once there is
 * room. Its row may be on the disk that is full: an empty file in its directory, which needs no
 * room, says so, too.
 */
#ifndef SHIM_HOLD_H
#define SHIM_HOLD_H

#include "shim/shim.h"

/* QEMU has stopped the machine. */
void hold_begin(struct shim *shim);
/* It goes on, or has ended: nothing is waited for any more. */
void hold_end(struct shim *shim);
/* How that ends, for who asks something of it meanwhile. Owned by the caller. */
char *hold_message(const struct shim *shim);

#endif
