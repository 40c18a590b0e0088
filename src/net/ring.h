/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of frames in a mapping of fixed size, each in one piece. Pages are given back to the
 * system when it was long and became empty. */
#ifndef NET_RING_H
#define NET_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	uint8_t *data; /* owned mapping */
	size_t size;
	size_t head, tail; /* frames are from head to tail, or from head to wrap and 0 to tail */
	size_t wrap;
	size_t count;
};

int ring_init(struct ring *ring, size_t size);
void ring_release(struct ring *ring);
/* Whether it fitted. */
bool ring_push(struct ring *ring, const uint8_t *frame, size_t size);
/* The oldest frame, valid until it is popped; NULL when empty. */
const uint8_t *ring_peek(const struct ring *ring, size_t *ret_size);
void ring_pop(struct ring *ring);

static inline bool ring_is_empty(const struct ring *ring)
{
	return ring->count == 0;
}

#endif
