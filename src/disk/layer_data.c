/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layer_data.h"

#include <errno.h>
#include <string.h>

#include "disk/erofs_write.h"

#define MAP_MAX 16384u /* entries, 64 KiB */

static unsigned chunk_bits_for(uint64_t size)
{
	unsigned bits = 0;

	while (erofs_map_count(size, bits) > MAP_MAX)
		bits++;
	return bits;
}

uint64_t layer_file_map_size(uint64_t size)
{
	return 4 * erofs_map_count(size, chunk_bits_for(size));
}

/* The block where the next byte goes. */
static int here(const struct layer_file *file, uint32_t *ret_block)
{
	uint64_t block = file->out->offset / EROFS_BLOCK_SIZE;

	if (block + file->size / EROFS_BLOCK_SIZE + 1 >= EROFS_NULL_BLOCK)
		return -EFBIG;
	*ret_block = (uint32_t)block;
	return 0;
}

int layer_file_begin(struct layer_file *file, struct out *out, struct tree *tree, uint64_t size,
		     bool sparse)
{
	size_t map_size = sparse ? (size_t)layer_file_map_size(size) : 0;
	int r;

	*file = (struct layer_file){ .out = out, .tree = tree, .size = size, .chunked = sparse };
	if (!sparse)
		return size ? here(file, &file->data) : 0;
	file->chunk_bits = (uint8_t)chunk_bits_for(size);
	r = tree_pool_reserve(tree, map_size, &file->data);
	if (r == 0)
		memset(tree->pool + file->data, 0xff, map_size);
	return r;
}

static uint64_t chunk_bytes(const struct layer_file *file)
{
	return (uint64_t)EROFS_BLOCK_SIZE << file->chunk_bits;
}

/* The disk has room for the whole chunk, or, for the last one, for what of it is in the file. */
static int finish_chunk(struct layer_file *file)
{
	uint64_t left = file->size - file->chunk * chunk_bytes(file);

	if (!file->chunk_start)
		return 0;
	if (left < chunk_bytes(file))
		left = (left + EROFS_BLOCK_SIZE - 1) / EROFS_BLOCK_SIZE * EROFS_BLOCK_SIZE;
	else
		left = chunk_bytes(file);
	return out_seek(file->out, file->chunk_start + left);
}

static int begin_chunk(struct layer_file *file, uint64_t chunk)
{
	uint32_t block = 0;
	int r = finish_chunk(file);

	if (r == 0)
		r = here(file, &block);
	if (r < 0)
		return r;
	memcpy(file->tree->pool + file->data + 4 * chunk, &block, sizeof(block));
	file->chunk = chunk;
	file->chunk_start = file->out->offset;
	return 0;
}

static int add_chunked(struct layer_file *file, uint64_t offset, const char *data, size_t size)
{
	while (size > 0) {
		uint64_t chunk = offset / chunk_bytes(file);
		uint64_t within = offset % chunk_bytes(file);
		size_t n = size;
		int r = 0;

		if (n > chunk_bytes(file) - within)
			n = (size_t)(chunk_bytes(file) - within);
		if (!file->chunk_start || chunk != file->chunk)
			r = begin_chunk(file, chunk);
		if (r == 0)
			r = out_seek(file->out, file->chunk_start + within);
		if (r == 0)
			r = out_add(file->out, data, n);
		if (r < 0)
			return r;
		data += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int layer_file_add(struct layer_file *file, uint64_t offset, const void *data, size_t size)
{
	if (offset < file->position || offset > file->size || size > file->size - offset ||
	    (!file->chunked && offset != file->position))
		return -EBADMSG;
	file->position = offset + size;
	if (file->chunked)
		return add_chunked(file, offset, data, size);
	return out_add(file->out, data, size);
}

int layer_file_end(struct layer_file *file, struct tree_inode *inode)
{
	int r;

	if (!file->chunked && file->position != file->size)
		return -EBADMSG;
	r = file->chunked ? finish_chunk(file) : out_align(file->out);
	if (r < 0)
		return r;
	inode->size = file->size;
	inode->data = file->data;
	inode->chunked = file->chunked;
	inode->chunk_bits = file->chunk_bits;
	return 0;
}
