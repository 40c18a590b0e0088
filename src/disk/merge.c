/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The merged tree starts empty; each layer's index is replayed over it, from the lowest up, in
 * passes over the index's nodes (parents come before children):
 *   1. hard links to files of lower layers find their inode, while it is still there;
 *   2. whiteouts and opaque directories remove, so that they concern lower layers only, wherever in
 *      the archive they were;
 *   3. the layer's own nodes are put in place;
 *   4. hard links not found in 1 are looked for among what is there now.
 * An implicit directory keeps the lower one's metadata and follows a lower symbolic link (inside
 * the root); an explicit one replaces metadata, or whatever is not a directory.
 *
 * Then metadata are written (erofs_write.h); inodes point at their data in the layers' disks, whose
 * places in the concatenation follow from the sizes.
 */
#include "disk/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/erofs_write.h"
#include "disk/index.h"
#include "disk/tree.h"

struct merge {
	struct tree tree;
	uint32_t *sizes; /* owned: blocks of each layer's disk */
	uint32_t last_xattr;
	struct err *err;
};

/* One layer while it is replayed. */
struct replay {
	struct merge *merge;
	struct tree *tree; /* of merge */
	struct index index;
	uint16_t layer;
	uint32_t *nodes;  /* owned: per node of the index the merged one; of a LINK, the inode */
	uint32_t *inodes; /* owned: per inode of the index the merged one, for hard links */
	uint8_t *needed;  /* owned: per node, whether it or something below is to be put in place */
};

static void replay_release(struct replay *r)
{
	index_close(&r->index);
	free(r->nodes);
	free(r->inodes);
	free(r->needed);
}

static const char *name_of(const struct replay *replay, uint32_t n)
{
	return replay->index.pool + replay->index.nodes[n].name;
}

static int replay_failed(const struct replay *replay, uint32_t n, int code, const char *what)
{
	return err_set(replay->merge->err, code, "cannot merge layer %u: '%.*s' %s",
		       replay->layer + 1u, (int)replay->index.nodes[n].name_length,
		       name_of(replay, n), what);
}

/* Reading */

static int open_index(const struct merge_layer *layer, struct index *ret_index, struct err *err)
{
	AUTO_CLOSE int fd = open(layer->index_path, O_RDONLY | O_CLOEXEC);
	CLEANUP(index_close) struct index index = { 0 };
	struct stat st;
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", layer->index_path);
	if (stat(layer->disk_path, &st) < 0)
		return err_set(err, -errno, "cannot stat '%s': %m", layer->disk_path);
	r = index_open(fd, &index, err);
	if (r != 0) {
		err_context(err, "'%s'", layer->index_path);
		return r;
	}
	if ((uint64_t)st.st_size != (uint64_t)index.header->disk_blocks * EROFS_BLOCK_SIZE)
		return err_set(err, -EBADMSG, "'%s' does not have the size its index says",
			       layer->disk_path);
	*ret_index = index;
	index = (struct index){ 0 };
	return 0;
}

static int replay_init(struct replay *replay)
{
	const struct index_header *h = replay->index.header;

	replay->nodes = reallocarray(NULL, h->node_count, sizeof(*replay->nodes));
	replay->inodes = reallocarray(NULL, (size_t)h->inode_count + 1, sizeof(*replay->inodes));
	replay->needed = reallocarray(NULL, h->node_count, 1);
	if (!replay->nodes || !replay->inodes || !replay->needed)
		return err_set(replay->merge->err, -ENOMEM, "cannot merge layers: %m");
	memset(replay->nodes, 0xff, (size_t)h->node_count * sizeof(*replay->nodes));
	memset(replay->inodes, 0xff, (size_t)h->inode_count * sizeof(*replay->inodes));
	memset(replay->needed, 0, h->node_count);
	for (uint32_t n = h->node_count; n-- > 0;) {
		const struct index_node *node = &replay->index.nodes[n];

		if (node->inode != TREE_NONE && !(node->flags & TREE_IMPLICIT))
			replay->needed[n] = 1;
		replay->needed[node->parent] |= replay->needed[n];
	}
	return 0;
}

/* Copying inodes */

static int copy_bytes(struct replay *replay, uint32_t offset, size_t size, uint32_t *ret_offset)
{
	int r = tree_pool_reserve(replay->tree, size, ret_offset);

	if (r == 0)
		memcpy(replay->tree->pool + *ret_offset, replay->index.pool + offset, size);
	return r;
}

static int copy_xattr(struct replay *replay, uint32_t offset, uint32_t *ret_offset)
{
	struct tree *tree = replay->tree;
	uint32_t last = replay->merge->last_xattr;
	uint32_t size;
	int r;

	if (!offset)
		return 0;
	memcpy(&size, replay->index.pool + offset, sizeof(size));
	if (last && erofs_xattr_size(tree, last) == size &&
	    memcmp(tree->pool + last, replay->index.pool + offset, size + sizeof(size)) == 0) {
		*ret_offset = last;
		return 0;
	}
	r = copy_bytes(replay, offset, size + sizeof(size), ret_offset);
	if (r == 0)
		replay->merge->last_xattr = *ret_offset;
	return r;
}

/* The merged inode of one of the index. Directories get one for each name. */
static int copy_inode(struct replay *replay, uint32_t number, uint32_t *ret_inode)
{
	const struct index_inode *from = &replay->index.inodes[number];
	struct tree_inode to = {
		.mode = from->mode,
		.layer = replay->layer,
		.uid = from->uid,
		.gid = from->gid,
		.mtime = from->mtime,
		.mtime_nsec = from->mtime_nsec,
		.size = from->size,
		.data = from->data,
		.chunked = from->chunked,
		.chunk_bits = from->chunk_bits,
	};
	int r;

	if (!S_ISDIR(from->mode) && replay->inodes[number] != TREE_NONE) {
		*ret_inode = replay->inodes[number];
		return 0;
	}
	r = copy_xattr(replay, from->xattr, &to.xattr);
	if (r == 0 && S_ISLNK(from->mode))
		r = copy_bytes(replay, from->data, (size_t)from->size, &to.data);
	if (r == 0 && from->chunked)
		r = copy_bytes(replay, from->data,
			       (size_t)erofs_map_count(from->size, from->chunk_bits) * 4, &to.data);
	if (r == 0)
		r = tree_add_inode(replay->tree, &to, ret_inode);
	if (r == 0)
		replay->inodes[number] = *ret_inode;
	return r;
}

/* Passes */

/* The inode a hard link to a lower layer means, TREE_NONE if there is nothing of that name. */
static int find_link(struct replay *replay, uint32_t n)
{
	const char *path = replay->index.pool + replay->index.nodes[n].inode;
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	uint32_t node;
	uint32_t dir;
	int r = tree_walk(replay->tree, TREE_ROOT, path, slash ? (size_t)(slash - path) : 0, false,
			  &dir);

	if (r == -ENOMEM)
		return r;
	node = r < 0 ? TREE_NONE : tree_lookup(replay->tree, dir, base, strlen(base));
	if (node == TREE_NONE)
		return 0;
	if (tree_is(replay->tree, node, TREE_DIR))
		return replay_failed(replay, n, -EBADMSG, "is a hard link to a directory");
	replay->nodes[n] = replay->tree->nodes[node].inode;
	return 0;
}

static int find_links(struct replay *replay)
{
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < replay->index.header->node_count; n++)
		if (replay->index.nodes[n].flags & TREE_LINK)
			r = find_link(replay, n);
	return r;
}

/* The lower directory that a node of the index stands for, after what it hides is gone; or none. */
static uint32_t hide_at(struct replay *replay, uint32_t parent, uint32_t n)
{
	const struct index_node *node = &replay->index.nodes[n];
	struct tree *tree = replay->tree;
	uint32_t child = tree_lookup(tree, parent, name_of(replay, n), node->name_length);

	if (child == TREE_NONE)
		return TREE_NONE;
	if (node->flags & TREE_WHITEOUT) {
		tree_remove(tree, child);
		return TREE_NONE;
	}
	if (!(node->flags & TREE_DIR))
		return TREE_NONE;
	if (tree_is(tree, child, TREE_DIR))
		return child;
	if (!(node->flags & TREE_IMPLICIT) ||
	    tree_walk(tree, parent, name_of(replay, n), node->name_length, false, &child) < 0)
		return TREE_NONE;
	return child;
}

static void hide(struct replay *replay)
{
	for (uint32_t n = 0; n < replay->index.header->node_count; n++) {
		const struct index_node *node = &replay->index.nodes[n];
		uint32_t parent = replay->nodes[node->parent];
		uint32_t at = TREE_ROOT;

		if (node->flags & TREE_LINK)
			continue; /* its place holds the inode */
		if (n != TREE_ROOT)
			at = parent == TREE_NONE ? TREE_NONE : hide_at(replay, parent, n);
		replay->nodes[n] = at;
		if (node->flags & TREE_OPAQUE && at != TREE_NONE)
			tree_remove_children(replay->tree, at);
	}
}

static int put(struct replay *replay, uint32_t n, uint32_t inode)
{
	const struct index_node *node = &replay->index.nodes[n];
	uint32_t ignored;

	return tree_put(replay->tree, replay->nodes[node->parent], name_of(replay, n),
			node->name_length, node->flags & TREE_DIR, inode,
			node->flags & TREE_LINK ? &ignored : &replay->nodes[n]);
}

static int place_root(struct replay *replay)
{
	const struct index_node *node = &replay->index.nodes[TREE_ROOT];
	uint32_t inode;
	int r;

	replay->nodes[TREE_ROOT] = TREE_ROOT;
	if (node->flags & TREE_IMPLICIT)
		return 0;
	r = copy_inode(replay, node->inode, &inode);
	if (r == 0)
		replay->tree->nodes[TREE_ROOT].inode = inode;
	return r;
}

static int place_node(struct replay *replay, uint32_t n)
{
	const struct index_node *node = &replay->index.nodes[n];
	uint32_t inode;
	int r;

	if (n == TREE_ROOT)
		return place_root(replay);
	if (!replay->needed[n])
		return 0;
	if (node->flags & TREE_LINK)
		return replay->nodes[n] == TREE_NONE ? 0 : put(replay, n, replay->nodes[n]);
	if (node->flags & TREE_IMPLICIT)
		return tree_walk(replay->tree, replay->nodes[node->parent], name_of(replay, n),
				 node->name_length, true, &replay->nodes[n]);
	r = copy_inode(replay, node->inode, &inode);
	return r == 0 ? put(replay, n, inode) : r;
}

static int place(struct replay *replay)
{
	for (uint32_t n = 0; n < replay->index.header->node_count; n++) {
		int r = place_node(replay, n);

		if (r == -ENOTDIR || r == -ELOOP)
			return replay_failed(replay, n, -EBADMSG,
					     "is used as a directory, but lower layers have none");
		if (r < 0)
			return replay_failed(replay, n, r, "cannot be kept");
	}
	return 0;
}

/* Links whose target came with the layer itself, by another name than the link used. */
static int place_late_links(struct replay *replay)
{
	for (uint32_t n = 0; n < replay->index.header->node_count; n++) {
		int r;

		if (!(replay->index.nodes[n].flags & TREE_LINK) || replay->nodes[n] != TREE_NONE)
			continue;
		r = find_link(replay, n);
		if (r == 0 && replay->nodes[n] == TREE_NONE)
			return replay_failed(replay, n, -EBADMSG,
					     "is a hard link to a file that does not exist");
		if (r == 0)
			r = put(replay, n, replay->nodes[n]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int replay_layer(struct merge *merge, const struct merge_layer *layer, size_t number)
{
	CLEANUP(replay_release)
	struct replay replay = { .merge = merge, .tree = &merge->tree, .layer = (uint16_t)number };
	int r = open_index(layer, &replay.index, merge->err);

	if (!replay.index.header)
		return r;
	r = replay_init(&replay);
	if (r != 0)
		return r;
	merge->sizes[number] = replay.index.header->disk_blocks;
	r = find_links(&replay);
	if (r == 0)
		hide(&replay);
	if (r == 0)
		r = place(&replay);
	if (r == 0)
		r = place_late_links(&replay);
	return r;
}

/* Writing */

static int write_meta(struct merge *merge, size_t count, int fd)
{
	AUTO_FREE uint32_t *bases = xcalloc(count + 1, sizeof(*bases));
	struct erofs_place place = { .fd = fd, .meta_block = 1, .layer_base = bases };
	struct erofs_plan plan = { 0 };
	uint64_t blocks;
	int r;

	r = tree_sort(&merge->tree);
	if (r == 0)
		r = erofs_plan(&merge->tree, &plan);
	if (r != 0)
		return r;
	blocks = (uint64_t)place.meta_block + plan.inode_blocks + plan.dir_blocks;
	for (size_t i = 0; i < count; i++) {
		bases[i] = (uint32_t)blocks;
		blocks += merge->sizes[i];
		if (blocks >= EROFS_NULL_BLOCK)
			return -EFBIG;
	}
	place.total_blocks = (uint32_t)blocks;
	return erofs_write(&merge->tree, &plan, &place);
}

static void merge_release(struct merge *merge)
{
	tree_release(&merge->tree);
	free(merge->sizes);
}

static int add_empty_file(struct tree *tree, const char *directory, const char *name)
{
	const struct tree_inode empty = { .mode = S_IFREG | 0644 };
	uint32_t inode;
	uint32_t dir;
	uint32_t node;
	int r = tree_walk(tree, TREE_ROOT, directory, strlen(directory), true, &dir);

	if (r < 0 || tree_lookup(tree, dir, name, strlen(name)) != TREE_NONE)
		return r;
	r = tree_add_inode(tree, &empty, &inode);
	return r < 0 ? r : tree_add(tree, dir, name, strlen(name), 0, inode, &node);
}

static int add_mount_points(struct tree *tree)
{
	static const char *const directories[] = { "proc", "sys", "dev" };
	static const char *const files[] = { "hostname", "hosts", "resolv.conf" };
	uint32_t node;
	int r = 0;

	/* What is something else already is the image's business. */
	for (size_t i = 0; i < ARRAY_SIZE(directories) && r != -ENOMEM; i++)
		r = tree_walk(tree, TREE_ROOT, directories[i], strlen(directories[i]), true, &node);
	for (size_t i = 0; i < ARRAY_SIZE(files) && r != -ENOMEM; i++)
		r = add_empty_file(tree, "etc", files[i]);
	return r == -ENOMEM || r == -E2BIG ? r : 0;
}

int merge_layers(const struct merge_layer *layers, size_t count, enum merge_extras extras,
		 int meta_fd, struct err *err)
{
	CLEANUP(merge_release) struct merge merge = { .err = err };
	int r;

	if (count > UINT16_MAX)
		return err_set(err, -E2BIG, "an image of %zu layers", count);
	merge.sizes = xcalloc(count + 1, sizeof(*merge.sizes));
	r = tree_init(&merge.tree);
	if (r < 0)
		return err_set(err, r, "cannot merge layers: %m");
	for (size_t i = 0; i < count; i++) {
		r = replay_layer(&merge, &layers[i], i);
		if (r < 0)
			return r;
	}
	if (extras == MERGE_MOUNT_POINTS)
		r = add_mount_points(&merge.tree);
	if (r == 0)
		r = write_meta(&merge, count, meta_fd);
	return r < 0 ? err_set(err, r, "cannot write an image's metadata: %m") : 0;
}
