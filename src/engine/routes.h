/* SPDX-License-Identifier: Apache-2.0 */
/* Which subnets are in use on this host, and which one is free for a new network. */
#ifndef ENGINE_ROUTES_H
#define ENGINE_ROUTES_H

#include "base/err.h"
#include "base/vec.h"
#include "store/subnet.h"

struct subnets {
	struct subnet *items; /* owned */
	size_t count, capacity;
};
void subnets_release(struct subnets *subnets);
/* Whether one of them shares an address with subnet; *ret_which (may be NULL) is the first. */
bool subnets_overlap(const struct subnets *subnets, const struct subnet *subnet,
		     struct subnet *ret_which);

/* Adds the destinations in the text of /proc/net/route and /proc/net/ipv6_route but default routes,
 * those of single hosts in the kernel's own tables, and multicast. Lines that are not understood
 * are skipped. */
void routes_parse_ipv4(const char *text, struct subnets *routes);
void routes_parse_ipv6(const char *text, struct subnets *routes);
/* Adds those of the host, as far as they can be read. */
void routes_read(struct subnets *routes);

/* The first of hull's own subnets (192.168.64.0/24 …, then 10.64.0.0/24 …) that overlaps none. */
int subnets_choose_ipv4(const struct subnets *taken, struct subnet *ret_subnet, struct err *err);
/* A random unique local one (RFC 4193). */
int subnets_choose_ipv6(const struct subnets *taken, struct subnet *ret_subnet, struct err *err);

#endif
