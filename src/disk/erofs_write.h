/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata of an EROFS image from a tree: laid out first (plan), then written. Used for a
 * layer, whose metadata follow its data, and for a merged image, whose metadata come before the
 * layers.
 *
 * The area is inodes with what follows them (xattrs, block maps, short directories, link targets),
 * then whole directory blocks. A directory's children lie together, directories in depth-first
 * order, so that a cold `find` reads the area nearly in sequence.
 */
#ifndef DISK_EROFS_WRITE_H
#define DISK_EROFS_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/tree.h"

struct erofs_plan {
	uint32_t inodes;
	uint32_t inode_blocks; /* blocks of the inode area */
	uint32_t dir_blocks;   /* blocks that follow it */
	bool chunked;
};

struct erofs_place {
	int fd;
	uint32_t meta_block;        /* where the area begins; block 0 is the super block's */
	uint32_t total_blocks;      /* of the whole disk */
	const uint32_t *layer_base; /* per layer: the block of the disk where its own block 0 is */
};

/* Sets nid, nlink, ino of all inodes and the size of directories. The tree is sorted and has only
 * nodes that exist. */
int erofs_plan(struct tree *tree, struct erofs_plan *ret_plan);
/* Writes area and super block. */
int erofs_write(const struct tree *tree, const struct erofs_plan *plan,
		const struct erofs_place *place);

/* Bytes of the xattr body at an inode's xattr offset (0 without). */
uint32_t erofs_xattr_size(const struct tree *tree, uint32_t xattr);
/* Entries of a chunked inode's block map. */
uint64_t erofs_map_count(uint64_t size, unsigned chunk_bits);

#endif
