/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation of TCP between members and the world. A member's connection ends here, and
 * goes on as a socket of the host: what it opens to the outside, and what clients open to its
 * published ports. Nothing is opened that guard_egress would not let through (the gateway asks it
 * first), and nothing is kept of a connection but net/tcp_connection.h.
 *
 * - From a member: the SYN is answered once the host has connected, by a reset if it could not. The
 *   gateway's address leads to the host's loopback, the name server's to net/names_tcp.h.
 * - To a member: the client is accepted at once (it cannot be done later), then the member is asked
 *   by a SYN from the client's address, in its version of IP. Where that address means something
 *   else to the member, or nothing, the gateway's stands for it. What is refused in IPv6 is asked
 *   again in IPv4 from the gateway: most services that listen there alone never know. And a system
 *   whose program is slow to accept forgets whom it has answered already (the listen queue of
 *   Linux): as long as no data is known to the other side, the member is asked anew, for as long as
 *   a client would try.
 *
 * Connections are in a table of fixed size. A member gets no more of them than are left for the
 * others, so one alone has half, and two have a third each; how fast it may open them is its
 * quota's (net/quota.h). The same goes for large buffers.
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include "net/netd.h"

struct tcp_stack;

struct tcp_stack *tcp_stack_new(struct netd *netd);
struct tcp_stack *tcp_stack_free(struct tcp_stack *stack);
/* A whole segment of a member. False: it belongs to no connection. */
bool tcp_stack_input(struct tcp_stack *stack, struct port *member, const struct packet *packet);
/* A member's SYN to somebody whom it may reach. */
void tcp_stack_open(struct tcp_stack *stack, struct port *member, const struct packet *packet);
/* A client (taken over) of a member's published port. */
void tcp_stack_serve(struct tcp_stack *stack, struct port *member, uint16_t port, int client,
		     const union endpoint *address);
/* A port that was full and is not any more. */
void tcp_stack_resume(struct tcp_stack *stack, const struct port *member);
/* A member that is about to go. */
void tcp_stack_forget(struct tcp_stack *stack, struct port *member);
/* To be called after each turn of the loop. True: again without waiting. */
bool tcp_stack_sync(struct tcp_stack *stack);

#endif
