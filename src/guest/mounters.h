/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that mount disks, one on each of the first CPUs, beside what else a start does. A mount
 * is tens of milliseconds under emulation, and to make a process in a restored machine another ten
 * (nothing of it is translated yet): so they are made before the template, and wait in it.
 */
#ifndef GUEST_MOUNTERS_H
#define GUEST_MOUNTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/disks.h"

/* What to give to mount(2). */
struct mounter_order {
	char device[DISK_PATH_MAX];
	char type[32];
	char place[64];
	char data[256];
	unsigned long flags;
};

/* Before the template: makes them, in the mount namespace of the caller. Where there is one CPU,
 * none. */
void mounters_start(void);
/* Has one of them mount that. Its ticket for mounters_wait, or -ECHILD if there is nobody. */
int mounters_order(const struct mounter_order *order);
/* Waits until it is done; once for each ticket. 0, or the negative errno of mount(2) or of the way
 * to who does it. */
int mounters_wait(int ticket);
/* The same here and now. */
int mounters_mount(const struct mounter_order *order);

#endif
