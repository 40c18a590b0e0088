/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/share_blocks.h"

#include <errno.h>
#include <unistd.h>

#include "guest/bulk.h"
#include "proto/share.h"

static int disk = -1;  /* opened when it is needed first: a start has no time for it */
static uint32_t taken; /* bits, atomic */

int share_blocks_take(void)
{
	static int failed;
	uint32_t now = __atomic_load_n(&taken, __ATOMIC_ACQUIRE);
	uint32_t block = (uint32_t)__builtin_ctz(~now);

	if (block >= SHARE_BLOCKS)
		return -EBUSY;
	if (disk < 0 && failed == 0)
		failed = disk = bulk_open_disk(NULL);
	if (disk < 0)
		return failed;
	__atomic_fetch_or(&taken, 1u << block, __ATOMIC_ACQ_REL);
	return (int)block;
}

void share_blocks_put(uint32_t block)
{
	__atomic_fetch_and(&taken, ~(1u << block), __ATOMIC_ACQ_REL);
}

static size_t up_to_sectors(size_t size)
{
	return (size + BULK_SECTOR - 1) & ~(size_t)(BULK_SECTOR - 1);
}

static off_t offset_of(uint32_t block)
{
	return (off_t)(BULK_SHARES + (size_t)block * SHARE_BLOCK_SIZE);
}

int share_blocks_write(uint32_t block, const void *data, size_t size)
{
	ssize_t n = pwrite(disk, data, up_to_sectors(size), offset_of(block));

	return n < 0 ? -errno : ((size_t)n < size ? -EIO : 0);
}

int share_blocks_read(uint32_t block, void *data, size_t size)
{
	ssize_t n = pread(disk, data, up_to_sectors(size), offset_of(block));

	return n < 0 ? -errno : ((size_t)n < size ? -EIO : 0);
}
