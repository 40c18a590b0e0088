/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The side index of a layer: its tree as arrays in a file that is mapped to be read, so that a
 * merge costs no parsing. It is our own file and yet checked as a whole when opened, because it may
 * be damaged: whatever passes the check is safe to replay.
 *
 * Layout: header, nodes (parents before children, children in byte order), inodes, pool; all in the
 * machine's byte order, which is little endian (erofs_format.h). A reader of another version says
 * so and the layer is converted again.
 */
#ifndef DISK_INDEX_H
#define DISK_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/tree.h"

#define INDEX_MAGIC 0x31786469656c7548u /* "Huleidx1" */

struct index_header {
	uint64_t magic;
	uint32_t checksum; /* crc32c, seed ~0, of what follows the header, then of the fields below
			    */
	uint32_t node_count;
	uint32_t inode_count;
	uint32_t pool_size;
	uint32_t data_blocks; /* of the layer's disk, before its metadata: where files may be */
	uint32_t disk_blocks; /* of the whole disk */
};

struct index_node {
	uint32_t parent;
	uint32_t name;
	uint32_t inode; /* as in struct tree_node */
	uint8_t name_length;
	uint8_t flags;
	uint16_t reserved;
};

struct index_inode {
	uint16_t mode;
	uint8_t chunked;
	uint8_t chunk_bits;
	uint32_t uid;
	uint32_t gid;
	uint32_t mtime_nsec;
	int64_t mtime;
	uint64_t size;
	uint32_t data;
	uint32_t xattr;
};
static_assert(sizeof(struct index_header) == 32 && sizeof(struct index_node) == 16 &&
		      sizeof(struct index_inode) == 40,
	      "index file");

/* An index that was opened: everything borrowed from the mapping. */
struct index {
	const struct index_header *header;
	const struct index_node *nodes;
	const struct index_inode *inodes;
	const char *pool;
	void *map;
	size_t map_size;
};

/* Writes all but the header to an empty file. The tree is sorted; its inodes' ino is scratch space.
 * The blocks in *ret_header are the caller's to set, before index_seal writes it. */
int index_write(struct tree *tree, int fd, struct index_header *ret_header);
int index_seal(struct index_header *header, int fd);

/* Maps and checks an index. -EBADMSG if it is damaged, with the reason. */
int index_open(int fd, struct index *ret_index, struct err *err);
void index_close(struct index *index);
#define AUTO_INDEX CLEANUP(index_close)

/* The checksum that belongs into the header of a whole index. */
uint32_t index_checksum(const void *data, size_t size);

#endif
