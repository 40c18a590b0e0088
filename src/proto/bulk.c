/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/bulk.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/le.h"

static size_t offset(const struct bulk *bulk)
{
	return bulk->next * BULK_BLOCK;
}

static void advance(struct bulk *bulk)
{
	bulk->next = (bulk->next + 1) % BULK_BLOCKS;
}

/* Takes note of at least one block that came back. */
static int await_one(struct bulk *bulk)
{
	char given_back[BULK_BLOCKS];
	ssize_t n;

	do
		n = read(bulk->in, given_back, bulk->pending);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	bulk->pending -= (uint32_t)n;
	return 0;
}

long bulk_free_block(struct bulk *bulk)
{
	int r = bulk->pending == BULK_BLOCKS ? await_one(bulk) : 0;

	return r < 0 ? r : (long)offset(bulk);
}

int bulk_send(struct bulk *bulk, size_t size)
{
	uint8_t record[sizeof(uint32_t)];

	le_put32(record, (uint32_t)size);
	bulk->pending++;
	advance(bulk);
	return fd_write_all(bulk->out, record, sizeof(record));
}

/* A whole record; 0 at an end before it. */
static long read_record(struct bulk *bulk, uint8_t record[sizeof(uint32_t)])
{
	ssize_t n;
	int r;

	do
		n = read(bulk->in, record, sizeof(uint32_t));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	r = fd_read_exact(bulk->in, record + n, sizeof(uint32_t) - (size_t)n);
	return r < 0 ? -EPROTO : 1;
}

long bulk_receive(struct bulk *bulk, size_t *ret_offset)
{
	uint8_t record[sizeof(uint32_t)];
	long r = read_record(bulk, record);
	uint32_t size;

	if (r <= 0)
		return r;
	size = le_get32(record);
	if (size == 0 || size > BULK_BLOCK)
		return -EPROTO;
	*ret_offset = offset(bulk);
	return (long)size;
}

int bulk_give_back(struct bulk *bulk)
{
	int r = fd_write_all(bulk->out, "", 1);

	advance(bulk);
	/* Who has sent all may be gone. */
	return r == -EPIPE ? 0 : r;
}
