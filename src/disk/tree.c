/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/mem.h"

#define MAX_LINKS 40
#define MIN_SLOTS 1024u

const struct tree_inode tree_implicit_inode = { .mode = S_IFDIR | 0755 };

/* Makes room for one more item of an array. */
static int grow(void **items, uint32_t *capacity, uint32_t count, size_t item_size)
{
	uint32_t larger = *capacity ? *capacity + *capacity / 2 : 256;
	void *moved;

	if (count < *capacity)
		return 0;
	if (larger < *capacity || larger >= TREE_NONE / 2)
		return -E2BIG;
	moved = reallocarray(*items, larger, item_size);
	if (!moved)
		return -ENOMEM;
	*items = moved;
	*capacity = larger;
	return 0;
}

int tree_pool_reserve(struct tree *tree, size_t size, uint32_t *ret_offset)
{
	uint32_t start = (tree->pool_size + 3) & ~3u;
	uint32_t capacity = tree->pool_capacity;

	if (size > TREE_POOL_MAX || start > TREE_POOL_MAX - size)
		return -E2BIG;
	while (capacity < start + size)
		capacity = capacity ? capacity + capacity / 2 : 65536;
	if (capacity != tree->pool_capacity) {
		char *pool = realloc(tree->pool, capacity);

		if (!pool)
			return -ENOMEM;
		tree->pool = pool;
		tree->pool_capacity = capacity;
	}
	memset(tree->pool + tree->pool_size, 0, start - tree->pool_size);
	tree->pool_size = start + (uint32_t)size;
	*ret_offset = start;
	return 0;
}

int tree_pool_add(struct tree *tree, const void *data, size_t size, uint32_t *ret_offset)
{
	int r = tree_pool_reserve(tree, size + 1, ret_offset);

	if (r < 0)
		return r;
	memcpy(tree->pool + *ret_offset, data, size);
	tree->pool[*ret_offset + size] = '\0';
	return 0;
}

int tree_add_inode(struct tree *tree, const struct tree_inode *inode, uint32_t *ret_inode)
{
	int r = grow((void **)&tree->inodes, &tree->inode_capacity, tree->inode_count,
		     sizeof(*inode));

	if (r < 0)
		return r;
	tree->inodes[tree->inode_count] = *inode;
	*ret_inode = tree->inode_count++;
	return 0;
}

static uint32_t slot_of(const struct tree *tree, uint32_t parent, const char *name, size_t length)
{
	uint64_t hash = hash_fnv1a(tree->seed + parent * 0x9e3779b97f4a7c15u, name, length);

	return (uint32_t)(hash ^ hash >> 32) & (tree->slot_count - 1);
}

static void insert(struct tree *tree, uint32_t node)
{
	const struct tree_node *n = &tree->nodes[node];
	uint32_t slot = slot_of(tree, n->parent, tree->pool + n->name, n->name_length);

	while (tree->slots[slot])
		slot = (slot + 1) & (tree->slot_count - 1);
	tree->slots[slot] = node + 1;
}

/* Keeps the hash table at most half full; removed nodes leave it when it grows. */
static int grow_slots(struct tree *tree)
{
	uint32_t *slots;

	if (tree->slots && tree->node_count < tree->slot_count / 2)
		return 0;
	slots = calloc(tree->slots ? (size_t)tree->slot_count * 2 : MIN_SLOTS, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	tree->slot_count = tree->slots ? tree->slot_count * 2 : MIN_SLOTS;
	free(tree->slots);
	tree->slots = slots;
	for (uint32_t i = 1; i < tree->node_count; i++)
		if (!(tree->nodes[i].flags & TREE_DEAD))
			insert(tree, i);
	return 0;
}

uint32_t tree_lookup(const struct tree *tree, uint32_t parent, const char *name, size_t length)
{
	uint32_t slot = slot_of(tree, parent, name, length);

	for (; tree->slots[slot]; slot = (slot + 1) & (tree->slot_count - 1)) {
		const struct tree_node *n = &tree->nodes[tree->slots[slot] - 1];

		if (n->parent == parent && n->name_length == length && !(n->flags & TREE_DEAD) &&
		    memcmp(tree->pool + n->name, name, length) == 0)
			return tree->slots[slot] - 1;
	}
	return TREE_NONE;
}

int tree_add(struct tree *tree, uint32_t parent, const char *name, size_t length, uint8_t flags,
	     uint32_t inode, uint32_t *ret_node)
{
	struct tree_node node = { .parent = parent,
				  .inode = inode,
				  .first_child = TREE_NONE,
				  .next = TREE_NONE,
				  .name_length = (uint8_t)length,
				  .flags = flags };
	int r;

	if (length > EROFS_NAME_MAX)
		return -ENAMETOOLONG;
	r = grow((void **)&tree->nodes, &tree->node_capacity, tree->node_count, sizeof(node));
	if (r == 0)
		r = grow_slots(tree);
	if (r == 0)
		r = tree_pool_add(tree, name, length, &node.name);
	if (r < 0)
		return r;
	*ret_node = tree->node_count++;
	if (*ret_node != TREE_ROOT) {
		node.next = tree->nodes[parent].first_child;
		tree->nodes[parent].first_child = *ret_node;
	}
	tree->nodes[*ret_node] = node;
	if (*ret_node != TREE_ROOT)
		insert(tree, *ret_node);
	return 0;
}

int tree_init(struct tree *tree)
{
	uint32_t inode;
	uint32_t root;
	int r;

	*tree = (struct tree){ 0 };
	hash_random(&tree->seed, sizeof(tree->seed));
	r = tree_pool_add(tree, "", 0, &root); /* so that no offset in use is 0 */
	if (r == 0)
		r = tree_add_inode(tree, &tree_implicit_inode, &inode);
	if (r == 0)
		r = tree_add(tree, TREE_ROOT, "", 0, TREE_DIR | TREE_IMPLICIT, inode, &root);
	if (r < 0)
		tree_release(tree);
	return r;
}

void tree_release(struct tree *tree)
{
	free(tree->nodes);
	free(tree->inodes);
	free(tree->pool);
	free(tree->slots);
	*tree = (struct tree){ 0 };
}

void tree_remove(struct tree *tree, uint32_t node)
{
	tree->nodes[node].flags |= TREE_DEAD;
}

void tree_remove_children(struct tree *tree, uint32_t node)
{
	uint32_t child = tree->nodes[node].first_child;

	for (; child != TREE_NONE; child = tree->nodes[child].next)
		tree_remove(tree, child);
	tree->nodes[node].first_child = TREE_NONE;
}

int tree_put(struct tree *tree, uint32_t parent, const char *name, size_t length, uint8_t flags,
	     uint32_t inode, uint32_t *ret_node)
{
	uint32_t node = tree_lookup(tree, parent, name, length);

	if (node == TREE_NONE)
		return tree_add(tree, parent, name, length, flags, inode, ret_node);
	flags |= tree->nodes[node].flags & TREE_WHITEOUT;
	if (tree_is(tree, node, TREE_DIR) && !(flags & TREE_DIR)) {
		/* Its children stay in the hash table under its number, so the number goes too. */
		tree_remove(tree, node);
		return tree_add(tree, parent, name, length, flags, inode, ret_node);
	}
	if (flags & TREE_DIR)
		flags |= tree->nodes[node].flags & TREE_OPAQUE;
	tree->nodes[node].flags = flags;
	tree->nodes[node].inode = inode;
	*ret_node = node;
	return 0;
}

static int make_implicit(struct tree *tree, uint32_t parent, const char *name, size_t length,
			 uint32_t *ret_node)
{
	uint32_t inode;
	int r = tree_add_inode(tree, &tree_implicit_inode, &inode);

	if (r < 0)
		return r;
	return tree_put(tree, parent, name, length, TREE_DIR | TREE_IMPLICIT, inode, ret_node);
}

/* What is left to walk once a link is followed: its target, then the rest. At most 41 times 4 KiB.
 */
static char *expand(const struct tree *tree, uint32_t node, const char *rest, size_t rest_length)
{
	const struct tree_inode *inode = &tree->inodes[tree->nodes[node].inode];
	size_t length = (size_t)inode->size;
	char *path = xmalloc(length + 1 + rest_length + 1);

	memcpy(path, tree->pool + inode->data, length);
	path[length] = '/';
	memcpy(path + length + 1, rest, rest_length);
	path[length + 1 + rest_length] = '\0';
	return path;
}

static bool is_symlink(const struct tree *tree, uint32_t node)
{
	return !(tree->nodes[node].flags & TREE_LINK) &&
	       S_ISLNK(tree->inodes[tree->nodes[node].inode].mode);
}

int tree_walk(struct tree *tree, uint32_t from, const char *path, size_t length, bool create,
	      uint32_t *ret_dir)
{
	AUTO_FREE char *expanded = NULL;
	const char *end = path + length;
	uint32_t dir = from;
	int links = 0;
	int r;

	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);
		const char *rest = slash ? slash + 1 : end;
		uint32_t node;

		if (n == 0 || (n == 1 && path[0] == '.')) {
			path = rest;
			continue;
		}
		if (n == 2 && memcmp(path, "..", 2) == 0) {
			dir = tree->nodes[dir].parent;
			path = rest;
			continue;
		}
		node = tree_lookup(tree, dir, path, n);
		if (node == TREE_NONE || !tree_exists(tree, node)) {
			if (!create)
				return -ENOENT;
			r = make_implicit(tree, dir, path, n, &node);
			if (r < 0)
				return r;
		}
		if (tree_is(tree, node, TREE_DIR)) {
			dir = node;
			path = rest;
			continue;
		}
		if (!is_symlink(tree, node))
			return -ENOTDIR;
		if (++links > MAX_LINKS)
			return -ELOOP;
		char *longer = expand(tree, node, rest, (size_t)(end - rest));
		free(expanded);
		expanded = longer;
		if (longer[0] == '/')
			dir = TREE_ROOT;
		path = longer;
		end = longer + strlen(longer);
	}
	*ret_dir = dir;
	return 0;
}

static int compare_names(const void *a, const void *b, void *context)
{
	const struct tree *tree = context;
	const struct tree_node *x = &tree->nodes[*(const uint32_t *)a];
	const struct tree_node *y = &tree->nodes[*(const uint32_t *)b];
	size_t shorter = x->name_length < y->name_length ? x->name_length : y->name_length;
	int order = memcmp(tree->pool + x->name, tree->pool + y->name, shorter);

	return order ? order : (int)x->name_length - (int)y->name_length;
}

/* Sorts one directory with the help of an array that grows as needed. */
static int sort_children(struct tree *tree, uint32_t dir, uint32_t **children, uint32_t *capacity)
{
	uint32_t *link = &tree->nodes[dir].first_child;
	uint32_t count = 0;

	for (uint32_t c = *link; c != TREE_NONE; c = tree->nodes[c].next) {
		int r = grow((void **)children, capacity, count, sizeof(**children));

		if (r < 0)
			return r;
		if (!(tree->nodes[c].flags & TREE_DEAD))
			(*children)[count++] = c;
	}
	if (count > 1)
		qsort_r(*children, count, sizeof(**children), compare_names, tree);
	for (uint32_t i = 0; i < count; i++) {
		*link = (*children)[i];
		link = &tree->nodes[(*children)[i]].next;
	}
	*link = TREE_NONE;
	return 0;
}

int tree_sort(struct tree *tree)
{
	AUTO_FREE uint32_t *children = NULL;
	uint32_t capacity = 0;

	for (uint32_t i = 0; i < tree->node_count; i++) {
		int r = 0;

		if (tree_is(tree, i, TREE_DIR))
			r = sort_children(tree, i, &children, &capacity);
		if (r < 0)
			return r;
	}
	return 0;
}

uint32_t tree_next(const struct tree *tree, uint32_t node)
{
	uint32_t next = tree->nodes[node].first_child;

	for (;;) {
		while (next != TREE_NONE && (tree->nodes[next].flags & TREE_DEAD))
			next = tree->nodes[next].next;
		if (next != TREE_NONE || node == TREE_ROOT)
			return next;
		next = tree->nodes[node].next;
		node = tree->nodes[node].parent;
	}
}
