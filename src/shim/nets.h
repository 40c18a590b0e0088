/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's networks, as its shim holds them.
 *
 * Each is a pair of descriptors (one end is the machine's NIC, net/client.h has the other) and a
 * membership. They live as long as the shim: a container that its restart policy starts again keeps
 * addresses, names and ports. A network's process that dies is noticed by the membership's end and
 * joined again, with the same descriptor, address and ports.
 */
#ifndef SHIM_NETS_H
#define SHIM_NETS_H

#include "base/loop.h"
#include "shim/launch.h"
#include "shim/session.h"
#include "store/containers.h"

struct nets;

/* Reads the container's leases and makes the pairs. Nobody is told yet. launch, store and container
 * are borrowed for the life of it. */
int nets_open(const struct launch *launch, struct store *store, struct container *container,
	      struct nets **ret_nets, struct err *err);
size_t nets_count(const struct nets *nets);
/* The machine's end of network i; borrowed. */
int nets_nic(const struct nets *nets, size_t i);
/* What the guest has to know. */
void nets_describe(const struct nets *nets, struct session_network *ret_network);
/* Joins all, starting their processes where nobody has yet, and publishes the container's ports,
 * whose real numbers go into its row. Then watches over them. Does nothing the second time. */
int nets_join(struct nets *nets, struct loop *loop, struct err *err);
/* Leaves; NULL is ignored; always returns NULL. The ports are free when this returns. */
struct nets *nets_close(struct nets *nets);

#endif
