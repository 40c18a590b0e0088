/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume that is empty gets what the image has in its place: once, since it is not empty then. A
 * copy that was cut short is told by a directory in it, and is made again.
 */
#ifndef GUEST_FILL_H
#define GUEST_FILL_H

#include "base/err.h"

/* root: where the container's root file system is mounted; target: the path inside it; volume:
 * where the volume is mounted. Nothing is done when the root has no directory there. */
int fill_volume(const char *root, const char *target, const char *volume, struct err *err);
/* The volume is filled, whether there was anything to copy or not. */
void fill_end(const char *volume);
/* Waits while another machine copies into a volume that is a directory of the host, for two
 * minutes.
 */
int fill_wait(const char *target, const char *volume, struct err *err);

#endif
