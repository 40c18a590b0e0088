/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server of a network. It answers for its members' names, with and without the network's
 * domain, for the names of the host, and for addresses of the network; everything else goes on to
 * the host's resolvers, as it is, unless the network is internal. TCP is for answers that are too
 * long for a datagram: connections end in net/tcp.h, as all do, and go on here by a pair of
 * sockets.
 */
#ifndef NET_NAMES_H
#define NET_NAMES_H

#include "net/dns.h"
#include "net/netd.h"

struct names *names_new(struct netd *netd);
struct names *names_free(struct names *names);
/* A connection of a member to the name server: a descriptor that is its other end, or negative
 * errno. */
int names_connect(struct names *names, const struct port *from);
/* A port that is about to go: nothing is answered to it any more. */
void names_forget(struct names *names, const struct port *port);
/* A UDP datagram of a member to port 53 of the name server. */
void names_input(struct names *names, struct port *from, const struct packet *packet);
/* Answers a message of a member (NULL: of one that is not known) in reply, of DNS_UDP_MAX bytes:
 * the size of the answer; 0: somebody else may know; -EBADMSG: not worth an answer. */
int names_answer(const struct netd *netd, const struct port *from, const uint8_t *message,
		 size_t size, uint8_t *reply);

/* What the network itself knows of a name: whether that settles it (also: that there is none). */
bool names_lookup(const struct netd *netd, const struct dns_query *query,
		  struct dns_answer *ret_answer);

#endif
