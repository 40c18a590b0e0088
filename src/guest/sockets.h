/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a machine that was brought back (sock_diag(7)). */
#ifndef GUEST_SOCKETS_H
#define GUEST_SOCKETS_H

/* Ends all TCP connections that leave the machine: whoever waits on one is told (ECONNABORTED)
 * instead of waiting for a peer that knows nothing of it. Those over the loopback, and between
 * addresses of the machine itself (their ends are here), are left alone. Best effort. */
void sockets_abort_outside(void);

#endif
