/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions that go on to the host's resolvers, as they are. Each has a socket of its own, so that
 * a random port and a random id, and the kernel's filter for the resolver's address, stand against
 * forged answers. Which resolvers: the member's own, else the network's, else those of
 * /etc/resolv.conf, looked at again for each question (they change with VPNs and wifi).
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "net/netd.h"

struct resolver;

struct resolver_asker {
	struct port *port; /* borrowed; resolver_forget before it goes */
	uint16_t source_port;
	bool v6;
	struct in6_addr source6;
};

struct resolver *resolver_new(struct netd *netd);
struct resolver *resolver_free(struct resolver *resolver);
void resolver_relay(struct resolver *resolver, const struct resolver_asker *asker,
		    const uint8_t *message, size_t size);
/* Sends an answer to who asked; what is longer than its link takes is cut, and says so. */
void resolver_reply(struct resolver *resolver, const struct resolver_asker *asker,
		    const uint8_t *message, size_t size);
/* Its questions are no longer to be answered. */
void resolver_forget(struct resolver *resolver, const struct port *port);
/* The resolvers for a member (NULL: for the network's own). May be none. */
const struct resolvers *resolver_of(struct resolver *resolver, const struct port *port);

#endif
