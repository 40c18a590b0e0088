/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one process that a shim has for its container's row. The database holds every container of
 * the user, with what secrets are in their configurations, and whoever may write to the file may
 * write all of it: a shim, which talks to a guest, has no business there. So it forks a clerk
 * before it confines itself, and asks it, over a socket pair, for what it needs: its own row; the
 * states of that; limits and host ports in its configuration, and nothing else of it, since that is
 * what the next start trusts; networks that the row is in, with its own lease. The clerk does one
 * thing at a time and ends with its shim.
 *
 * All block for the answer, and return 0 or what the clerk's own call said; -EPIPE when it is gone
 * (clerk NULL: it was stopped).
 */
#ifndef SHIM_CLERK_H
#define SHIM_CLERK_H

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"
#include "shim/ctl.h"
#include "store/containers.h"
#include "store/networks.h"

struct clerk;
struct launch;

/* Forks it: this process must not have the database open. uuid: of the container whose row it is.
 * program: argv[0] of this process, in the place where the kernel shows it (NULL: none); the clerk
 * puts its own name there. */
int clerk_start(const char *root, const char *uuid, char *program, struct clerk **ret_clerk,
		struct err *err);
/* A second one, for a shim that may not start processes of networks (shim/confine.c): that is all
 * that it does, for networks that the row is in. This process must not have the database open. */
int clerk_start_starter(const struct launch *launch, char *program, struct clerk **ret_starter,
			struct err *err);
/* Starts the network's process, if it is not there, which stays long enough to be joined. */
int clerk_start_network(struct clerk *starter, const char *name, struct err *err);
/* Calls gone from the loop, once, when the clerk has ended without being stopped. The loop has to
 * outlive it. */
void clerk_watch(struct clerk *clerk, struct loop *loop, void (*gone)(void *ctx), void *ctx);
/* Waits for its end. */
void clerk_stop(struct clerk *clerk);
DEFINE_CLEANUP(struct clerk *, clerk_stop)

/* The row; the caller's. */
int clerk_get(struct clerk *clerk, struct container **ret_container, struct err *err);
/* State, times, exit code, health and error, as containers_update. */
int clerk_set_state(struct clerk *clerk, const struct container *container, struct err *err);
int clerk_set_limits(struct clerk *clerk, const struct config_limits *limits, struct err *err);
/* The host's port of each published one; only those that are wishes may differ. */
int clerk_set_ports(struct clerk *clerk, const struct container_config *config, struct err *err);
/* A network that the row is in, and the container's lease there; both the caller's. */
int clerk_get_network(struct clerk *clerk, const char *name, struct network *ret_network,
		      struct lease *ret_lease, struct err *err);
/* Removes the row of a container that removes itself. */
int clerk_delete(struct clerk *clerk, struct err *err);
/* Then, its volumes that nobody has named or mounts. Best effort. */
void clerk_remove_volumes(struct clerk *clerk);

#endif
