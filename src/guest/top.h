/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of the container's cgroup. */
#ifndef GUEST_TOP_H
#define GUEST_TOP_H

#include "base/str.h"

/* Adds a packed msg_top (proto/top.h), of the first TOP_PROCESSES_MAX of them. */
void top_collect(int cgroup_fd, struct sbuf *out);

#endif
