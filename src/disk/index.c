/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/hash.h"
#include "disk/erofs_write.h"
#include "disk/out.h"

#define BUFFER_SIZE (256u << 10)
#define CHECKED_FROM (offsetof(struct index_header, checksum) + sizeof(uint32_t))

static uint32_t header_checksum(uint32_t body, const struct index_header *header)
{
	return hash_crc32c(body, (const char *)header + CHECKED_FROM,
			   sizeof(*header) - CHECKED_FROM);
}

uint32_t index_checksum(const void *data, size_t size)
{
	const struct index_header *header = data;

	return header_checksum(hash_crc32c(~0u, header + 1, size - sizeof(*header)), header);
}

/* Writing */

struct index_writer {
	struct tree *tree;
	struct out out;
	struct index_header header;
	uint32_t *numbers; /* owned; of the nodes, in the order of the file */
};

static int add(struct index_writer *w, const void *data, size_t size)
{
	w->header.checksum = hash_crc32c(w->header.checksum, data, size);
	return out_add(&w->out, data, size);
}

static bool has_inode(const struct tree *tree, uint32_t node)
{
	return tree_exists(tree, node) && !(tree->nodes[node].flags & TREE_LINK);
}

static void number(struct index_writer *w)
{
	struct tree *tree = w->tree;

	for (uint32_t i = 0; i < tree->inode_count; i++)
		tree->inodes[i].ino = TREE_NONE;
	for (uint32_t n = TREE_ROOT; n != TREE_NONE; n = tree_next(tree, n)) {
		uint32_t *ino = NULL;

		w->numbers[n] = w->header.node_count++;
		if (has_inode(tree, n))
			ino = &tree->inodes[tree->nodes[n].inode].ino;
		if (ino && *ino == TREE_NONE)
			*ino = w->header.inode_count++;
	}
}

static int write_nodes(struct index_writer *w)
{
	const struct tree *tree = w->tree;
	int r = 0;

	for (uint32_t n = TREE_ROOT; r == 0 && n != TREE_NONE; n = tree_next(tree, n)) {
		const struct tree_node *node = &tree->nodes[n];
		struct index_node disk = {
			.parent = w->numbers[node->parent],
			.name = node->name,
			.inode = has_inode(tree, n) ? tree->inodes[node->inode].ino : node->inode,
			.name_length = node->name_length,
			.flags = node->flags,
		};

		r = add(w, &disk, sizeof(disk));
	}
	return r;
}

static int write_inodes(struct index_writer *w)
{
	const struct tree *tree = w->tree;
	uint32_t written = 0;
	int r = 0;

	/* An inode was numbered at its first name, so the walk meets them in order. */
	for (uint32_t n = TREE_ROOT; r == 0 && n != TREE_NONE; n = tree_next(tree, n)) {
		const struct tree_inode *inode;

		if (!has_inode(tree, n))
			continue;
		inode = &tree->inodes[tree->nodes[n].inode];
		if (inode->ino != written)
			continue;
		struct index_inode disk = {
			.mode = inode->mode,
			.chunked = inode->chunked,
			.chunk_bits = inode->chunk_bits,
			.uid = inode->uid,
			.gid = inode->gid,
			.mtime_nsec = inode->mtime_nsec,
			.mtime = inode->mtime,
			.size = S_ISDIR(inode->mode) ? 0 : inode->size,
			.data = inode->data,
			.xattr = inode->xattr,
		};
		r = add(w, &disk, sizeof(disk));
		written++;
	}
	return r;
}

int index_write(struct tree *tree, int fd, struct index_header *ret_header)
{
	AUTO_FREE uint32_t *numbers = malloc(tree->node_count * sizeof(*numbers));
	struct index_writer w = {
		.tree = tree,
		.header = { .magic = INDEX_MAGIC, .checksum = ~0u, .pool_size = tree->pool_size },
		.numbers = numbers,
	};
	int r = numbers ? out_init(&w.out, fd, sizeof(w.header), BUFFER_SIZE) : -ENOMEM;

	if (r < 0)
		return r;
	number(&w);
	r = write_nodes(&w);
	if (r == 0)
		r = write_inodes(&w);
	if (r == 0)
		r = add(&w, tree->pool, tree->pool_size);
	if (r == 0)
		r = out_flush(&w.out);
	out_release(&w.out);
	if (r == 0)
		*ret_header = w.header;
	return r;
}

int index_seal(struct index_header *header, int fd)
{
	header->checksum = header_checksum(header->checksum, header);
	return fd_pwrite_all(fd, header, sizeof(*header), 0);
}

/* Checking */

static bool in_pool(const struct index *index, uint64_t offset, uint64_t size)
{
	return offset <= index->header->pool_size && size <= index->header->pool_size - offset;
}

static bool name_ok(const char *name, size_t length)
{
	if (length == 0 || memchr(name, '/', length) || memchr(name, '\0', length))
		return false;
	return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

static bool node_ok(const struct index *index, uint32_t n)
{
	const struct index_node *node = &index->nodes[n];
	uint32_t pool_size = index->header->pool_size;
	bool dir = node->flags & TREE_DIR;

	if (node->flags & (unsigned)~(TREE_FLAGS_ALL & ~TREE_DEAD) || node->reserved)
		return false;
	if (!dir && node->flags & (TREE_IMPLICIT | TREE_OPAQUE))
		return false;
	if (n == TREE_ROOT) {
		if (node->parent != TREE_ROOT || node->name_length || !dir)
			return false;
	} else if (node->parent >= n || !(index->nodes[node->parent].flags & TREE_DIR)) {
		return false;
	}
	if (!in_pool(index, node->name, node->name_length))
		return false;
	if (n != TREE_ROOT && !name_ok(index->pool + node->name, node->name_length))
		return false;
	if (node->flags & TREE_LINK)
		return !dir && node->inode < pool_size &&
		       memchr(index->pool + node->inode, '\0', pool_size - node->inode);
	if (node->inode == TREE_NONE)
		return !dir && node->flags & TREE_WHITEOUT;
	return node->inode < index->header->inode_count &&
	       dir == !!S_ISDIR(index->inodes[node->inode].mode);
}

static bool xattr_ok(const struct index *index, uint32_t offset)
{
	uint32_t size;

	if (!offset)
		return true;
	if (offset % 4 || !in_pool(index, offset, sizeof(size)))
		return false;
	memcpy(&size, index->pool + offset, sizeof(size));
	return size % 4 == 0 && size > EROFS_XATTR_HEADER_SIZE && size <= EROFS_XATTR_BODY_MAX &&
	       in_pool(index, (uint64_t)offset + sizeof(size), size);
}

/* Whether count blocks from the first lie in the layer's data. */
static bool blocks_ok(const struct index *index, uint64_t first, uint64_t count)
{
	uint64_t blocks = index->header->data_blocks;

	return first > 0 && first <= blocks && count <= blocks - first;
}

static bool map_ok(const struct index *index, const struct index_inode *inode)
{
	uint64_t blocks = erofs_map_count(inode->size, 0);
	uint64_t count;

	if (inode->chunk_bits > EROFS_CHUNK_BITS_MAX || inode->data % 4)
		return false;
	count = erofs_map_count(inode->size, inode->chunk_bits);
	if (count > index->header->pool_size || !in_pool(index, inode->data, count * 4))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t left = blocks - (i << inode->chunk_bits);
		uint64_t chunk = (uint64_t)1 << inode->chunk_bits;
		uint32_t block;

		memcpy(&block, index->pool + inode->data + 4 * i, sizeof(block));
		if (block != EROFS_NULL_BLOCK &&
		    !blocks_ok(index, block, left < chunk ? left : chunk))
			return false;
	}
	return true;
}

static bool inode_ok(const struct index *index, const struct index_inode *inode)
{
	if (!xattr_ok(index, inode->xattr) || inode->mtime_nsec >= 1000000000u ||
	    inode->chunked > 1 || (inode->chunked && !S_ISREG(inode->mode)))
		return false;
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		if (inode->size > INT64_MAX)
			return false;
		if (inode->chunked)
			return map_ok(index, inode);
		return inode->size == 0 ||
		       blocks_ok(index, inode->data, erofs_map_count(inode->size, 0));
	case S_IFLNK:
		return inode->size > 0 && inode->size < TREE_PATH_MAX &&
		       in_pool(index, inode->data, inode->size) &&
		       !memchr(index->pool + inode->data, '\0', (size_t)inode->size);
	case S_IFDIR:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return inode->size == 0;
	default:
		return false;
	}
}

static const char *check(struct index *index)
{
	const struct index_header *h = index->map;
	uint64_t size = sizeof(*h);

	if (index->map_size < sizeof(*h))
		return "it is too short";
	if (h->magic != INDEX_MAGIC)
		return "it is not an index of this version";
	size += (uint64_t)h->node_count * sizeof(*index->nodes);
	size += (uint64_t)h->inode_count * sizeof(*index->inodes);
	size += h->pool_size;
	if (size != index->map_size || !h->node_count || h->pool_size > TREE_POOL_MAX ||
	    h->data_blocks > h->disk_blocks)
		return "its sizes do not add up";
	if (h->checksum != index_checksum(index->map, index->map_size))
		return "its checksum is wrong";
	index->header = h;
	index->nodes = (const void *)(h + 1);
	index->inodes = (const void *)(index->nodes + h->node_count);
	index->pool = (const char *)(index->inodes + h->inode_count);
	for (uint32_t i = 0; i < h->inode_count; i++)
		if (!inode_ok(index, &index->inodes[i]))
			return "an inode is damaged";
	for (uint32_t i = 0; i < h->node_count; i++)
		if (!node_ok(index, i))
			return "a node is damaged";
	return NULL;
}

int index_open(int fd, struct index *ret_index, struct err *err)
{
	struct index index = { 0 };
	const char *problem;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot stat a layer's index: %m");
	if (st.st_size < (off_t)sizeof(struct index_header) ||
	    st.st_size > (off_t)TREE_POOL_MAX * 4)
		return err_set(err, -EBADMSG, "a layer's index is damaged: bad size");
	index.map_size = (size_t)st.st_size;
	index.map = mmap(NULL, index.map_size, PROT_READ, MAP_SHARED, fd, 0);
	if (index.map == MAP_FAILED)
		return err_set(err, -errno, "cannot map a layer's index: %m");
	problem = check(&index);
	if (problem) {
		index_close(&index);
		return err_set(err, -EBADMSG, "a layer's index is damaged: %s", problem);
	}
	*ret_index = index;
	return 0;
}

void index_close(struct index *index)
{
	if (index->map)
		munmap(index->map, index->map_size);
	*index = (struct index){ 0 };
}
