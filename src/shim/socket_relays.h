/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unix sockets that a container has in common with the host: sockets of the host that are
 * mounted in it, the caller's SSH agent, and sockets of the container that are published
 * (proto/sockets.h).
 */
#ifndef SHIM_SOCKET_RELAYS_H
#define SHIM_SOCKET_RELAYS_H

#include "base/err.h"
#include "proto/sockets.h"
#include "shim/launch.h"
#include "store/config.h"

#define SOCKET_MOUNT "socket" /* the type of a mount_config whose source is a socket */
#define SSH_SOCKET_TARGET "/run/host-services/ssh-auth.sock"

/* A socket of the host that is one in the container; its number is its place in the list. */
struct socket_relay {
	const char *host_path; /* borrowed */
	const char *target;    /* borrowed; in the container */
};
/* Those of a container, in order; returns how many there are. */
size_t socket_relays_list(const struct container_config *config, const struct launch *launch,
			  struct socket_relay relays[SOCKETS_RELAYS_MAX]);
/* -E2BIG when there are too many, -EINVAL when a path cannot be one. */
int socket_relays_check(const struct container_config *config, struct err *err);

/* In the path of a published socket: the container's name. What has it is not one container's
 * alone, and copies of the container keep it (engine/copies.c). */
#define SOCKET_NAME_WORD "{name}"
/* Where a socket is published; owned by the caller. */
char *socket_relays_host_path(const struct container_config *config,
			      const struct socket_config *socket);

struct socket_relays;

/* Relays between the host and the guest of this channel (borrowed); listens at the sockets that are
 * published. config and launch are borrowed. */
int socket_relays_start(struct loop *loop, struct mux *guest, const struct container_config *config,
			const struct launch *launch, struct socket_relays **ret_relays,
			struct err *err);
/* Before the channel ends. */
struct socket_relays *socket_relays_end(struct socket_relays *relays);
struct sockets *socket_relays_sockets(struct socket_relays *relays); /* borrowed; NULL of NULL */

#endif
