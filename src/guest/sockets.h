/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a machine that was brought back. */
#ifndef GUEST_SOCKETS_H
#define GUEST_SOCKETS_H

/* Ends all TCP connections of processes that leave the machine: whoever waits on one is told (by an
 * error or the end of it) instead of waiting for a peer that knows nothing of it, and the peer gets
 * a reset, where it can be reached from here. Those over the loopback, and from an address to
 * itself (both ends are here), are left alone. Best effort. */
void sockets_abort_outside(void);

#endif
