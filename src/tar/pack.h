/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or a tree of the file system as an archive. Names come from descriptors of directories, so
 * that nothing that others rename or link meanwhile leads out of the tree. Entries of a directory
 * are in the order of their names' bytes.
 */
#ifndef TAR_PACK_H
#define TAR_PACK_H

#include <stdbool.h>
#include <sys/stat.h>

#include "tar/tar.h"

#define PACK_DEPTH_MAX 256

struct pack_options {
	const char *name; /* of the top in the archive; "." for "all that is in it" */
	bool root_owned;  /* everything is said to be root's */
	bool upper;       /* the top is the upper directory of an overlay: written as a layer, with
			     .wh. names; overlayfs's own attributes are left out */
	bool past_cache;  /* large files do not pass through the page cache, where that can be */
	/* Whether to leave it out, with all below it. path: below
	 * the top, "" is the top. NULL: nothing is left out. */
	bool (*skip)(void *ctx, int dir_fd, const char *name, const char *path,
		     const struct stat *st);
	void (*warn)(void *ctx, const char *text);
	void *ctx;
};

/* Adds what is called leaf in dir_fd ("" is dir_fd itself) and, if it is a directory, all below. */
int pack(struct tar_writer *writer, int dir_fd, const char *leaf,
	 const struct pack_options *options, struct err *err);

#endif
