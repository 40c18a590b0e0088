/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of the network that has an address itself: answers ARP, neighbour solicitations (for the
 * members too: their bindings are known, so no question is ever flooded) and pings, hands questions
 * for names to the name server and everything else to the uplink.
 */
#ifndef NET_GATEWAY_H
#define NET_GATEWAY_H

#include "net/netd.h"

struct gateway *gateway_new(struct netd *netd);
struct gateway *gateway_free(struct gateway *gateway);
/* A port that is about to go. */
void gateway_forget(struct gateway *gateway, const struct port *port);
/* The switch's switch_gateway_fn; ctx is the gateway. */
void gateway_input(void *ctx, struct port *from, const struct packet *packet);
/* The switch's switch_tap_fn. */
bool gateway_tap_passes(void *ctx, bool from_tap, const struct packet *packet);
/* The switch's switch_ready_fn. */
void gateway_ready(void *ctx, struct port *port);
/* The MAC of whoever has the address: a member, or the gateway for its own. NULL for nobody. */
const uint8_t *gateway_mac_of4(const struct netd *netd, struct in_addr address);
const uint8_t *gateway_mac_of6(const struct netd *netd, const struct in6_addr *address);

#endif
