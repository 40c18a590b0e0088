/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over TCP (RFC 7766). Connections come from the uplink by a Unix socket, so it is not known
 * which member asks: names of the network are answered as ever, others by the network's resolvers.
 * Each connection has one question under way, a deadline, and gives way when there are too many.
 */
#ifndef NET_NAMES_TCP_H
#define NET_NAMES_TCP_H

#include "net/netd.h"
#include "net/resolver.h"

struct names_tcp;

/* listener: a listening Unix socket, taken over. */
struct names_tcp *names_tcp_new(struct netd *netd, struct resolver *resolver, int listener);
struct names_tcp *names_tcp_free(struct names_tcp *tcp);
/* Takes what waits in the listener's backlog, which the uplink must never find full: it would wait
 * for us. */
void names_tcp_accept(struct names_tcp *tcp);

#endif
