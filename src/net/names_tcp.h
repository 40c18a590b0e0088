/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server over TCP. Members' connections (net/tcp.h) go on here by a pair of sockets each,
 * so that whose it is is known.
 */
#ifndef NET_NAMES_TCP_H
#define NET_NAMES_TCP_H

#include "net/netd.h"
#include "net/resolver.h"

struct names_tcp;

struct names_tcp *names_tcp_new(struct netd *netd, struct resolver *resolver);
struct names_tcp *names_tcp_free(struct names_tcp *tcp);
/* A connection of that member: its end of the pair, or negative errno. */
int names_tcp_connect(struct names_tcp *tcp, const struct port *from);
/* A port that is about to go. */
void names_tcp_forget(struct names_tcp *tcp, const struct port *port);

#endif
