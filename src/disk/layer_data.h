/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of regular files, as it comes from an archive, into a layer's disk: whole blocks in
 * the order of the archive. A file with holes becomes a block map whose chunks are as small as the
 * cap on the map's length allows; holes within a chunk are holes of the host's file.
 */
#ifndef DISK_LAYER_DATA_H
#define DISK_LAYER_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/out.h"
#include "disk/tree.h"

struct layer_file {
	struct out *out;   /* borrowed */
	struct tree *tree; /* borrowed: the block map goes to its pool */
	uint64_t size;
	uint64_t position; /* in the file: data before it was added */
	uint32_t data;     /* first block, or pool offset of the map */
	bool chunked;
	uint8_t chunk_bits;
	uint64_t chunk; /* the one being written, and where it begins in the disk (0: none) */
	uint64_t chunk_start;
};

/* The bytes its block map will take. */
uint64_t layer_file_map_size(uint64_t size);

int layer_file_begin(struct layer_file *file, struct out *out, struct tree *tree, uint64_t size,
		     bool sparse);
/* Adds data at an offset of the file; -EBADMSG unless offsets grow and stay inside its size. */
int layer_file_add(struct layer_file *file, uint64_t offset, const void *data, size_t size);
/* Sets size, data and map of the inode; -EBADMSG if data are missing. */
int layer_file_end(struct layer_file *file, struct tree_inode *inode);

#endif
