/* SPDX-License-Identifier: Apache-2.0 */
/* When hull-init and the container's process reached which step of a start, for `hull --debug`. */
#ifndef GUEST_TIMELINE_H
#define GUEST_TIMELINE_H

#include "base/str.h"

/* Once, before the container's process is made. */
void timeline_init(void);
/* No points of this process and its children from now on. */
void timeline_mute(void);
/* Begins anew: now is 0. */
void timeline_begin(void);
/* Notes a point; name is borrowed for ever (a literal). Beyond the maximum points are lost. */
void timeline_point(const char *name);
/* Packs a msg_timeline of the points so far. */
void timeline_encode(struct sbuf *out);

#endif
