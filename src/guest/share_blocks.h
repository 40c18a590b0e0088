/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side of the blocks that large reads and writes of shared directories go through
 * (SHARE_BLOCK, proto/share.h): a disk, past the page cache. */
#ifndef GUEST_SHARE_BLOCKS_H
#define GUEST_SHARE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* What data has to be aligned to, and has room up to. */
#define SHARE_BLOCK_ALIGNMENT 4096

/* A block that nothing uses; -EBUSY: none. The lowest, so that few of them take the host's memory.
 * By one thread. */
int share_blocks_take(void);
/* By any thread. */
void share_blocks_put(uint32_t block);
/* 0 or negative errno. size is at most SHARE_BLOCK_SIZE; up to a sector more is written and read.
 */
int share_blocks_write(uint32_t block, const void *data, size_t size);
int share_blocks_read(uint32_t block, void *data, size_t size);

#endif
