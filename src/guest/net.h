/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's network interfaces, by netlink (rtnetlink(7)). In the template they are there, up
 * and without addresses; a session gives them their identity in one system call.
 */
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "base/err.h"
#include "proto/msg.h"

/* Before the template: the loopback; names and settings of the NICs, so that a session finds them
 * running and quiet. */
void net_prepare(void);
/* NIC n becomes interfaces[n], others are switched off. */
int net_configure(const struct msg_interface *interfaces, size_t count, struct err *err);
/* Adds what the interfaces but the loopback have carried. */
void net_stats(struct msg_stats *stats);

#endif
