/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections passed on to another port of this host, by splice: nothing is copied or kept. */
#ifndef NET_RELAY_H
#define NET_RELAY_H

#include "base/loop.h"
#include "net/config.h"

struct relays;

struct relays *relays_new(struct loop *loop);
struct relays *relays_free(struct relays *relays);
/* Passes client (taken over, non-blocking) on to target. What fails closes the connection. */
void relays_start(struct relays *relays, int client, const union endpoint *target);

#endif
