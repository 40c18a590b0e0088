/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's network interfaces, by netlink (rtnetlink(7)). In the template they are there, up
 * and without addresses; a session gives them their identity.
 *
 * That is half a millisecond of work, which an emulated machine, having to translate all the code
 * for it, does in sixty times as much. So a process on the second CPU does it while hull-init and
 * the container's process go on, and the latter waits for it right before it executes its program.
 */
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "base/err.h"
#include "proto/msg.h"

/* Before the template, and before the container's process is made: the loopback; names and settings
 * of the NICs, so that a session finds them running and quiet; the process that waits for it. */
void net_prepare(void);
/* hull-init, once: NIC n is to become interfaces[n], NIC 0 is switched off if there is none. */
void net_order(const struct msg_interface *interfaces, size_t count);
/* The container's process, once, after an order with interfaces: until it is carried out. */
int net_await(struct err *err);
/* hull-init, later: gives NIC nic another identity, or (up false) takes it. */
int net_change(const struct msg_interface_change *change, struct err *err);
/* hull-init, in a machine that became another container: its NICs, whatever they are now, become
 * these, and are up when their addresses are there. */
int net_replace(const struct msg_interface *interfaces, size_t count, struct err *err);
/* Adds what the interfaces but the loopback have carried. */
void net_stats(struct msg_stats *stats);

#endif
