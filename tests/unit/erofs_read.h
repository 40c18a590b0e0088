/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of EROFS for tests, written from the format's documentation and not from the writer: it
 * shares no code with it and fails loudly on whatever a kernel would not accept.
 */
#ifndef TESTS_UNIT_EROFS_READ_H
#define TESTS_UNIT_EROFS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_image {
	uint8_t *data; /* owned; the concatenation of the files */
	size_t size;
	uint64_t meta; /* byte offset of inode 0 */
	uint64_t root;
	char problem[256]; /* of the last call that failed */
};

struct erofs_stat {
	uint64_t nid;
	uint64_t body; /* byte offset of what follows the inode */
	uint32_t mode, uid, gid, nlink, mtime_nsec, rdev;
	int64_t mtime;
	uint64_t size;
	unsigned layout;
	uint32_t data;
	uint32_t xattr_size;
};

/* Reads the files as one disk. 0 or -1 (see problem). */
int erofs_image_open(struct erofs_image *image, const char *const *paths, size_t count);
void erofs_image_close(struct erofs_image *image);

int erofs_image_stat(struct erofs_image *image, uint64_t nid, struct erofs_stat *ret);
/* The inode of a path (slash-separated, links not followed), or -1. */
int erofs_image_find(struct erofs_image *image, const char *path, struct erofs_stat *ret);
/* The whole content; NUL-terminated, owned by the caller; NULL on failure. */
char *erofs_image_content(struct erofs_image *image, const struct erofs_stat *st);
/* One line for all extended attributes: `name=hex,…` in order of name. Owned by the caller. */
char *erofs_image_xattrs(struct erofs_image *image, const struct erofs_stat *st);

typedef int (*erofs_visit_fn)(void *ctx, const char *path, const struct erofs_stat *st);
/* Visits every name depth first, checking order and types of directory entries and the link counts.
 */
int erofs_image_walk(struct erofs_image *image, erofs_visit_fn visit, void *ctx);

#endif
