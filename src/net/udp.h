/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A published UDP port: a socket of the host, and the clients that were seen there. A member gets
 * their datagrams from their own address, so that it can tell them apart and answer; those of
 * loopback and of IPv6 come from the gateway's address and a port that stands for the client. What
 * a member sends to such an address goes back to the client. A client is forgotten when others need
 * its place.
 */
#ifndef NET_UDP_H
#define NET_UDP_H

#include "net/netd.h"

struct udp_port;

/* Ports that lead to one port of a container, each with its slot: the gateway's ports that stand
 * for their clients are different ones. */
#define UDP_SLOTS 200

/* Listens at *listen (port 0: any; written back) for the container's port of a member. */
int udp_open(struct netd *netd, struct port *member, uint16_t container_port, uint16_t slot,
	     union endpoint *listen, struct udp_port **ret_udp, struct err *err);
struct udp_port *udp_close(struct udp_port *udp);
/* The slot, if it leads to that port; else UDP_SLOTS. */
uint16_t udp_slot(const struct udp_port *udp, const struct port *member, uint16_t container_port);
/* Whether a member's datagram was for a client of this port, and has been sent. */
bool udp_reply(struct udp_port *udp, const struct packet *packet);

#endif
