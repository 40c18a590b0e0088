/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_buffer.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

static uint8_t *take_large(struct tcp_pool *pool, const size_t *owned)
{
	uint8_t *data;

	if (*owned >= TCP_BUFFERS_LARGE - pool->large_count)
		return NULL;
	if (pool->kept_count) {
		pool->large_count++;
		return pool->kept[--pool->kept_count];
	}
	data = mmap(NULL, TCP_BUFFER_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	if (data == MAP_FAILED)
		return NULL;
	pool->large_count++;
	return data;
}

void tcp_buffer_release(struct tcp_pool *pool, struct tcp_buffer *buffer, size_t *owned)
{
	if (buffer->capacity == TCP_BUFFER_LARGE) {
		pool->large_count--;
		--*owned;
		if (pool->kept_count < TCP_BUFFERS_KEPT)
			pool->kept[pool->kept_count++] = buffer->data;
		else
			munmap(buffer->data, TCP_BUFFER_LARGE);
	} else {
		free(buffer->data);
	}
	*buffer = (struct tcp_buffer){ 0 };
}

/* From the first byte on in the new one. */
static void move(const struct tcp_buffer *from, uint8_t *to)
{
	struct iovec parts[2];

	tcp_buffer_get(from, 0, from->size, parts);
	memcpy(to, parts[0].iov_base, parts[0].iov_len);
	if (parts[1].iov_len)
		memcpy(to + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
}

size_t tcp_buffer_reserve(struct tcp_pool *pool, struct tcp_buffer *buffer, size_t size,
			  size_t *owned)
{
	struct tcp_buffer next = { .capacity = TCP_BUFFER_LARGE };

	if (buffer->capacity == TCP_BUFFER_LARGE || buffer->capacity - buffer->size >= size)
		return buffer->capacity - buffer->size;
	if (buffer->size + size > TCP_BUFFER_SMALL)
		next.data = take_large(pool, owned);
	if (next.data) {
		next.size = buffer->size;
		if (next.size)
			move(buffer, next.data);
		free(buffer->data);
		*buffer = next;
		++*owned;
	} else if (!buffer->data) {
		buffer->data = try_malloc(TCP_BUFFER_SMALL);
		buffer->capacity = buffer->data ? TCP_BUFFER_SMALL : 0;
	}
	return buffer->capacity - buffer->size;
}

static void parts_of(const struct tcp_buffer *buffer, size_t at, size_t size, struct iovec ret[2])
{
	size_t first = buffer->capacity - at;

	if (first > size)
		first = size;
	ret[0] = (struct iovec){ buffer->data + at, first };
	ret[1] = (struct iovec){ buffer->data, size - first };
}

void tcp_buffer_room(const struct tcp_buffer *buffer, size_t size, struct iovec ret[2])
{
	size_t room = buffer->capacity - buffer->size;
	size_t end = buffer->start + buffer->size;

	parts_of(buffer, end < buffer->capacity ? end : end - buffer->capacity,
		 room < size ? room : size, ret);
}

void tcp_buffer_add(struct tcp_buffer *buffer, size_t size)
{
	buffer->size += size;
}

void tcp_buffer_get(const struct tcp_buffer *buffer, size_t offset, size_t size,
		    struct iovec ret[2])
{
	size_t at = buffer->start + offset;

	parts_of(buffer, at < buffer->capacity ? at : at - buffer->capacity, size, ret);
}

void tcp_buffer_drop(struct tcp_buffer *buffer, size_t size)
{
	buffer->start += size;
	if (buffer->start >= buffer->capacity)
		buffer->start -= buffer->capacity;
	buffer->size -= size;
	if (buffer->size == 0)
		buffer->start = 0;
}

size_t tcp_buffer_copy(struct tcp_buffer *buffer, const uint8_t *data, size_t size)
{
	struct iovec parts[2];

	tcp_buffer_room(buffer, size, parts);
	if (parts[0].iov_len)
		memcpy(parts[0].iov_base, data, parts[0].iov_len);
	if (parts[1].iov_len)
		memcpy(parts[1].iov_base, data + parts[0].iov_len, parts[1].iov_len);
	tcp_buffer_add(buffer, parts[0].iov_len + parts[1].iov_len);
	return parts[0].iov_len + parts[1].iov_len;
}

void tcp_pool_release(struct tcp_pool *pool)
{
	while (pool->kept_count)
		munmap(pool->kept[--pool->kept_count], TCP_BUFFER_LARGE);
}
