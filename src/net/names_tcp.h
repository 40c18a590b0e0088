/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server over TCP. Connections come from the uplink by a Unix socket; who opened one is
 * known since the uplink connects while it takes the frame that opens it, and all are accepted
 * right after (net/uplink.c).
 */
#ifndef NET_NAMES_TCP_H
#define NET_NAMES_TCP_H

#include "net/netd.h"
#include "net/resolver.h"

struct names_tcp;

/* listener: a listening Unix socket, taken over. */
struct names_tcp *names_tcp_new(struct netd *netd, struct resolver *resolver, int listener);
struct names_tcp *names_tcp_free(struct names_tcp *tcp);
/* Takes what waits in the listener's backlog: connections of that member. It must never be full:
 * the uplink would wait for us. */
void names_tcp_accept(struct names_tcp *tcp, const struct port *from);
/* A port that is about to go. */
void names_tcp_forget(struct names_tcp *tcp, const struct port *port);

#endif
