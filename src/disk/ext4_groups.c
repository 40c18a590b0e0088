/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/ext4_groups.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ext4 structures are used in place");

#define BLOCK_SIZE 4096u
#define BLOCKS_PER_GROUP (8 * BLOCK_SIZE)
#define GROUPS_MAX (1u << 17) /* of 16 TiB */

#define SUPER_OFFSET 1024
#define SUPER_MAGIC 0xef53u
#define LOG_BLOCK_SIZE 2u
#define INCOMPAT_64BIT 0x80u
#define INCOMPAT_CHECKSUM_SEED 0x2000u
#define RO_COMPAT_METADATA_CSUM 0x400u
#define GROUP_BLOCK_UNINIT 2u

struct super {
	uint32_t inodes, blocks_low, unused_1[4];
	uint32_t log_block_size, unused_2;
	uint32_t blocks_per_group, unused_3[5];
	uint16_t magic, unused_4[19];
	uint32_t incompat, ro_compat;
	uint8_t uuid[16], unused_5[134];
	uint16_t group_size;
	uint8_t unused_6[80];
	uint32_t blocks_high;
};
static_assert(offsetof(struct super, magic) == 0x38, "ext4 superblock");
static_assert(offsetof(struct super, incompat) == 0x60, "ext4 superblock");
static_assert(offsetof(struct super, group_size) == 0xfe, "ext4 superblock");
static_assert(offsetof(struct super, blocks_high) == 0x150, "ext4 superblock");

struct group {
	uint32_t places_low[3];
	uint16_t free_blocks_low, unused_1[2], flags, unused_2[2];
	uint16_t bitmap_checksum_low, unused_3[2], checksum;
	uint32_t places_high[3];
	uint16_t free_blocks_high, unused_4[5];
	uint16_t bitmap_checksum_high, unused_5[3];
};
static_assert(sizeof(struct group) == 64, "ext4 group descriptor");
static_assert(offsetof(struct group, checksum) == 0x1e, "ext4 group descriptor");
static_assert(offsetof(struct group, bitmap_checksum_high) == 0x38, "ext4 group descriptor");

static bool is_as_expected(const struct super *super, uint64_t group_count)
{
	return super->magic == SUPER_MAGIC && super->log_block_size == LOG_BLOCK_SIZE &&
	       super->blocks_per_group == BLOCKS_PER_GROUP && super->incompat & INCOMPAT_64BIT &&
	       super->group_size == sizeof(struct group) &&
	       !(super->incompat & INCOMPAT_CHECKSUM_SEED) &&
	       super->ro_compat & RO_COMPAT_METADATA_CSUM && group_count <= GROUPS_MAX;
}

/* With two zeros for itself. */
static uint16_t group_checksum(const struct group *group, uint32_t number, uint32_t seed)
{
	struct group copy = *group;
	uint32_t crc = hash_crc32c(seed, &number, sizeof(number));

	copy.checksum = 0;
	return (uint16_t)hash_crc32c(crc, &copy, sizeof(copy));
}

static void settle(struct group *group, uint32_t number, uint32_t seed, uint32_t bitmap_checksum)
{
	uint32_t free_blocks = group->free_blocks_low | (uint32_t)group->free_blocks_high << 16;

	if (!(group->flags & GROUP_BLOCK_UNINIT) || free_blocks != BLOCKS_PER_GROUP)
		return;
	group->flags &= (uint16_t)~GROUP_BLOCK_UNINIT;
	group->bitmap_checksum_low = (uint16_t)bitmap_checksum;
	group->bitmap_checksum_high = (uint16_t)(bitmap_checksum >> 16);
	group->checksum = group_checksum(group, number, seed);
}

static int settle_all(int fd, uint32_t count, uint32_t seed)
{
	static const uint8_t zeros[BLOCK_SIZE];
	const uint32_t bitmap_checksum = hash_crc32c(seed, zeros, sizeof(zeros));
	const size_t size = count * sizeof(struct group);
	AUTO_FREE struct group *groups = xmalloc(size);
	int r = fd_pread_exact(fd, groups, size, BLOCK_SIZE);

	if (r < 0)
		return r;
	for (uint32_t i = EXT4_GROUPS_LEFT; i < count; i++)
		settle(&groups[i], i, seed, bitmap_checksum);
	return fd_pwrite_all(fd, groups, size, BLOCK_SIZE);
}

int ext4_groups_settle(int fd, struct err *err)
{
	struct super super;
	uint64_t count;
	int r = fd_pread_exact(fd, &super, sizeof(super), SUPER_OFFSET);

	if (r < 0)
		return err_set(err, r, "cannot read the superblock: %m");
	count = (super.blocks_low | (uint64_t)super.blocks_high << 32) / BLOCKS_PER_GROUP;
	if (!is_as_expected(&super, count))
		return err_set(err, -EBADMSG, "mke2fs has made another file system than was asked");
	/* A last group that is not whole is left alone: its bitmap has an end. */
	r = settle_all(fd, (uint32_t)count, hash_crc32c(~0u, super.uuid, sizeof(super.uuid)));
	return r < 0 ? err_set(err, r, "cannot write the block groups: %m") : 0;
}
