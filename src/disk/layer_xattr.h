/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes as EROFS keeps them: one body per inode, in the tree's pool. */
#ifndef DISK_LAYER_XATTR_H
#define DISK_LAYER_XATTR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/tree.h"

struct layer_xattr {
	const char *name; /* whole, with its prefix; NUL-terminated */
	const void *value;
	size_t size;
};

/*
 * Puts a body of the attributes into the pool; *ret_xattr is 0 if none is kept. Left out are names
 * that no Linux file system takes (com.apple.…) and those that overlayfs would take for its own
 * (trusted.overlay.…, user.overlay.…). Of two with one name the first counts. The array is sorted.
 * `last` is the offset of the body made before (0: none), used again if it is the same.
 * -EBADMSG or -E2BIG, with the reason, for what EROFS cannot keep.
 */
int layer_xattr_pack(struct tree *tree, struct layer_xattr *xattrs, size_t count, uint32_t last,
		     uint32_t *ret_xattr, struct err *err);
/* The body of an inode's xattrs with trusted.overlay.opaque added. */
int layer_xattr_add_opaque(struct tree *tree, uint32_t xattr, uint32_t *ret_xattr);

#endif
