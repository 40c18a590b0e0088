/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a member may open connections to the outside. Each takes a socket of the host and makes
 * the uplink's lists longer for all members, so the more there are, the slower a member gets new
 * ones. What is open goes on.
 */
#ifndef NET_QUOTA_H
#define NET_QUOTA_H

#include "net/packet.h"

struct quota {
	double tokens;
	uint64_t refilled_ms;
	/* Source ports of UDP seen lately: in this period and the one before. */
	uint8_t *seen[2]; /* owned; a bit a port */
	uint64_t period;
};

void quota_init(struct quota *quota);
void quota_release(struct quota *quota);
/* Whether a packet to the outside may pass while the uplink has so many sockets, of those that it
 * may have at most. */
bool quota_takes(struct quota *quota, const struct packet *packet, size_t sockets, size_t most);
/* How many sockets one user of them may have: a part of what the process may open, at most most. */
size_t quota_sockets(size_t part, size_t most);

#endif
