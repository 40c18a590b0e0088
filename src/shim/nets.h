/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's networks, as its shim holds them.
 *
 * Each NIC of the machine is one end of a pair of descriptors (net/client.h gets the other),
 * whether or not it is in a network now, and each network that the container is in is a membership.
 * They live as long as the shim: a container that its restart policy starts again keeps addresses,
 * names and ports. A network's process that dies is noticed by the membership's end and joined
 * again, with the same descriptor, address and ports.
 */
#ifndef SHIM_NETS_H
#define SHIM_NETS_H

#include "base/loop.h"
#include "shim/clerk.h"
#include "shim/launch.h"
#include "shim/session.h"

struct nets;

/* Asks for the container's row and leases and makes the pairs. Nobody is told yet. launch, clerk
 * and starter are borrowed for the life of it; starter: who starts processes of networks; NULL:
 * this process may. */
int nets_open(const struct launch *launch, struct clerk *clerk, struct clerk *starter,
	      struct nets **ret_nets, struct err *err);
/* NICs of the machine. */
size_t nets_count(const struct nets *nets);
/* The machine's end of NIC i; borrowed. */
int nets_nic(const struct nets *nets, size_t i);
/* What the guest has to know: at its start, and, but for the interfaces, later. */
void nets_describe(const struct nets *nets, struct session_network *ret_network);
/* Joins all, starting their processes where nobody has yet, and publishes the container's ports,
 * whose real numbers go into its row. Then watches over them. Does nothing the second time. */
int nets_join(struct nets *nets, struct loop *loop, struct err *err);
/* Leaves; NULL is ignored; always returns NULL. The ports are free when this returns. */
struct nets *nets_close(struct nets *nets);

/* While the machine runs: joins a network that the container's row has gained. The guest is to be
 * told of *ret_change. -ENOSPC when the machine has no NIC to spare. */
int nets_connect(struct nets *nets, const char *network, struct msg_interface_change *ret_change,
		 struct err *err);
/* Leaves one of them; its lease is the caller's to give up. The guest is to be told of the changes:
 * the NIC that is switched off, and the one that becomes the way out, if there is one. */
int nets_disconnect(struct nets *nets, const char *network,
		    struct msg_interface_change ret_changes[2], size_t *ret_count, struct err *err);
/* Its new name, for its neighbours. */
int nets_rename(struct nets *nets, const char *id, struct err *err);
/* Whether NICs and networks are not in the order of the row any more: another start needs another
 * nets_open. */
bool nets_changed(const struct nets *nets);

#endif
