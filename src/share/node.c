/* SPDX-License-Identifier: Apache-2.0 */
#include "share/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#define BUCKETS_FIRST 256

static uint64_t mix(uint64_t value)
{
	value *= 0x9e3779b97f4a7c15u;
	return value ^ (value >> 32);
}

static uint64_t hash_name(const struct node *parent, const char *name)
{
	return mix(hash_fnv1a(mix(parent->id), name, strlen(name)));
}

static uint64_t hash_node(const struct node *node, enum node_key key)
{
	switch (key) {
	case NODE_BY_ID:
		return mix(node->id);
	case NODE_BY_NAME:
		return hash_name(node->parent, node->name);
	default:
		return mix((uint64_t)node->watch);
	}
}

static struct node **bucket(const struct node_table *table, enum node_key key, uint64_t hash)
{
	return &table->buckets[key][hash & (table->bucket_count - 1)];
}

static void list(struct node_table *table, struct node *node, enum node_key key)
{
	struct node **slot = bucket(table, key, hash_node(node, key));

	node->next[key] = *slot;
	node->listed[key] = true;
	*slot = node;
}

static void unlist(struct node_table *table, struct node *node, enum node_key key)
{
	struct node **slot;

	if (!node->listed[key])
		return;
	slot = bucket(table, key, hash_node(node, key));
	while (*slot != node)
		slot = &(*slot)->next[key];
	*slot = node->next[key];
	node->listed[key] = false;
}

static void grow(struct node_table *table)
{
	struct node_table larger = { .bucket_count = table->bucket_count * 2 };

	for (int key = 0; key < NODE_KEY_COUNT; key++) {
		larger.buckets[key] = xcalloc(larger.bucket_count, sizeof(struct node *));
		for (size_t i = 0; i < table->bucket_count; i++) {
			struct node *next;

			for (struct node *node = table->buckets[key][i]; node; node = next) {
				next = node->next[key];
				list(&larger, node, (enum node_key)key);
			}
		}
		free(table->buckets[key]);
		table->buckets[key] = larger.buckets[key];
	}
	table->bucket_count = larger.bucket_count;
}

static void count_one(struct node_table *table)
{
	table->budget->count++;
	if (++table->count > table->bucket_count * 2)
		grow(table);
}

void node_table_init(struct node_table *table, const struct stat *st, struct node_budget *budget)
{
	struct node *root = xcalloc(1, sizeof(*root));

	*table = (struct node_table){
		.bucket_count = BUCKETS_FIRST, .count = 1, .last_id = NODE_ROOT, .budget = budget
	};
	budget->count++;
	for (int key = 0; key < NODE_KEY_COUNT; key++)
		table->buckets[key] = xcalloc(BUCKETS_FIRST, sizeof(struct node *));
	*root = (struct node){ .id = NODE_ROOT,
			       .is_dir = S_ISDIR(st->st_mode),
			       .device = st->st_dev,
			       .inode = st->st_ino,
			       .lookups = 1,
			       .watch = -1 };
	list(table, root, NODE_BY_ID);
}

void node_table_release(struct node_table *table)
{
	for (size_t i = 0; i < table->bucket_count; i++) {
		struct node *next;

		for (struct node *node = table->buckets[NODE_BY_ID][i]; node; node = next) {
			next = node->next[NODE_BY_ID];
			free(node->name);
			free(node);
		}
	}
	for (int key = 0; key < NODE_KEY_COUNT; key++)
		free(table->buckets[key]);
	table->budget->count -= table->count;
	*table = (struct node_table){ 0 };
}

struct node *node_find(const struct node_table *table, uint64_t id)
{
	struct node *node = *bucket(table, NODE_BY_ID, mix(id));

	while (node && node->id != id)
		node = node->next[NODE_BY_ID];
	return node;
}

struct node *node_find_child(const struct node_table *table, const struct node *parent,
			     const char *name)
{
	struct node *node = *bucket(table, NODE_BY_NAME, hash_name(parent, name));

	while (node && (node->parent != parent || !str_eq(node->name, name)))
		node = node->next[NODE_BY_NAME];
	return node;
}

struct node *node_find_watch(const struct node_table *table, int watch)
{
	struct node *node = *bucket(table, NODE_BY_WATCH, mix((uint64_t)watch));

	while (node && node->watch != watch)
		node = node->next[NODE_BY_WATCH];
	return node;
}

bool node_is(const struct node *node, const struct stat *st)
{
	return node->device == st->st_dev && node->inode == st->st_ino &&
	       node->is_dir == S_ISDIR(st->st_mode);
}

struct node *node_get(struct node_table *table, struct node *parent, const char *name,
		      const struct stat *st)
{
	struct node *node = node_find_child(table, parent, name);

	if (node && node_is(node, st))
		return node;
	if (node)
		node_detach(table, node);
	if (table->budget->count >= table->budget->max)
		return NULL;
	node = xcalloc(1, sizeof(*node));
	*node = (struct node){ .id = ++table->last_id,
			       .parent = parent,
			       .name = xstrdup(name),
			       .is_dir = S_ISDIR(st->st_mode),
			       .device = st->st_dev,
			       .inode = st->st_ino,
			       .watch = -1 };
	parent->uses++;
	count_one(table);
	list(table, node, NODE_BY_ID);
	list(table, node, NODE_BY_NAME);
	return node;
}

struct node *node_restore(struct node_table *table, const struct node *from)
{
	struct node *node;

	if (table->budget->count >= table->budget->max || node_find(table, from->id))
		return NULL;
	node = xcalloc(1, sizeof(*node));
	*node = *from;
	node->name = xstrdup(from->name);
	count_one(table);
	list(table, node, NODE_BY_ID);
	return node;
}

int node_place(struct node_table *table, struct node *node, struct node *parent)
{
	if (!node->detached && node_find_child(table, parent, node->name))
		return -EBADMSG;
	node->parent = parent;
	parent->uses++;
	if (!node->detached)
		list(table, node, NODE_BY_NAME);
	return 0;
}

void node_set_watch(struct node_table *table, struct node *node, int watch)
{
	unlist(table, node, NODE_BY_WATCH);
	node->watch = watch;
	if (watch >= 0)
		list(table, node, NODE_BY_WATCH);
}

void node_detach(struct node_table *table, struct node *node)
{
	if (!node->parent)
		return;
	unlist(table, node, NODE_BY_NAME);
	node->detached = true;
}

void node_move(struct node_table *table, struct node *node, struct node *parent, const char *name)
{
	struct node *there = node_find_child(table, parent, name);
	struct node *old = node->parent;

	if (there == node || !old)
		return;
	for (const struct node *above = parent; above->parent; above = above->parent) {
		if (above == node) {
			/* What it was moved to had left it meanwhile, which nobody has told yet. */
			node_detach(table, node);
			return;
		}
	}
	if (there)
		node_detach(table, there);
	unlist(table, node, NODE_BY_NAME);
	parent->uses++;
	old->uses--; /* the guest, which knows the node, knows the directory too */
	node->parent = parent;
	free(node->name);
	node->name = xstrdup(name);
	node->detached = false;
	list(table, node, NODE_BY_NAME);
}

void node_drop(struct node_table *table, struct node *node, void (*unwatch)(void *ctx, int watch),
	       void *ctx)
{
	while (node && node->parent && node->lookups == 0 && node->uses == 0) {
		struct node *parent = node->parent;
		int watch = node->watch;

		for (int key = 0; key < NODE_KEY_COUNT; key++)
			unlist(table, node, (enum node_key)key);
		free(node->name);
		free(node);
		table->count--;
		table->budget->count--;
		if (watch >= 0)
			unwatch(ctx, watch);
		parent->uses--;
		node = parent;
	}
}

int node_path(const struct node *node, char *out, size_t size)
{
	size_t at = size - 1;

	out[at] = '\0';
	for (; node->parent; node = node->parent) {
		size_t length = strlen(node->name);

		if (node->detached)
			return -ESTALE;
		if (length + 1 > at)
			return -ENAMETOOLONG;
		if (out[at])
			out[--at] = '/';
		at -= length;
		memcpy(out + at, node->name, length);
	}
	memmove(out, out + at, size - at);
	return 0;
}
