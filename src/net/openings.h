/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections that a member has accepted lately: whether a SYN-ACK is the first of its
 * connection, or says again what was not heard. A system says it again when its program is slow to
 * accept: RFC 9293 3.8.1, and the listen queue of Linux.
 */
#ifndef NET_OPENINGS_H
#define NET_OPENINGS_H

#include "net/packet.h"

#define OPENINGS_MAX 2048 /* the last ones; older ones count as new */

struct openings {
	uint64_t seen[OPENINGS_MAX]; /* hashes; 0: none */
	uint32_t next;
};

/* Notes a SYN-ACK, a whole segment. True when it was noted before. */
bool openings_repeats(struct openings *openings, const struct packet *packet);

#endif
