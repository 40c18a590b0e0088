/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's first process, made before anybody knows whose container it will be. It is forked
 * at boot into namespaces of its own (processes, mounts, IPC, host name, cgroups), mounts what
 * every container needs, and waits: all of that is in the template, and a start has only to hand it
 * the session, the root and the standard streams.
 *
 * It is process 1 of the container: with its end everything in the container ends. Until it
 * executes the container's program nobody can see it; hull-init itself is outside of all these
 * namespaces.
 */
#ifndef GUEST_STAGE_H
#define GUEST_STAGE_H

#include <sys/types.h>

#include "base/err.h"
#include "proto/msg.h"

enum stage_namespace { STAGE_MNT, STAGE_IPC, STAGE_UTS, STAGE_CGROUP, STAGE_NAMESPACES };

struct stage {
	pid_t pid;  /* in hull-init's namespace */
	int pidfd;  /* owned */
	int sock;   /* owned until stage_go; -1 then */
	int pts_fd; /* owned: the container's devpts, which it cannot put another in place of */
	/* Owned: its namespaces, so that taking them down is no part of its end. */
	int namespaces[STAGE_NAMESPACES];
};

/* What a main process starts with; all borrowed. */
struct stage_order {
	const uint8_t *session; /* as received */
	size_t session_size;
	const struct msg_process *process;
	int stdio[3];
	int root_tree;
	const int *trees; /* of the session's mounts; -1 without a device */
	size_t tree_count;
};

/* Forks it and waits until it is ready. */
int stage_start(int cgroup_fd, struct stage *ret_stage, struct err *err);
/* Sends it on its way. Returns the descriptor that yields a struct become_failure, or the end once
 * the program runs. */
int stage_go(struct stage *stage, const struct stage_order *order, struct err *err);
/* Lets go of the namespaces, after the last process in them has ended. */
void stage_dissolve(struct stage *stage);

#endif
