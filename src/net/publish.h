/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports: where the host listens for members. TCP goes on in net/tcp.h, UDP in net/udp.h.
 */
#ifndef NET_PUBLISH_H
#define NET_PUBLISH_H

#include "net/netd.h"

struct publisher;

struct publisher *publisher_new(struct netd *netd);
struct publisher *publisher_free(struct publisher *publisher);
/* All rules or none; the first real port of each goes to ret_ports. */
int publisher_add(struct publisher *publisher, struct port *member, const struct rule *rules,
		  size_t count, uint16_t *ret_ports, struct err *err);
/* All that a member has published. */
void publisher_remove(struct publisher *publisher, const struct port *member);
/* Whether a member has published UDP ports: its fragments may be answers. */
bool publisher_has_udp(const struct publisher *publisher, const struct port *member);
/* Whether a member's datagram was an answer to a client of a published port, and has been sent. */
bool publisher_reply(struct publisher *publisher, const struct port *member,
		     const struct packet *packet);

#endif
