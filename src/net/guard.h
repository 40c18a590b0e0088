/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. All that comes from a machine passes two checks before anything acts on it.
 *
 * The source guard: a member sends as itself alone. Its MAC, its IPv4 address, its IPv6 address or
 * the link-local one of its MAC; in ARP and neighbour discovery it speaks of these alone. What only
 * the network may say (router advertisements, redirects, DHCP answers) is refused, whoever says it,
 * and so is what is not ARP, IPv4 or IPv6.
 *
 * The egress filter: what goes out, as a connection (net/tcp.h) or to the uplink. libslirp takes a
 * number of destinations for the host's loopback, whatever it is configured to; and has weak spots
 * of its own (docs/SECURITY.md). So nothing gets there that is not a plain packet to somewhere else
 * in the world.
 */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include "net/config.h"
#include "net/packet.h"

/* Whether packet may be from the holder of binding. */
bool guard_source(const struct binding *binding, const struct packet *packet);
/* Whether a packet that passed guard_source may go out; of TCP, what opens a connection. */
bool guard_egress(const struct net_config *config, const struct packet *packet);

#endif
