/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way through a connection: rings of two sizes, which a connection has only while
 * something is in them. The small ones any connection gets; of the large ones, which a stream needs
 * to be fast, there are few, and nobody gets more of them than are left.
 */
#ifndef NET_TCP_BUFFER_H
#define NET_TCP_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TCP_BUFFER_SMALL 16384
#define TCP_BUFFER_LARGE 524288
#define TCP_BUFFERS_LARGE 96 /* at most */
#define TCP_BUFFERS_KEPT 2   /* unused ones whose pages stay */

struct tcp_buffer {
	uint8_t *data; /* owned; NULL: none */
	size_t capacity, start, size;
};

struct tcp_pool {
	uint8_t *kept[TCP_BUFFERS_KEPT]; /* owned */
	size_t kept_count, large_count;  /* large_count: in use */
};

void tcp_pool_release(struct tcp_pool *pool);
/* Makes room for so many bytes more, of which as many as possible: a ring, or a larger one. The
 * room that there is then; 0 without memory. owned: how many large ones the owner has, counted. */
size_t tcp_buffer_reserve(struct tcp_pool *pool, struct tcp_buffer *buffer, size_t size,
			  size_t *owned);
/* Gives it back, whatever is in it. */
void tcp_buffer_release(struct tcp_pool *pool, struct tcp_buffer *buffer, size_t *owned);
/* Its free room, at most size bytes of it, to be written to; then so many were. */
void tcp_buffer_room(const struct tcp_buffer *buffer, size_t size, struct iovec ret[2]);
void tcp_buffer_add(struct tcp_buffer *buffer, size_t size);
/* So many bytes from an offset on, which are there. */
void tcp_buffer_get(const struct tcp_buffer *buffer, size_t offset, size_t size,
		    struct iovec ret[2]);
void tcp_buffer_drop(struct tcp_buffer *buffer, size_t size);
/* Copies to the end what has room there: how much. */
size_t tcp_buffer_copy(struct tcp_buffer *buffer, const uint8_t *data, size_t size);

#endif
