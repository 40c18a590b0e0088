/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in and out of the container, by a child of hull-init: in the container's mount namespace,
 * so that it sees what is mounted there, and outside of all else of it, so that the container
 * neither sees nor stops it. Every path is resolved inside the container's root.
 */
#ifndef GUEST_COPY_H
#define GUEST_COPY_H

#include <sys/types.h>

#include "base/err.h"
#include "proto/copy.h"
#include "proto/msg.h"

/* What the child needs to know of the container. */
struct copy_scene {
	int mounts_fd; /* of setns(2): where the container's processes are; -1: there are none, and
			  its root is hull-init's own mount of it */
	const struct msg_session *session; /* borrowed */
};

/* Forks. stdio: the child's three streams. *ret_report is as of process_started. Returns the pid or
 * a negative errno. */
int copy_spawn(const struct msg_copy *message, const struct copy_scene *scene, const int stdio[3],
	       int *ret_report, struct err *err);

#endif
