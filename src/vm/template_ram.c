/* SPDX-License-Identifier: Apache-2.0 */
/* RAM files: only pages that are not zero are kept, and summed up. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "vm/ram_page.h"
#include "vm/template_ram.h"

#define PAGE RAM_PAGE
#define CHUNK ((size_t)256 * PAGE)
/* What is written at once becomes one piece of the page cache. A later Linux (6.18) maps such a
 * piece as a whole, wherever a machine touches it. */
#define PIECE ((size_t)4 * PAGE)

struct pass {
	int from;
	int to; /* -1: only sum up */
	uint32_t crc;
	uint8_t *buffer; /* CHUNK bytes */
};

static int write_pieces(const struct pass *pass, size_t start, size_t end, uint64_t offset)
{
	int r = 0;

	for (size_t at = start; at < end && r == 0; at += PIECE)
		r = fd_pwrite_all(pass->to, pass->buffer + at, end - at < PIECE ? end - at : PIECE,
				  (off_t)(offset + at));
	return r;
}

/* The pages of the buffer, which came from offset: runs of ones that count are written. */
static int handle_chunk(struct pass *pass, uint64_t offset, size_t size)
{
	size_t run = 0; /* start of the pages not yet written */
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += PAGE) {
		uint64_t position = offset + at;

		if (!ram_page_is_zero(pass->buffer + at)) {
			pass->crc = hash_crc32c(pass->crc, &position, sizeof(position));
			pass->crc = hash_crc32c(pass->crc, pass->buffer + at, PAGE);
			continue;
		}
		if (pass->to >= 0)
			r = write_pieces(pass, run, at, offset);
		run = at + PAGE;
	}
	if (r == 0 && pass->to >= 0)
		r = write_pieces(pass, run, size, offset);
	return r;
}

static int handle_extent(struct pass *pass, uint64_t start, uint64_t end)
{
	int r = 0;

	for (uint64_t at = start; at < end && r == 0; at += CHUNK) {
		size_t size = end - at < CHUNK ? (size_t)(end - at) : CHUNK;

		r = fd_pread_exact(pass->from, pass->buffer, size, (off_t)at);
		if (r == 0)
			r = handle_chunk(pass, at, size);
	}
	return r;
}

static int handle_file(struct pass *pass, uint64_t bytes)
{
	uint64_t at = 0;
	int r = 0;

	while (at < bytes && r == 0) {
		off_t start = lseek(pass->from, (off_t)at, SEEK_DATA);
		off_t end;

		if (start < 0)
			return errno == ENXIO ? 0 : -errno; /* ENXIO: no more data */
		end = lseek(pass->from, start, SEEK_HOLE);
		if (end < 0)
			return -errno;
		start &= ~(off_t)(PAGE - 1);
		at = ((uint64_t)end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
		if (at > bytes)
			at = bytes;
		if ((uint64_t)start < at)
			r = handle_extent(pass, (uint64_t)start, at);
	}
	return r;
}

int template_ram_copy(int from, int to, uint64_t bytes, uint32_t *ret_crc)
{
	struct pass pass = { .from = from, .to = to, .crc = ~0u, .buffer = malloc(CHUNK) };
	int r;

	if (!pass.buffer)
		return -ENOMEM;
	if (to >= 0 && ftruncate(to, (off_t)bytes) < 0)
		r = -errno;
	else
		r = handle_file(&pass, bytes);
	free(pass.buffer);
	if (r == 0)
		*ret_crc = ~pass.crc;
	return r;
}
