/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a network for all but TCP (net/tcp.h), that is UDP and pings: libslirp, which goes
 * on with sockets of the host. Nothing reaches it but what guard_egress lets through.
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

struct uplink *uplink_new(struct netd *netd, struct err *err);
struct uplink *uplink_free(struct uplink *uplink);
/* A frame of a member that passed guard_egress. */
void uplink_input(struct uplink *uplink, struct port *from, const struct packet *packet);
/* To be called after each turn of the loop. */
void uplink_sync(struct uplink *uplink);
/* Tells it of a member before it has to ask. */
void uplink_introduce(struct uplink *uplink, const struct binding *binding);

#endif
