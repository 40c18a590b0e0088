/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hull-netd can still do once it reads frames: talk on sockets, and read where the host's
 * resolvers are. No capability but that to bind low ports (if it had it), no new programs, nothing
 * written to a file; a list of system calls, everything else fails.
 */
#ifndef NET_CONFINE_H
#define NET_CONFINE_H

#include "base/err.h"

int confine(struct err *err);

#endif
