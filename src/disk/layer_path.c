/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/layer_path.h"

#include <string.h>

#include "base/str.h"

#define AUFS_PREFIX ".wh..wh."
#define OPAQUE_NAME ".wh..wh..opq"

static bool is(const char *text, size_t length, const char *what)
{
	return length == strlen(what) && memcmp(text, what, length) == 0;
}

static bool begins(const char *text, size_t length, const char *with)
{
	return length >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

/* What the last component makes of the path. */
static const char *classify(struct layer_path *path)
{
	const char *base = path->text + path->base;
	size_t length = path->base_length;
	const char *hidden = base + LAYER_WHITEOUT_PREFIX_LENGTH;

	path->kind = LAYER_PATH_PLAIN;
	if (!length) {
		path->kind = LAYER_PATH_ROOT;
	} else if (is(base, length, OPAQUE_NAME)) {
		path->kind = LAYER_PATH_OPAQUE;
	} else if (begins(base, length, AUFS_PREFIX)) {
		path->kind = LAYER_PATH_IGNORED;
	} else if (begins(base, length, LAYER_WHITEOUT_PREFIX)) {
		path->kind = LAYER_PATH_WHITEOUT;
		length -= LAYER_WHITEOUT_PREFIX_LENGTH;
		if (!length || is(hidden, length, ".") || is(hidden, length, ".."))
			return "it is a whiteout of nothing";
	}
	return NULL;
}

const char *layer_path_parse(struct layer_path *path, const char *name)
{
	bool ignored = false;
	size_t used = 0;

	path->base = path->base_length = path->parent_length = 0;
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.')) {
			p += n + (p[n] == '/');
			continue;
		}
		if (is(p, n, ".."))
			return "'..' in a name";
		if (n > EROFS_NAME_MAX)
			return "a name is too long";
		if (used + 1 + n >= sizeof(path->text))
			return "the path is too long";
		if (path->base_length) {
			const char *before = path->text + path->base;

			/* The component before turns out to be a directory. */
			if (begins(before, path->base_length, AUFS_PREFIX))
				ignored = true;
			else if (begins(before, path->base_length, LAYER_WHITEOUT_PREFIX))
				return "it lies below a whiteout";
			path->parent_length = used;
			path->text[used++] = '/';
		}
		memcpy(path->text + used, p, n);
		path->base = used;
		path->base_length = n;
		used += n;
		p += n + (p[n] == '/');
	}
	path->text[used] = '\0';
	if (ignored) {
		path->kind = LAYER_PATH_IGNORED;
		return NULL;
	}
	return classify(path);
}
