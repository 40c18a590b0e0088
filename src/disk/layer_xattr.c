/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layer_xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "disk/erofs_write.h"

static const struct {
	const char *prefix;
	uint8_t index;
	bool whole; /* the prefix is the whole name */
} namespaces[] = {
	{ "user.", EROFS_XATTR_USER, false },
	{ "trusted.", EROFS_XATTR_TRUSTED, false },
	{ "security.", EROFS_XATTR_SECURITY, false },
	{ "system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, true },
	{ "system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, true },
};

/* The index of the name's prefix, 0 if there is none, and the rest of the name. */
static uint8_t split_name(const char *name, const char **ret_rest)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		const char *rest = str_after(name, namespaces[i].prefix);

		if (rest && !*rest == namespaces[i].whole) {
			*ret_rest = rest;
			return namespaces[i].index;
		}
	}
	return 0;
}

static bool is_kept(const char *name)
{
	const char *rest;

	return split_name(name, &rest) && !str_starts(name, "trusted.overlay.") &&
	       !str_starts(name, "user.overlay.");
}

static size_t entry_size(const struct layer_xattr *xattr)
{
	const char *rest = "";

	split_name(xattr->name, &rest);
	return (sizeof(struct erofs_xattr_entry) + strlen(rest) + xattr->size + 3) & ~(size_t)3;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct layer_xattr *)a)->name, ((const struct layer_xattr *)b)->name);
}

/* Moves what is kept to the front, one per name; returns how many. */
static size_t filter(struct layer_xattr *xattrs, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		bool again = !is_kept(xattrs[i].name);

		for (size_t k = 0; k < kept && !again; k++)
			again = str_eq(xattrs[k].name, xattrs[i].name);
		if (!again)
			xattrs[kept++] = xattrs[i];
	}
	return kept;
}

static int measure(const struct layer_xattr *xattrs, size_t count, size_t *ret_size,
		   struct err *err)
{
	size_t size = EROFS_XATTR_HEADER_SIZE;

	for (size_t i = 0; i < count; i++) {
		const char *rest = "";

		split_name(xattrs[i].name, &rest);
		if (strlen(rest) > EROFS_NAME_MAX)
			return err_set(err, -EBADMSG, "attribute name is too long");
		if (xattrs[i].size > UINT16_MAX)
			return err_set(err, -E2BIG, "attribute '%s' is too large (%zu bytes)",
				       xattrs[i].name, xattrs[i].size);
		size += entry_size(&xattrs[i]);
	}
	if (size > EROFS_XATTR_BODY_MAX)
		return err_set(err, -E2BIG, "attributes are too large (%zu bytes)", size);
	*ret_size = size;
	return 0;
}

static void put_entry(char *at, const struct layer_xattr *xattr)
{
	const char *rest = "";
	uint8_t index = split_name(xattr->name, &rest);
	struct erofs_xattr_entry entry = { .name_length = (uint8_t)strlen(rest),
					   .name_index = index,
					   .value_size = (uint16_t)xattr->size };

	memcpy(at, &entry, sizeof(entry));
	memcpy(at + sizeof(entry), rest, entry.name_length);
	if (xattr->size)
		memcpy(at + sizeof(entry) + entry.name_length, xattr->value, xattr->size);
}

/* Room for a body of this many bytes, zeroed, behind its size. */
static int reserve(struct tree *tree, size_t size, uint32_t *ret_xattr)
{
	uint32_t stored = (uint32_t)size;
	int r = tree_pool_reserve(tree, sizeof(stored) + size, ret_xattr);

	if (r < 0)
		return r;
	memcpy(tree->pool + *ret_xattr, &stored, sizeof(stored));
	memset(tree->pool + *ret_xattr + sizeof(stored), 0, size);
	return 0;
}

int layer_xattr_pack(struct tree *tree, struct layer_xattr *xattrs, size_t count, uint32_t last,
		     uint32_t *ret_xattr, struct err *err)
{
	uint32_t xattr = 0;
	size_t size = 0;
	size_t at;
	int r;

	count = filter(xattrs, count);
	if (!count) {
		*ret_xattr = 0;
		return 0;
	}
	qsort(xattrs, count, sizeof(*xattrs), compare);
	r = measure(xattrs, count, &size, err);
	if (r == 0)
		r = reserve(tree, size, &xattr);
	if (r < 0)
		return err && err->code ? r : err_set(err, r, "cannot keep attributes: %m");
	at = xattr + 4 + EROFS_XATTR_HEADER_SIZE;
	for (size_t i = 0; i < count; i++) {
		put_entry(tree->pool + at, &xattrs[i]);
		at += entry_size(&xattrs[i]);
	}
	if (erofs_xattr_size(tree, last) == size &&
	    memcmp(tree->pool + last, tree->pool + xattr, size + 4) == 0) {
		tree->pool_size = xattr;
		xattr = last;
	}
	*ret_xattr = xattr;
	return 0;
}

int layer_xattr_add_opaque(struct tree *tree, uint32_t xattr, uint32_t *ret_xattr)
{
	const struct layer_xattr opaque = { "trusted.overlay.opaque", "y", 1 };
	size_t old = erofs_xattr_size(tree, xattr);
	size_t kept = old ? old : EROFS_XATTR_HEADER_SIZE;
	uint32_t grown;
	int r;

	if (kept + entry_size(&opaque) > EROFS_XATTR_BODY_MAX)
		return -E2BIG;
	r = reserve(tree, kept + entry_size(&opaque), &grown);
	if (r < 0)
		return r;
	if (old)
		memcpy(tree->pool + grown + 4, tree->pool + xattr + 4, old);
	put_entry(tree->pool + grown + 4 + kept, &opaque);
	*ret_xattr = grown;
	return 0;
}
