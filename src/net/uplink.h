/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a network, and published TCP ports in: libslirp, which ends the members'
 * connections here and goes on with sockets of the host. Nothing reaches it but what guard_egress
 * lets through.
 *
 * libslirp expects to be asked for all its sockets before each wait and told of all after it, which
 * is made cheap: the sockets stay in an epoll set of their own, changed where libslirp's wishes
 * changed, and it is asked only after a turn of the loop in which it was touched.
 *
 * It sends from within the calls that give it frames, so nothing is given to it from there: the
 * answers to its questions for MAC addresses wait for uplink_sync.
 */
#ifndef NET_UPLINK_H
#define NET_UPLINK_H

#include "net/netd.h"

/* names_socket: where TCP to the name server's address goes (a listening Unix socket). */
struct uplink *uplink_new(struct netd *netd, const char *names_socket, struct err *err);
struct uplink *uplink_free(struct uplink *uplink);
/* A frame of a member that passed guard_egress. */
void uplink_input(struct uplink *uplink, struct port *from, const struct packet *packet);
/* To be called after each turn of the loop. */
void uplink_sync(struct uplink *uplink);
/* Tells it of a member before it has to ask. */
void uplink_introduce(struct uplink *uplink, const struct binding *binding);
/* Listens on an address and port (0: any free one, written back) of the host for a member, which is
 * spoken to in the same version of IP, of which it must have an address. It sees the client's. */
int uplink_listen(struct uplink *uplink, union endpoint *listen, const struct binding *member,
		  uint16_t port, struct err *err);
void uplink_unlisten(struct uplink *uplink, const union endpoint *listen);

#endif
