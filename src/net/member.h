/* SPDX-License-Identifier: Apache-2.0 */
/* The control connections of hull-netd: each is, once it joined, a member (docs/PROTOCOL.md). */
#ifndef NET_MEMBER_H
#define NET_MEMBER_H

#include "net/netd.h"

struct member;

/* Accepts on listener (borrowed) from now on. The loop ends with 0 once there has been no
 * connection for the time that the network lingers. */
struct members *members_new(struct netd *netd, int listener);
struct members *members_free(struct members *members);

#endif
