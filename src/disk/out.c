/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "disk/erofs_format.h"

#define HOLE_MIN 65536u /* a shorter one costs more in system calls and extents than in bytes */

int out_init(struct out *out, int fd, uint64_t offset, size_t capacity)
{
	*out = (struct out){ .fd = fd, .offset = offset, .capacity = capacity };
	out->buffer = malloc(capacity);
	return out->buffer ? 0 : -ENOMEM;
}

void out_release(struct out *out)
{
	free(out->buffer);
	out->buffer = NULL;
}

int out_flush(struct out *out)
{
	int r = fd_pwrite_all(out->fd, out->buffer, out->used, (off_t)(out->offset - out->used));

	if (r == 0)
		out->used = 0;
	return r;
}

int out_add(struct out *out, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size > 0) {
		size_t n = out->capacity - out->used;

		if (n > size)
			n = size;
		memcpy(out->buffer + out->used, p, n);
		out->used += n;
		out->offset += n;
		p += n;
		size -= n;
		if (out->used == out->capacity) {
			int r = out_flush(out);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int out_seek(struct out *out, uint64_t offset)
{
	static const uint8_t zeroes[EROFS_BLOCK_SIZE];

	if (offset - out->offset >= HOLE_MIN) {
		int r = out_flush(out);

		if (r == 0)
			out->offset = offset;
		return r;
	}
	while (out->offset < offset) {
		uint64_t n = offset - out->offset;
		int r = out_add(out, zeroes, n < sizeof(zeroes) ? (size_t)n : sizeof(zeroes));

		if (r < 0)
			return r;
	}
	return 0;
}

int out_align(struct out *out)
{
	return out_seek(out,
			(out->offset + EROFS_BLOCK_SIZE - 1) & ~(uint64_t)(EROFS_BLOCK_SIZE - 1));
}
