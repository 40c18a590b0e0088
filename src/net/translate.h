/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP of one version of IP told in the other, where only one side has both, or from another
 * address.
 *
 * A port that is published on IPv6 leads to the container's IPv6 address, and the container sees
 * who its client is. Many programs listen on IPv4 alone: the reset that answers the first segment
 * is held back then, and the connection goes on in IPv4, from the gateway's address and a port that
 * stands for the client. So do those of clients whose address means nothing to the container, or
 * another one: link-local ones, and the host's own in the network, of either version.
 *
 * The name server's TCP (net/names_tcp.h) is behind the uplink, which knows it at its IPv4 address
 * alone: what members send to its IPv6 address goes there in their IPv4 address, from a port that
 * stands for theirs.
 *
 * Nothing here looks at data or keeps any: addresses and ports are exchanged, segment by segment.
 * How many connections there are is bounded; one that cannot be remembered is not opened.
 */
#ifndef NET_TRANSLATE_H
#define NET_TRANSLATE_H

#include "net/netd.h"

struct translator;

struct translator *translator_new(struct netd *netd);
struct translator *translator_free(struct translator *translator);
/* A packet of the uplink to a member: whether it has been sent in another form. */
bool translator_to_member(struct translator *translator, struct port *member,
			  const struct packet *packet);
/* A packet of a member. TRANSLATED: *ret_packet is what it means, for the uplink whatever
 * guard_egress says of it (it belongs to a connection that was let through), and holds until the
 * next call. */
enum translation { TRANSLATE_NOT, TRANSLATE_DONE, TRANSLATED };
enum translation translator_from_member(struct translator *translator, struct port *member,
					const struct packet *packet, struct packet *ret_packet);
/* A member that is about to go. */
void translator_forget(struct translator *translator, const struct port *member);

#endif
