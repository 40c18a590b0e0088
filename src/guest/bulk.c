/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/disks.h"

/* Less than that is quicker copied than asked for by a request of its own. */
#define DIRECT_MIN ((size_t)32 * 1024)
#define ALIGNMENT 4096

int bulk_open_disk(struct err *err)
{
	char path[DISK_PATH_MAX];
	int r = disk_find(BULK_SERIAL, path, err);
	int fd = r < 0 ? -1 : open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (r < 0)
		return r;
	return fd < 0 ? err_set(err, -errno, "cannot open the disk for copies: %m") : fd;
}

void bulk_end_init(struct bulk_end *end, int disk, uint32_t lane, int in, int out)
{
	*end = (struct bulk_end){ .bulk = { .in = in, .out = out },
				  .disk = disk,
				  .lane = (off_t)((lane - 1) * BULK_LANE),
				  .block = -1 };
	end->held = aligned_alloc(ALIGNMENT, BULK_BLOCK);
	if (!end->held)
		abort();
}

void bulk_end_release(struct bulk_end *end)
{
	free(end->held);
}

static size_t whole_sectors(size_t size)
{
	return size & ~(size_t)(BULK_SECTOR - 1);
}

static size_t up_to_sectors(size_t size)
{
	return whole_sectors(size + BULK_SECTOR - 1);
}

static bool is_aligned(const void *data)
{
	return (uintptr_t)data % BULK_SECTOR == 0;
}

/* --- reading --- */

static int next_block(struct bulk_end *end)
{
	size_t offset = 0;
	long n = bulk_receive(&end->bulk, &offset);

	if (n <= 0)
		return (int)n;
	end->block = end->lane + (off_t)offset;
	end->at = end->from = end->until = 0;
	end->size = (size_t)n;
	return 1;
}

/* From the current position, which is a sector's, straight to where it is wanted. */
static long read_direct(struct bulk_end *end, void *data, size_t size)
{
	size_t rest = end->size - end->at;
	size_t want = whole_sectors(size);
	int r;

	if (want > up_to_sectors(rest))
		want = up_to_sectors(rest);
	r = fd_pread_exact(end->disk, data, want, end->block + (off_t)end->at);
	return r < 0 ? r : (long)(want < rest ? want : rest);
}

static long read_held(struct bulk_end *end, void *data, size_t size)
{
	size_t n;

	if (end->at >= end->until) {
		size_t from = whole_sectors(end->at);
		int r = fd_pread_exact(end->disk, end->held + from, up_to_sectors(end->size) - from,
				       end->block + (off_t)from);

		if (r < 0)
			return r;
		end->until = end->size;
	}
	n = end->until - end->at < size ? end->until - end->at : size;
	memcpy(data, end->held + end->at, n);
	return (long)n;
}

long bulk_end_read(void *ctx, void *data, size_t size)
{
	struct bulk_end *end = ctx;
	long n;
	int r = end->block < 0 ? next_block(end) : 1;

	if (r <= 0)
		return r;
	if (end->at >= end->until && end->at % BULK_SECTOR == 0 && is_aligned(data) &&
	    size >= DIRECT_MIN)
		n = read_direct(end, data, size);
	else
		n = read_held(end, data, size);
	if (n < 0)
		return n;
	end->at += (size_t)n;
	if (end->at < end->size)
		return n;
	end->block = -1;
	r = bulk_give_back(&end->bulk);
	return r < 0 ? r : n;
}

/* --- writing --- */

/* What is held goes to the disk; the end of the last sector is anything. */
static int write_held(struct bulk_end *end)
{
	size_t size = up_to_sectors(end->at) - end->from;
	int r = size == 0 ? 0
			  : fd_pwrite_all(end->disk, end->held + end->from, size,
					  end->block + (off_t)end->from);

	end->from = end->at;
	return r;
}

static int send_block(struct bulk_end *end)
{
	int r = write_held(end);

	end->block = -1;
	return r < 0 ? r : bulk_send(&end->bulk, end->at);
}

static int begin_block(struct bulk_end *end)
{
	long offset = bulk_free_block(&end->bulk);

	if (offset < 0)
		return (int)offset;
	end->block = end->lane + offset;
	end->at = end->from = 0;
	return 0;
}

/* Some of data. */
static long write_some(struct bulk_end *end, const void *data, size_t size)
{
	size_t n = BULK_BLOCK - end->at < size ? BULK_BLOCK - end->at : size;
	int r;

	if (end->at % BULK_SECTOR || !is_aligned(data) || n < DIRECT_MIN) {
		memcpy(end->held + end->at, data, n);
		end->at += n;
		return (long)n;
	}
	n = whole_sectors(n);
	r = write_held(end);
	if (r == 0)
		r = fd_pwrite_all(end->disk, data, n, end->block + (off_t)end->at);
	end->at += n;
	end->from = end->at;
	return r < 0 ? r : (long)n;
}

int bulk_end_write(void *ctx, const void *data, size_t size)
{
	struct bulk_end *end = ctx;

	while (size) {
		long n;
		int r = end->block < 0 ? begin_block(end) : 0;

		if (r < 0)
			return r;
		n = write_some(end, data, size);
		if (n < 0)
			return (int)n;
		data = (const char *)data + n;
		size -= (size_t)n;
		r = end->at == BULK_BLOCK ? send_block(end) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int bulk_end_flush(struct bulk_end *end)
{
	return end->block < 0 ? 0 : send_block(end);
}
