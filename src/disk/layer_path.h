/* SPDX-License-Identifier: Apache-2.0 */
/* Names of archive entries as checked paths: components joined by single slashes, no `.` or `..`.
 */
#ifndef DISK_LAYER_PATH_H
#define DISK_LAYER_PATH_H

#include <stddef.h>

#include "disk/tree.h"

#define LAYER_WHITEOUT_PREFIX ".wh."
#define LAYER_WHITEOUT_PREFIX_LENGTH 4u

enum layer_path_kind {
	LAYER_PATH_PLAIN,
	LAYER_PATH_ROOT,     /* the text is empty */
	LAYER_PATH_WHITEOUT, /* the base is .wh.NAME */
	LAYER_PATH_OPAQUE,   /* the base is .wh..wh..opq */
	LAYER_PATH_IGNORED,  /* one of AUFS's own files */
};

struct layer_path {
	char text[TREE_PATH_MAX];
	size_t base; /* offset of the last component */
	size_t base_length;
	size_t parent_length; /* of the part before it, without the slash */
	enum layer_path_kind kind;
};

/* NULL, or what is wrong with the name. A leading slash is dropped. */
const char *layer_path_parse(struct layer_path *path, const char *name);

#endif
