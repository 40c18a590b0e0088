/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP datagrams of members that came in fragments of IPv4 (RFC 791), made whole again. Memory is
 * bounded: a few datagrams at a time, of which a member has its share; the oldest gives way.
 * Overlaps are no accident, and lose the datagram (RFC 5722).
 */
#ifndef NET_FRAGMENTS_H
#define NET_FRAGMENTS_H

#include "net/packet.h"

struct fragments;

struct fragments *fragments_new(void);
struct fragments *fragments_free(struct fragments *fragments);
/* A fragment of UDP over IPv4; `member` tells senders apart. True: *ret_whole is the datagram,
 * which holds until the next call and may be longer than a frame. */
bool fragments_add(struct fragments *fragments, const void *member, const struct packet *fragment,
		   struct packet *ret_whole);
/* A member that is about to go. */
void fragments_forget(struct fragments *fragments, const void *member);

#endif
