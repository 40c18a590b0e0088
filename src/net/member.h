/* SPDX-License-Identifier: Apache-2.0 */
/* The control connections of hull-netd: each is, once it joined, a member (docs/PROTOCOL.md). */
#ifndef NET_MEMBER_H
#define NET_MEMBER_H

#include "net/netd.h"

struct member;

/* Accepts on listener (borrowed) from now on. netd->done is set once there has been
 * no connection for the time that the network lingers. */
struct members *members_new(struct netd *netd, int listener);
struct members *members_free(struct members *members);

typedef void (*members_found_fn)(void *ctx, const struct binding *binding);
/* Calls found for each member that has the name (lower case). */
void members_find_name(const struct members *members, const char *name, members_found_fn found,
		       void *ctx);
/* The name of the container with an address; one of them is NULL. NULL: nobody's. */
const char *members_name_of(const struct members *members, const struct in_addr *ipv4,
			    const struct in6_addr *ipv6);
/* The name servers of the member that has the port, maybe none. */
const struct resolvers *members_resolvers(const struct members *members, const struct port *port);
/* Whether it asks other networks' name servers too. */
bool members_has_others(const struct members *members, const struct port *port);

#endif
