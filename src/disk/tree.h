/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a layer or of a merged image in memory: compact (about 90 bytes an entry and its
 * name), because a layer may have a hundred thousand entries and several are converted at a time.
 *
 * A node is a name in a directory; an inode is what it names (hard links share one). Both live in
 * arrays and are spoken of by number; variable-sized things (names, link targets, xattr bodies,
 * block maps) live in one pool and are spoken of by offset, 0 being none. Pointers into any of the
 * three are valid until the next call that adds. Removing is a flag: the node and all below it
 * become unreachable, their room is not used again.
 *
 * Adding may fail with -ENOMEM or, beyond what 32 bits count, -E2BIG; the callers' limits on
 * untrusted input are their own.
 */
#ifndef DISK_TREE_H
#define DISK_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "disk/erofs_format.h"

#define TREE_NONE 0xffffffffu
#define TREE_ROOT 0u
#define TREE_PATH_MAX 4096u /* bytes of a name in an archive, and of a link target, with NUL */
#define TREE_POOL_MAX (1u << 30)

enum tree_flags {
	TREE_DIR = 1,      /* a directory; always has an inode */
	TREE_IMPLICIT = 2, /* a directory only implied by what is below it */
	TREE_OPAQUE = 4,   /* a directory that hides what lower layers have in it */
	TREE_WHITEOUT = 8, /* hides lower layers' node of this name; without an inode, only that */
	TREE_LINK = 16,    /* hard link to a lower layer's file: `inode` is its path in the pool */
	TREE_DEAD = 32,    /* removed; never in an index */
	TREE_FLAGS_ALL = 63,
};

struct tree_node {
	uint32_t parent;
	uint32_t name; /* pool offset */
	uint32_t inode;
	uint32_t first_child;
	uint32_t next; /* sibling: newest first until tree_sort */
	uint8_t name_length;
	uint8_t flags;
	uint16_t reserved;
};

struct tree_inode {
	uint16_t mode;  /* type and permissions */
	uint16_t layer; /* whose disk `data` and a block map count in */
	uint32_t uid;
	uint32_t gid;
	uint32_t mtime_nsec;
	int64_t mtime;
	uint64_t size;  /* regular files, symlinks (length of the target) */
	uint32_t data;  /* first block; device number; pool offset of the target or of the block map
			 */
	uint32_t xattr; /* pool offset of the size (4 bytes) and the EROFS xattr body; or 0 */
	uint32_t nlink; /* } set while the tree is laid out */
	uint32_t nid;   /* } */
	uint8_t chunked;    /* the data is a block map: see chunk_bits */
	uint8_t chunk_bits; /* log2 of the blocks of a chunk */
	uint16_t reserved;
	uint32_t ino; /* set while the tree is laid out: counts from 0 */
};
static_assert(sizeof(struct tree_node) == 24 && sizeof(struct tree_inode) == 56, "compact");

struct tree {
	struct tree_node *nodes; /* owned, and so are the others */
	uint32_t node_count, node_capacity;
	struct tree_inode *inodes;
	uint32_t inode_count, inode_capacity;
	char *pool;
	uint32_t pool_size, pool_capacity;
	uint32_t *slots; /* hash table of node numbers + 1 */
	uint32_t slot_count;
	uint64_t seed; /* of the hash, so that an archive cannot choose collisions */
};

/* An empty tree: its root is an implicit directory. */
int tree_init(struct tree *tree);
void tree_release(struct tree *tree);
#define AUTO_TREE CLEANUP(tree_release)

/* Room for size bytes at an offset that is a multiple of 4; what was there is garbage. */
int tree_pool_reserve(struct tree *tree, size_t size, uint32_t *ret_offset);
/* A copy of size bytes and a NUL after them. */
int tree_pool_add(struct tree *tree, const void *data, size_t size, uint32_t *ret_offset);

int tree_add_inode(struct tree *tree, const struct tree_inode *inode, uint32_t *ret_inode);
/* The inode of a directory that nobody described: 0755, root, the epoch. */
extern const struct tree_inode tree_implicit_inode;

/* The child of this name, or TREE_NONE. */
uint32_t tree_lookup(const struct tree *tree, uint32_t parent, const char *name, size_t length);
/* Adds a child (which must not be there already). */
int tree_add(struct tree *tree, uint32_t parent, const char *name, size_t length, uint8_t flags,
	     uint32_t inode, uint32_t *ret_node);
void tree_remove(struct tree *tree, uint32_t node);
void tree_remove_children(struct tree *tree, uint32_t node);
/* Makes parent/name a node of these flags and inode, whatever it was: a directory that stays a
 * directory keeps its children, any other node is replaced. A whiteout flag that was set stays. */
int tree_put(struct tree *tree, uint32_t parent, const char *name, size_t length, uint8_t flags,
	     uint32_t inode, uint32_t *ret_node);

/*
 * Walks a path from a directory, symbolic links followed inside the root, `..` of links clamped to
 * it. Missing directories are made (implicit) if create is set, else -ENOENT. The result is a
 * directory, or -ENOTDIR; -ELOOP after 40 links.
 */
int tree_walk(struct tree *tree, uint32_t from, const char *path, size_t length, bool create,
	      uint32_t *ret_dir);

/* Sorts every directory's children by name (bytes). */
int tree_sort(struct tree *tree);
/* The next node in depth-first order, children before siblings, removed ones left out; TREE_NONE
 * after the last. Start with TREE_ROOT. */
uint32_t tree_next(const struct tree *tree, uint32_t node);

static inline bool tree_is(const struct tree *tree, uint32_t node, unsigned flags)
{
	return (tree->nodes[node].flags & flags) == flags;
}
/* Whether the node is a thing of its own and not only the mark that a lower one is hidden. */
static inline bool tree_exists(const struct tree *tree, uint32_t node)
{
	return tree->nodes[node].inode != TREE_NONE;
}

#endif
