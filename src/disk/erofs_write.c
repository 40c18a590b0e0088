/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/erofs_write.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/hash.h"
#include "disk/out.h"

#define FIRST_NID 2u /* 0 means "none" to some readers; inodes are two slots */
#define BUFFER_SIZE (256u << 10)

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

uint32_t erofs_xattr_size(const struct tree *tree, uint32_t xattr)
{
	uint32_t size = 0;

	if (xattr)
		memcpy(&size, tree->pool + xattr, sizeof(size));
	return size;
}

uint64_t erofs_map_count(uint64_t size, unsigned chunk_bits)
{
	uint64_t blocks = (size >> EROFS_BLOCK_BITS) + ((size & (EROFS_BLOCK_SIZE - 1)) != 0);

	return (blocks >> chunk_bits) + ((blocks & (((uint64_t)1 << chunk_bits) - 1)) != 0);
}

/* Calls fn for every name in the order of the area: the root, then the children of each directory.
 * An inode with several names comes several times. */
static int each_node(const struct tree *tree, int (*fn)(void *ctx, uint32_t node), void *ctx)
{
	int r = fn(ctx, TREE_ROOT);

	for (uint32_t dir = TREE_ROOT; r == 0 && dir != TREE_NONE; dir = tree_next(tree, dir)) {
		uint32_t child = tree->nodes[dir].first_child;

		for (; r == 0 && child != TREE_NONE; child = tree->nodes[child].next)
			if (!tree_is(tree, child, TREE_DEAD))
				r = fn(ctx, child);
	}
	return r;
}

/* Directories' contents */

/* Goes through the names of a directory in byte order, `.` and `..` among them. */
struct dir_cursor {
	const struct tree *tree;
	uint32_t dir;
	uint32_t child;
	unsigned dots; /* of the two, how many were passed */
};

struct dir_name {
	const char *name;
	uint32_t length;
	uint32_t node;
};

static void cursor_init(struct dir_cursor *cursor, const struct tree *tree, uint32_t dir)
{
	*cursor = (struct dir_cursor){ tree, dir, tree->nodes[dir].first_child, 0 };
}

/* Whether `.` or `..` (the dots-th of the two) comes before this name. Names that sort between or
 * around them are those that begin with a byte up to '.'. */
static bool dots_first(const char *name, uint32_t length, unsigned dots)
{
	uint32_t dot_length = dots + 1;
	uint32_t shorter = length < dot_length ? length : dot_length;
	int order = memcmp("..", name, shorter);

	return order ? order < 0 : dot_length < length;
}

static bool cursor_next(struct dir_cursor *cursor, struct dir_name *ret)
{
	const struct tree *tree = cursor->tree;
	const struct tree_node *child;

	while (cursor->child != TREE_NONE && tree_is(tree, cursor->child, TREE_DEAD))
		cursor->child = tree->nodes[cursor->child].next;
	child = cursor->child != TREE_NONE ? &tree->nodes[cursor->child] : NULL;
	if (cursor->dots < 2 &&
	    (!child || dots_first(tree->pool + child->name, child->name_length, cursor->dots))) {
		ret->name = "..";
		ret->length = ++cursor->dots;
		ret->node = cursor->dots == 1 ? cursor->dir : tree->nodes[cursor->dir].parent;
		return true;
	}
	if (!child)
		return false;
	*ret = (struct dir_name){ tree->pool + child->name, child->name_length, cursor->child };
	cursor->child = child->next;
	return true;
}

/* How many of the next names share a block, and the bytes they take; the cursor moves past them. */
static uint32_t cursor_skip_block(struct dir_cursor *cursor, uint32_t *ret_bytes)
{
	struct dir_cursor ahead = *cursor;
	struct dir_name name;
	uint32_t count = 0;
	uint32_t bytes = 0;

	while (cursor_next(&ahead, &name)) {
		uint32_t more = (uint32_t)sizeof(struct erofs_dirent) + name.length;

		if (bytes + more > EROFS_BLOCK_SIZE)
			break;
		bytes += more;
		count++;
		*cursor = ahead;
	}
	*ret_bytes = bytes;
	return count;
}

static uint64_t dir_size(const struct tree *tree, uint32_t dir)
{
	struct dir_cursor cursor;
	uint32_t bytes = 0;
	uint32_t next = 0;
	uint64_t size = 0;

	cursor_init(&cursor, tree, dir);
	while (cursor_skip_block(&cursor, &next) > 0) {
		size += bytes ? EROFS_BLOCK_SIZE : 0;
		bytes = next;
	}
	return size + bytes;
}

static uint8_t file_type(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EROFS_FT_DIR;
	case S_IFCHR:
		return EROFS_FT_CHR;
	case S_IFBLK:
		return EROFS_FT_BLK;
	case S_IFIFO:
		return EROFS_FT_FIFO;
	case S_IFSOCK:
		return EROFS_FT_SOCK;
	case S_IFLNK:
		return EROFS_FT_SYMLINK;
	default:
		return EROFS_FT_REG;
	}
}

/* One block of a directory; the bytes used, 0 after the last. */
static uint32_t fill_dir_block(struct dir_cursor *cursor, uint8_t block[EROFS_BLOCK_SIZE])
{
	struct dir_cursor reader = *cursor;
	uint32_t bytes;
	uint32_t count = cursor_skip_block(cursor, &bytes);
	uint32_t name_offset = count * (uint32_t)sizeof(struct erofs_dirent);

	memset(block, 0, EROFS_BLOCK_SIZE);
	for (uint32_t i = 0; i < count; i++) {
		const struct tree *tree = reader.tree;
		struct dir_name name;

		cursor_next(&reader, &name);
		const struct tree_inode *inode = &tree->inodes[tree->nodes[name.node].inode];
		struct erofs_dirent dirent = { .nid = inode->nid,
					       .nameoff = (uint16_t)name_offset,
					       .file_type = file_type(inode->mode) };
		memcpy(block + i * sizeof(dirent), &dirent, sizeof(dirent));
		memcpy(block + name_offset, name.name, name.length);
		name_offset += name.length;
	}
	return bytes;
}

/* Layout */

/* How an inode's content is kept: what follows the inode, and blocks elsewhere. */
struct shape {
	enum erofs_layout layout;
	uint32_t head; /* inode, xattrs, block map */
	uint32_t tail; /* inline data after that, which may not cross a block */
	uint32_t blocks;
};

static struct shape shape_of(const struct tree *tree, const struct tree_inode *inode)
{
	uint32_t xattr = erofs_xattr_size(tree, inode->xattr);
	struct shape shape = { EROFS_LAYOUT_PLAIN, (uint32_t)sizeof(struct erofs_inode) + xattr, 0,
			       0 };

	if (S_ISREG(inode->mode) && inode->chunked) {
		shape.layout = EROFS_LAYOUT_CHUNK;
		shape.head += 4 * (uint32_t)erofs_map_count(inode->size, inode->chunk_bits);
	} else if (S_ISDIR(inode->mode) || S_ISLNK(inode->mode)) {
		shape.tail = (uint32_t)(inode->size % EROFS_BLOCK_SIZE);
		shape.blocks = (uint32_t)(inode->size / EROFS_BLOCK_SIZE);
		/* With xattrs of an odd size a nearly whole block fits behind no slot. */
		if (shape.tail && shape.tail <= EROFS_BLOCK_SIZE - xattr % EROFS_SLOT_SIZE) {
			shape.layout = EROFS_LAYOUT_INLINE;
		} else if (shape.tail) {
			shape.tail = 0;
			shape.blocks++;
		}
	}
	return shape;
}

struct planner {
	struct tree *tree;
	struct erofs_plan plan;
	uint64_t position; /* in the inode area */
	uint64_t blocks;
};

static int plan_node(void *ctx, uint32_t node)
{
	struct planner *p = ctx;
	struct tree *tree = p->tree;
	struct tree_inode *inode = &tree->inodes[tree->nodes[node].inode];
	uint64_t start = round_up(p->position, EROFS_SLOT_SIZE);
	struct shape shape;

	if (tree_is(tree, node, TREE_DIR)) {
		if (node != TREE_ROOT)
			tree->inodes[tree->nodes[tree->nodes[node].parent].inode].nlink++;
		inode->nlink = 1;
		inode->size = dir_size(tree, node);
	}
	if (inode->nlink++ && !S_ISDIR(inode->mode))
		return 0;
	shape = shape_of(tree, inode);
	if ((start + shape.head) % EROFS_BLOCK_SIZE + shape.tail > EROFS_BLOCK_SIZE)
		start = round_up(round_up(start + shape.head, EROFS_BLOCK_SIZE) - shape.head,
				 EROFS_SLOT_SIZE);
	p->blocks += shape.blocks;
	p->plan.chunked |= shape.layout == EROFS_LAYOUT_CHUNK;
	p->position = start + shape.head + shape.tail;
	if (p->position / EROFS_BLOCK_SIZE + p->blocks >= UINT32_MAX / 2)
		return -E2BIG;
	inode->nid = (uint32_t)(start / EROFS_SLOT_SIZE);
	inode->ino = p->plan.inodes++;
	return 0;
}

int erofs_plan(struct tree *tree, struct erofs_plan *ret_plan)
{
	struct planner p = { .tree = tree, .position = (uint64_t)FIRST_NID * EROFS_SLOT_SIZE };
	int r;

	for (uint32_t i = 0; i < tree->inode_count; i++)
		tree->inodes[i].nlink = 0;
	r = each_node(tree, plan_node, &p);
	if (r < 0)
		return r;
	p.plan.inode_blocks = (uint32_t)(round_up(p.position, EROFS_BLOCK_SIZE) / EROFS_BLOCK_SIZE);
	p.plan.dir_blocks = (uint32_t)p.blocks;
	*ret_plan = p.plan;
	return 0;
}

/* Writing */

struct writer {
	const struct tree *tree;
	const struct erofs_place *place;
	struct out out;
	uint64_t area;       /* byte offset of the inode area */
	uint32_t next_block; /* the next of those after it */
	uint32_t next_link;  /* ino of the first symbolic link whose block is still to be written */
};

static int add_map(struct writer *w, const struct tree_inode *inode)
{
	uint64_t count = erofs_map_count(inode->size, inode->chunk_bits);
	uint32_t base = w->place->layer_base[inode->layer];
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < count; i++) {
		uint32_t block;

		memcpy(&block, w->tree->pool + inode->data + 4 * i, sizeof(block));
		if (block != EROFS_NULL_BLOCK)
			block += base;
		r = out_add(&w->out, &block, sizeof(block));
	}
	return r;
}

/* The last, partial block of a directory, or a link's target, behind the inode. */
static int add_tail(struct writer *w, uint32_t node, const struct tree_inode *inode, uint32_t tail)
{
	uint8_t block[EROFS_BLOCK_SIZE];
	struct dir_cursor cursor;

	if (S_ISLNK(inode->mode))
		return out_add(&w->out, w->tree->pool + inode->data, tail);
	cursor_init(&cursor, w->tree, node);
	for (uint64_t i = 0; i < inode->size / EROFS_BLOCK_SIZE; i++) {
		uint32_t bytes;

		cursor_skip_block(&cursor, &bytes);
	}
	fill_dir_block(&cursor, block);
	return out_add(&w->out, block, tail);
}

static int write_inode(void *ctx, uint32_t node)
{
	struct writer *w = ctx;
	const struct tree_inode *inode = &w->tree->inodes[w->tree->nodes[node].inode];
	struct shape shape = shape_of(w->tree, inode);
	uint32_t xattr = erofs_xattr_size(w->tree, inode->xattr);
	uint64_t start = w->area + (uint64_t)inode->nid * EROFS_SLOT_SIZE;
	struct erofs_inode disk = {
		.format = (uint16_t)(EROFS_FORMAT_EXTENDED | shape.layout
								     << EROFS_FORMAT_LAYOUT_SHIFT),
		.xattr_icount = (uint16_t)(xattr ? (xattr - EROFS_XATTR_HEADER_SIZE) / 4 + 1 : 0),
		.mode = inode->mode,
		.size = inode->size,
		.ino = inode->ino + 1,
		.uid = inode->uid,
		.gid = inode->gid,
		.mtime = inode->mtime,
		.mtime_nsec = inode->mtime_nsec,
		.nlink = inode->nlink,
	};
	int r;

	if (start < w->out.offset)
		return 0; /* another name of an inode that was written */
	if (shape.blocks) {
		disk.data = w->next_block;
		w->next_block += shape.blocks;
	} else if (shape.layout == EROFS_LAYOUT_CHUNK) {
		disk.data = inode->chunk_bits;
	} else if (S_ISREG(inode->mode) && inode->size) {
		disk.data = inode->data + w->place->layer_base[inode->layer];
	} else if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		disk.data = inode->data;
	}
	r = out_seek(&w->out, start);
	if (r == 0)
		r = out_add(&w->out, &disk, sizeof(disk));
	if (r == 0 && xattr)
		r = out_add(&w->out, w->tree->pool + inode->xattr + 4, xattr);
	if (r == 0 && shape.layout == EROFS_LAYOUT_CHUNK)
		r = add_map(w, inode);
	if (r == 0 && shape.tail)
		r = add_tail(w, node, inode, shape.tail);
	return r;
}

static int write_blocks(void *ctx, uint32_t node)
{
	struct writer *w = ctx;
	const struct tree_inode *inode = &w->tree->inodes[w->tree->nodes[node].inode];
	uint8_t block[EROFS_BLOCK_SIZE] = { 0 };
	struct shape shape;
	struct dir_cursor cursor;
	int r = 0;

	if (S_ISLNK(inode->mode)) {
		shape = shape_of(w->tree, inode);
		if (!shape.blocks || inode->ino < w->next_link)
			return 0; /* another name of a link that was written */
		w->next_link = inode->ino + 1;
		memcpy(block, w->tree->pool + inode->data, (size_t)inode->size);
		return out_add(&w->out, block, sizeof(block));
	}
	if (!S_ISDIR(inode->mode))
		return 0;
	shape = shape_of(w->tree, inode);
	cursor_init(&cursor, w->tree, node);
	for (uint32_t i = 0; r == 0 && i < shape.blocks; i++) {
		fill_dir_block(&cursor, block);
		r = out_add(&w->out, block, sizeof(block));
	}
	return r;
}

static int write_super(const struct tree *tree, const struct erofs_plan *plan,
		       const struct erofs_place *place)
{
	uint8_t block[EROFS_BLOCK_SIZE] = { 0 };
	struct erofs_super_block super = {
		.magic = EROFS_MAGIC,
		.feature_compat = EROFS_COMPAT_SB_CHKSUM | EROFS_COMPAT_MTIME,
		.feature_incompat = plan->chunked ? EROFS_INCOMPAT_CHUNKED_FILE : 0,
		.block_bits = EROFS_BLOCK_BITS,
		.root_nid = (uint16_t)tree->inodes[tree->nodes[TREE_ROOT].inode].nid,
		.inos = plan->inodes,
		.blocks = place->total_blocks,
		.meta_blkaddr = place->meta_block,
	};

	memcpy(block + EROFS_SUPER_OFFSET, &super, sizeof(super));
	super.checksum =
		hash_crc32c(~0u, block + EROFS_SUPER_OFFSET, EROFS_BLOCK_SIZE - EROFS_SUPER_OFFSET);
	memcpy(block + EROFS_SUPER_OFFSET, &super, sizeof(super));
	return fd_pwrite_all(place->fd, block, sizeof(block), 0);
}

int erofs_write(const struct tree *tree, const struct erofs_plan *plan,
		const struct erofs_place *place)
{
	struct writer w = { .tree = tree, .place = place };
	uint32_t blocks = place->meta_block + plan->inode_blocks;
	int r;

	w.area = (uint64_t)place->meta_block * EROFS_BLOCK_SIZE;
	w.next_block = blocks;
	r = out_init(&w.out, place->fd, w.area, BUFFER_SIZE);
	if (r == 0)
		r = each_node(tree, write_inode, &w);
	if (r == 0)
		r = out_seek(&w.out, (uint64_t)blocks * EROFS_BLOCK_SIZE);
	if (r == 0)
		r = each_node(tree, write_blocks, &w);
	if (r == 0)
		r = out_flush(&w.out);
	out_release(&w.out);
	return r == 0 ? write_super(tree, plan, place) : r;
}
