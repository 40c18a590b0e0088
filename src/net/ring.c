/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define KEEP 262144 /* bytes of an empty ring's pages */

/* A frame is its size in 4 bytes and itself, rounded up so that sizes are aligned. */
static size_t record_size(size_t size)
{
	return (sizeof(uint32_t) + size + 7) & ~(size_t)7;
}

int ring_init(struct ring *ring, size_t size)
{
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		return -errno;
	*ring = (struct ring){ .data = data, .size = size };
	return 0;
}

void ring_release(struct ring *ring)
{
	if (ring->data)
		munmap(ring->data, ring->size);
	*ring = (struct ring){ 0 };
}

/* The offset for a record of so many bytes, or SIZE_MAX. */
static size_t room_for(struct ring *ring, size_t record)
{
	if (ring->count == 0 || ring->tail > ring->head) {
		if (ring->size - ring->tail >= record)
			return ring->tail;
		if (ring->count && ring->head < record)
			return SIZE_MAX;
		if (record > ring->size)
			return SIZE_MAX;
		ring->wrap = ring->tail;
		return 0;
	}
	return ring->head - ring->tail >= record ? ring->tail : SIZE_MAX;
}

bool ring_push(struct ring *ring, const uint8_t *frame, size_t size)
{
	size_t record = record_size(size);
	uint32_t stored = (uint32_t)size;
	size_t at = room_for(ring, record);

	if (at == SIZE_MAX)
		return false;
	memcpy(ring->data + at, &stored, sizeof(stored));
	memcpy(ring->data + at + sizeof(stored), frame, size);
	ring->tail = at + record;
	ring->count++;
	return true;
}

const uint8_t *ring_peek(const struct ring *ring, size_t *ret_size)
{
	uint32_t size;

	if (ring->count == 0)
		return NULL;
	memcpy(&size, ring->data + ring->head, sizeof(size));
	*ret_size = size;
	return ring->data + ring->head + sizeof(size);
}

void ring_pop(struct ring *ring)
{
	size_t size = 0;

	if (!ring_peek(ring, &size))
		return;
	ring->head += record_size(size);
	ring->count--;
	if (ring->count == 0) {
		if (ring->wrap > KEEP || ring->tail > KEEP)
			madvise(ring->data + KEEP, ring->size - KEEP, MADV_DONTNEED);
		ring->head = ring->tail = ring->wrap = 0;
	} else if (ring->wrap && ring->head == ring->wrap) {
		ring->head = 0;
		ring->wrap = 0;
	}
}
