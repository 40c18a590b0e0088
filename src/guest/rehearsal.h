/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rehearsal of a container's start, on the second CPU, while the real one goes on on the first.
 *
 * An emulator translates guest code when it first runs, and a restored machine has none translated:
 * that, and not what the code does, is most of the time of a start. Translations are shared by the
 * CPUs. So a second process like the container's (guest/stage.h) waits in the template, and when a
 * session comes, does with a root in memory what the container's process will do some milliseconds
 * later: overlay, mounts, root change, user, program, end. Nothing depends on it.
 */
#ifndef GUEST_REHEARSAL_H
#define GUEST_REHEARSAL_H

#include <stdbool.h>

#include "base/err.h"

/* The argument with which the rehearsal executes hull-init as its program: it returns 0 at once. */
#define REHEARSAL_ARGUMENT "--rehearsed"

/* Before the template: makes the process that waits. Without a second CPU there is none. */
void rehearsal_start(void);
/* While an image's template is made, in which the container's root is mounted: mounts the
 * rehearsal's too, so that it is ahead of the real start by that. Returns when it is. */
void rehearsal_mount(void);
/* Lets it perform, or (false) go home. */
void rehearsal_go(bool perform);

#endif
