/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other networks that the host is part of by a TAP device (net/tap.h): their subnets, as the
 * kernel tells of them while they come and go. A member must not reach them through the uplink,
 * which speaks for the host: two networks are apart.
 */
#ifndef NET_NEIGHBOURS_H
#define NET_NEIGHBOURS_H

#include "base/err.h"
#include "base/loop.h"
#include "net/config.h"
#include "net/packet.h"

struct neighbours;

/* To be made before netd confines itself. NULL when the kernel does not tell, with a reason in err.
 */
struct neighbours *neighbours_new(struct loop *loop, const struct net_config *config,
				  struct err *err);
/* NULL is ignored; always returns NULL. */
struct neighbours *neighbours_free(struct neighbours *neighbours);
/* Whether the packet goes to one of them. */
bool neighbours_have(const struct neighbours *neighbours, const struct packet *packet);

#endif
