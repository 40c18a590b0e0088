/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/ram_delta.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"
#include "proto/le.h"
#include "vm/ram_page.h"
#include "vm/template_ram.h"

#define MAGIC "hullram1"
#define HEADER_SIZE 52
#define SUMMED 48 /* bytes of the header */
#define DATA_OFFSET RAM_PAGE
#define RUN_SIZE 8
#define ZEROS (1u << 31)
#define CHUNK_PAGES 256u
#define CHUNK ((size_t)CHUNK_PAGES * RAM_PAGE)

struct run {
	uint32_t page;
	uint32_t count; /* and ZEROS */
};

struct header {
	uint64_t bytes, runs, pages, index_offset;
	uint32_t index_crc, data_crc;
};

/* --- writing --- */

struct writer {
	int memory, base, to;
	uint64_t bytes;
	VEC(struct run) runs;
	uint64_t pages;
	uint32_t data_crc;
	uint8_t *buffer; /* CHUNK of the memory, CHUNK of the base */
};

/* Where the file has data again, from `at` on; the end when it has none. */
static uint64_t next_data(int fd, uint64_t at, uint64_t end)
{
	off_t next = fd < 0 ? -1 : lseek(fd, (off_t)at, SEEK_DATA);

	return next < 0 || (uint64_t)next > end ? end : (uint64_t)next / RAM_PAGE * RAM_PAGE;
}

static void add_to_runs(struct writer *writer, uint32_t page, bool zero)
{
	struct run *last = writer->runs.count ? &writer->runs.items[writer->runs.count - 1] : NULL;
	uint32_t flag = zero ? ZEROS : 0;

	if (last && (last->count & ZEROS) == flag && last->page + (last->count & ~ZEROS) == page)
		last->count++;
	else
		VEC_PUSH(&writer->runs, ((struct run){ page, 1 | flag }));
}

static int write_data(struct writer *writer, const uint8_t *data, size_t pages)
{
	off_t offset = (off_t)(DATA_OFFSET + writer->pages * RAM_PAGE);

	writer->data_crc = hash_crc32c(writer->data_crc, data, pages * RAM_PAGE);
	writer->pages += pages;
	return fd_pwrite_all(writer->to, data, pages * RAM_PAGE, offset);
}

static int write_chunk(struct writer *writer, uint64_t at, size_t size)
{
	const uint8_t *base = writer->buffer + CHUNK;
	size_t start = 0; /* of the pages that differ and are not yet written */
	size_t count = 0;
	int r = fd_pread_exact(writer->memory, writer->buffer, size, (off_t)at);

	if (r == 0 && writer->base >= 0)
		r = fd_pread_exact(writer->base, writer->buffer + CHUNK, size, (off_t)at);
	for (size_t i = 0; r == 0 && i < size; i += RAM_PAGE) {
		bool same = memcmp(writer->buffer + i, base + i, RAM_PAGE) == 0;
		bool zero = !same && ram_page_is_zero(writer->buffer + i);

		if (!same)
			add_to_runs(writer, (uint32_t)((at + i) / RAM_PAGE), zero);
		if (!same && !zero) {
			start = count++ ? start : i;
			continue;
		}
		if (count)
			r = write_data(writer, writer->buffer + start, count);
		count = 0;
	}
	if (r == 0 && count)
		r = write_data(writer, writer->buffer + start, count);
	return r;
}

static int write_all_data(struct writer *writer)
{
	uint64_t at = 0;
	int r = 0;

	while (r == 0) {
		uint64_t in_memory = next_data(writer->memory, at, writer->bytes);
		uint64_t in_base = next_data(writer->base, at, writer->bytes);
		size_t size;

		at = in_memory < in_base ? in_memory : in_base;
		if (at >= writer->bytes)
			break;
		size = writer->bytes - at < CHUNK ? (size_t)(writer->bytes - at) : CHUNK;
		r = write_chunk(writer, at, size);
		at += size;
	}
	return r;
}

static int write_index(struct writer *writer)
{
	uint8_t header[HEADER_SIZE] = MAGIC;
	size_t size = writer->runs.count * RUN_SIZE;
	uint64_t offset = DATA_OFFSET + writer->pages * RAM_PAGE;
	AUTO_FREE uint8_t *index = try_malloc(size + 1);
	int r;

	if (!index)
		return -ENOMEM;
	for (size_t i = 0; i < writer->runs.count; i++) {
		le_put32(index + i * RUN_SIZE, writer->runs.items[i].page);
		le_put32(index + i * RUN_SIZE + 4, writer->runs.items[i].count);
	}
	le_put64(header + 8, writer->bytes);
	le_put64(header + 16, writer->runs.count);
	le_put64(header + 24, writer->pages);
	le_put64(header + 32, offset);
	le_put32(header + 40, ~hash_crc32c(~0u, index, size));
	le_put32(header + 44, ~writer->data_crc);
	le_put32(header + 48, ~hash_crc32c(~0u, header, SUMMED));
	r = fd_pwrite_all(writer->to, index, size, (off_t)offset);
	return r < 0 ? r : fd_pwrite_all(writer->to, header, sizeof(header), 0);
}

int ram_delta_write(int memory, int base, uint64_t bytes, int to, uint64_t *ret_pages,
		    struct err *err)
{
	struct writer writer = {
		.memory = memory, .base = base, .to = to, .bytes = bytes, .data_crc = ~0u
	};
	int r = 0;

	writer.buffer = calloc(2, CHUNK);
	if (!writer.buffer)
		return err_set(err, -ENOMEM, "cannot write the machine's memory: %m");
	r = write_all_data(&writer);
	if (r == 0)
		r = write_index(&writer);
	free(writer.buffer);
	VEC_FREE(&writer.runs);
	if (r < 0)
		return err_set(err, r, "cannot write the machine's memory: %m");
	*ret_pages = writer.pages;
	return 0;
}

/* --- reading: the file may be anything --- */

static int read_header(int fd, uint64_t bytes, struct header *header)
{
	uint8_t raw[HEADER_SIZE];
	struct stat st;

	if (fd_pread_exact(fd, raw, sizeof(raw), 0) < 0 || fstat(fd, &st) < 0 ||
	    memcmp(raw, MAGIC, 8) != 0 || ~hash_crc32c(~0u, raw, SUMMED) != le_get32(raw + 48))
		return -EBADMSG;
	*header = (struct header){ .bytes = le_get64(raw + 8),
				   .runs = le_get64(raw + 16),
				   .pages = le_get64(raw + 24),
				   .index_offset = le_get64(raw + 32),
				   .index_crc = le_get32(raw + 40),
				   .data_crc = le_get32(raw + 44) };
	if (header->bytes != bytes || header->pages > bytes / RAM_PAGE ||
	    header->runs > bytes / RAM_PAGE ||
	    header->index_offset != DATA_OFFSET + header->pages * RAM_PAGE ||
	    (uint64_t)st.st_size != header->index_offset + header->runs * RUN_SIZE)
		return -EBADMSG;
	return 0;
}

/* The checked runs, owned by the caller: in order, within the memory, as many pages as there are.
 */
static int read_index(int fd, const struct header *header, struct run **ret_runs)
{
	size_t size = (size_t)header->runs * RUN_SIZE;
	AUTO_FREE uint8_t *index = try_malloc(size + 1);
	AUTO_FREE struct run *runs = try_malloc(((size_t)header->runs + 1) * sizeof(*runs));
	uint64_t next = 0;
	uint64_t pages = 0;

	if (!index || !runs)
		return -ENOMEM;
	if (fd_pread_exact(fd, index, size, (off_t)header->index_offset) < 0 ||
	    ~hash_crc32c(~0u, index, size) != header->index_crc)
		return -EBADMSG;
	for (uint64_t i = 0; i < header->runs; i++) {
		uint32_t count;

		runs[i].page = le_get32(index + i * RUN_SIZE);
		runs[i].count = le_get32(index + i * RUN_SIZE + 4);
		count = runs[i].count & ~ZEROS;
		if (!count || runs[i].page < next ||
		    runs[i].page + (uint64_t)count > header->bytes / RAM_PAGE)
			return -EBADMSG;
		next = runs[i].page + (uint64_t)count;
		pages += runs[i].count & ZEROS ? 0 : count;
	}
	if (pages != header->pages)
		return -EBADMSG;
	*ret_runs = TAKE_PTR(runs);
	return 0;
}

/* One run; *offset: of its data in the file. */
static int apply_run(int delta, const struct run *run, int to, uint8_t *buffer, uint64_t *offset,
		     uint32_t *crc)
{
	uint64_t left = (uint64_t)(run->count & ~ZEROS) * RAM_PAGE;
	uint64_t place = (uint64_t)run->page * RAM_PAGE;
	int r = 0;

	if (run->count & ZEROS)
		memset(buffer, 0, CHUNK);
	while (left && r == 0) {
		size_t size = left < CHUNK ? (size_t)left : CHUNK;

		if (!(run->count & ZEROS)) {
			r = fd_pread_exact(delta, buffer, size, (off_t)*offset);
			if (r < 0)
				return -EBADMSG;
			*crc = hash_crc32c(*crc, buffer, size);
			*offset += size;
		}
		r = fd_pwrite_all(to, buffer, size, (off_t)place);
		place += size;
		left -= size;
	}
	return r;
}

/* base -1: over what `to` has, or (fresh) over nothing. */
static int apply(int delta, int base, uint32_t base_crc, uint64_t bytes, int to, bool fresh)
{
	AUTO_FREE uint8_t *buffer = try_malloc(CHUNK);
	AUTO_FREE struct run *runs = NULL;
	struct header header;
	uint64_t offset = DATA_OFFSET;
	uint32_t crc = ~0u;
	int r = buffer ? read_header(delta, bytes, &header) : -ENOMEM;

	if (r == 0)
		r = read_index(delta, &header, &runs);
	if (r == 0 && base >= 0) {
		uint32_t sum = 0;

		r = template_ram_copy(base, to, bytes, &sum);
		if (r == 0 && sum != base_crc)
			r = -EBADMSG;
	} else if (r == 0 && fresh && ftruncate(to, (off_t)bytes) < 0) {
		r = -errno;
	}
	for (uint64_t i = 0; r == 0 && i < header.runs; i++)
		r = apply_run(delta, &runs[i], to, buffer, &offset, &crc);
	return r == 0 && ~crc != header.data_crc ? -EBADMSG : r;
}

static int report(int r, struct err *err)
{
	if (r == -EBADMSG)
		return err_set(err, r, "its saved memory is damaged");
	return r < 0 ? err_set(err, r, "cannot make its memory again: %m") : 0;
}

int ram_delta_apply(int delta, int base, uint32_t base_crc, uint64_t bytes, int to, struct err *err)
{
	return report(apply(delta, base, base_crc, bytes, to, true), err);
}

int ram_delta_patch(int delta, uint64_t bytes, int to, struct err *err)
{
	return report(apply(delta, -1, 0, bytes, to, false), err);
}
