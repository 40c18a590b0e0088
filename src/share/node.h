/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest knows of a shared tree: a node for each name that it has looked up and not yet
 * forgotten. A node is a place (parent and name) and what was found there (device and inode); when
 * something else is found there it is another node, and the old one is detached: the guest keeps it
 * for what it has open, and no path leads to it any more.
 */
#ifndef SHARE_NODE_H
#define SHARE_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define NODE_ROOT 1               /* its id, as FUSE has it */
#define NODE_COUNT_MAX (1u << 20) /* of a server: 450 MB at most, with the longest names */

enum node_key { NODE_BY_ID, NODE_BY_NAME, NODE_BY_WATCH, NODE_KEY_COUNT };

struct node {
	uint64_t id;
	struct node *parent; /* referenced; NULL: the root */
	char *name;          /* owned; NULL: the root */
	bool detached;       /* it is no longer there */
	bool is_dir;
	dev_t device;
	ino_t inode;
	uint64_t lookups; /* of the guest */
	uint32_t uses;    /* children and open files */
	int watch;        /* -1: changes in this directory are not seen */
	uint32_t opens;   /* by the guest */
	bool is_cached;   /* the guest may have its pages */
	unsigned echoes;  /* bits 1 << enum share_echo_op: under way */
	/* As the guest was told last. */
	struct timespec changed;
	uint64_t size;
	struct node *next[NODE_KEY_COUNT];
	bool listed[NODE_KEY_COUNT];
};

/* Of all tables of a server. */
struct node_budget {
	size_t count;
	size_t max;
};

struct node_table {
	struct node **buckets[NODE_KEY_COUNT]; /* owned */
	size_t bucket_count;                   /* a power of two */
	size_t count;
	uint64_t last_id;
	struct node_budget *budget; /* borrowed */
};

void node_table_init(struct node_table *table, const struct stat *root, struct node_budget *budget);
void node_table_release(struct node_table *table);
struct node *node_find(const struct node_table *table, uint64_t id);
struct node *node_find_child(const struct node_table *table, const struct node *parent,
			     const char *name);
struct node *node_find_watch(const struct node_table *table, int watch);
/* The node for what stat tells of a name; one that was there for something else is detached. NULL
 * when there are too many. */
struct node *node_get(struct node_table *table, struct node *parent, const char *name,
		      const struct stat *st);
/* One as it was in another table; id and place have to be free in this. */
struct node *node_restore(struct node_table *table, const struct node *from);
/* Gives a restored one its place. -EBADMSG: something else has it. */
int node_place(struct node_table *table, struct node *node, struct node *parent);
void node_set_watch(struct node_table *table, struct node *node, int watch);
/* It is at its place no longer. */
void node_detach(struct node_table *table, struct node *node);
/* It is at another place from now on; what was there is detached. To a place below itself, as the
 * table has it, it does not go: it is detached. */
void node_move(struct node_table *table, struct node *node, struct node *parent, const char *name);
/* Frees it, and its parents, once nobody needs them: after lookups or uses went down. ret_watch is
 * called for each that was watched. */
void node_drop(struct node_table *table, struct node *node, void (*unwatch)(void *ctx, int watch),
	       void *ctx);
bool node_is(const struct node *node, const struct stat *st);
/* The path below the root ("" for the root itself) into out. -ESTALE when it has none any more,
 * -ENAMETOOLONG. */
int node_path(const struct node *node, char *out, size_t size);

#endif
