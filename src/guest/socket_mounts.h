/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's ends of relayed sockets (proto/sockets.h). */
#ifndef GUEST_SOCKET_MOUNTS_H
#define GUEST_SOCKET_MOUNTS_H

#include <sys/types.h>

#include "base/err.h"
#include "proto/msg.h"
#include "proto/sockets.h"

/* Listens for a mount of type MSG_MOUNT_SOCKET, number index of the session's. Returns a detached
 * mount of the socket's file, to be attached at its place. */
int socket_mounts_listen(struct sockets *sockets, const struct msg_mount *mount, size_t index,
			 struct err *err);
/* A connection to a socket in the root of a process: no link leads out of that. Negative errno. */
int socket_mounts_connect(pid_t pid, const char *path);

#endif
