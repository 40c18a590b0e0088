/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroup (v2). hull-init is outside of it: what the container uses up is the
 * container's.
 */
#ifndef GUEST_CGROUP_H
#define GUEST_CGROUP_H

#include <stdbool.h>

#include "base/err.h"
#include "proto/msg.h"

/* Makes it, with all controllers; returns its directory's descriptor. */
int cgroup_create(struct err *err);
/* A limit of 0 is lifted. */
int cgroup_set_limits(int cgroup_fd, const struct msg_limits *limits, struct err *err);
/* How often the memory limit has killed a process of it so far. */
uint64_t cgroup_oom_kills(int events_fd);
void cgroup_kill(int cgroup_fd);
/* Its processes stand still from the return on, or go on. -ETIMEDOUT when some, deep in the kernel,
 * still ran after a second. */
int cgroup_freeze(int cgroup_fd, bool freeze);
/* All fields of the statistics but the network's. */
void cgroup_stats(int cgroup_fd, struct msg_stats *stats);

#endif
