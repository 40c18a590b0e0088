/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs_read.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#define BLOCK 4096u

static int problem(struct erofs_image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int problem(struct erofs_image *image, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(image->problem, sizeof(image->problem), format, args);
	va_end(args);
	return -1;
}

/* A little-endian number at an offset; 0 beyond the end. */
static uint64_t get(const struct erofs_image *image, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	if (offset > image->size || size > image->size - offset)
		return 0;
	for (unsigned i = size; i-- > 0;)
		value = value << 8 | image->data[offset + i];
	return value;
}

static int append_file(struct erofs_image *image, const char *path)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	struct stat st;

	if (!file || fstat(fileno(file), &st) < 0)
		return problem(image, "cannot open %s", path);
	image->data = xrealloc(image->data, image->size + (size_t)st.st_size + 1, 1);
	if (fread(image->data + image->size, 1, (size_t)st.st_size, file) != (size_t)st.st_size)
		return problem(image, "cannot read %s", path);
	image->size += (size_t)st.st_size;
	if (st.st_size % BLOCK)
		return problem(image, "%s is not whole blocks", path);
	return 0;
}

int erofs_image_open(struct erofs_image *image, const char *const *paths, size_t count)
{
	uint8_t block[BLOCK];

	*image = (struct erofs_image){ 0 };
	for (size_t i = 0; i < count; i++)
		if (append_file(image, paths[i]) < 0)
			return -1;
	if (image->size < BLOCK || get(image, 1024, 4) != 0xe0f5e1e2)
		return problem(image, "no super block");
	if (image->data[1024 + 12] != 12 || get(image, 1024 + 80, 4) & ~4ull)
		return problem(image, "unknown block size or features");
	memcpy(block, image->data, BLOCK);
	memset(block + 1024 + 4, 0, 4);
	if (hash_crc32c(~0u, block + 1024, BLOCK - 1024) != get(image, 1028, 4))
		return problem(image, "bad checksum");
	if (get(image, 1024 + 36, 4) * BLOCK != image->size)
		return problem(image, "the super block counts other blocks than there are");
	image->meta = get(image, 1024 + 40, 4) * BLOCK;
	image->root = get(image, 1024 + 14, 2);
	return 0;
}

void erofs_image_close(struct erofs_image *image)
{
	free(image->data);
	image->data = NULL;
}

int erofs_image_stat(struct erofs_image *image, uint64_t nid, struct erofs_stat *ret)
{
	uint64_t at = image->meta + nid * 32;
	uint64_t icount;
	uint64_t format;

	if (at > image->size || image->size - at < 64)
		return problem(image, "inode %" PRIu64 " is outside", nid);
	format = get(image, at, 2);
	if (!(format & 1) || format >> 4)
		return problem(image, "inode %" PRIu64 " has format %#" PRIx64, nid, format);
	icount = get(image, at + 2, 2);
	*ret = (struct erofs_stat){
		.nid = nid,
		.layout = (unsigned)(format >> 1),
		.mode = (uint32_t)get(image, at + 4, 2),
		.size = get(image, at + 8, 8),
		.data = (uint32_t)get(image, at + 16, 4),
		.uid = (uint32_t)get(image, at + 24, 4),
		.gid = (uint32_t)get(image, at + 28, 4),
		.mtime = (int64_t)get(image, at + 32, 8),
		.mtime_nsec = (uint32_t)get(image, at + 40, 4),
		.nlink = (uint32_t)get(image, at + 44, 4),
		.xattr_size = icount ? 12 + 4 * ((uint32_t)icount - 1) : 0,
	};
	ret->body = at + 64 + ret->xattr_size;
	if (S_ISCHR(ret->mode) || S_ISBLK(ret->mode))
		ret->rdev = ret->data;
	return 0;
}

static int read_chunks(struct erofs_image *image, const struct erofs_stat *st, char *to)
{
	uint64_t chunk = (uint64_t)BLOCK << (st->data & 31);

	for (uint64_t at = 0, i = 0; at < st->size; at += chunk, i++) {
		uint64_t block = get(image, ((st->body + 3) & ~3ull) + 4 * i, 4);
		uint64_t n = st->size - at < chunk ? st->size - at : chunk;

		if (block == 0xffffffff)
			memset(to + at, 0, n);
		else if (block * BLOCK + n > image->size)
			return problem(image, "a chunk is outside");
		else
			memcpy(to + at, image->data + block * BLOCK, n);
	}
	return 0;
}

char *erofs_image_content(struct erofs_image *image, const struct erofs_stat *st)
{
	uint64_t tail = st->layout == 2 ? (st->size ? (st->size - 1) % BLOCK + 1 : 0) : 0;
	uint64_t plain = st->size - tail;
	AUTO_FREE char *to = NULL;

	if (st->size > 1ull << 30)
		return NULL;
	to = xcalloc(1, st->size + 1);
	if (st->layout == 4)
		return read_chunks(image, st, to) < 0 ? NULL : TAKE_PTR(to);
	if (plain && ((uint64_t)st->data * BLOCK + plain > image->size)) {
		problem(image, "data of inode %" PRIu64 " are outside", st->nid);
		return NULL;
	}
	if (tail && (st->body % BLOCK + tail > BLOCK || st->body + tail > image->size)) {
		problem(image, "the tail of inode %" PRIu64 " crosses a block", st->nid);
		return NULL;
	}
	if (plain)
		memcpy(to, image->data + (uint64_t)st->data * BLOCK, plain);
	if (tail)
		memcpy(to + plain, image->data + st->body, tail);
	return TAKE_PTR(to);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *erofs_image_xattrs(struct erofs_image *image, const struct erofs_stat *st)
{
	static const char *const prefixes[] = {
		"?", "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
		"?", "security."
	};
	uint64_t end = st->body;
	uint64_t at = end - st->xattr_size + 12;
	AUTO_STRV char **items = NULL;
	AUTO_SBUF struct sbuf text = { 0 };

	while (st->xattr_size && at < end) {
		uint64_t name = get(image, at, 1);
		uint64_t index = get(image, at + 1, 1);
		uint64_t value = get(image, at + 2, 2);
		AUTO_FREE char *hex = xcalloc(1, 2 * value + 1);

		if (at + 4 + name + value > end || index > 6) {
			problem(image, "attributes of inode %" PRIu64 " are malformed", st->nid);
			return NULL;
		}
		hash_hex(image->data + at + 4 + name, value, hex);
		AUTO_FREE char *item = xasprintf("%s%.*s=%s", prefixes[index], (int)name,
						 (const char *)image->data + at + 4, hex);
		strv_push(&items, item);
		at = (at + 4 + name + value + 3) & ~3ull;
	}
	if (items)
		qsort(items, strv_count(items), sizeof(*items), compare_text);
	STRV_EACH (items, item)
		sbuf_addf(&text, "%s%s", text.length ? "," : "", *item);
	return sbuf_take(&text);
}

/* Directories */

struct entry {
	char name[256];
	uint64_t nid;
	unsigned type;
};

struct listing {
	struct entry *entries; /* owned */
	size_t count;
};

static void listing_release(struct listing *listing)
{
	free(listing->entries);
}

static int list_block(struct erofs_image *image, struct listing *listing, const char *block,
		      size_t size)
{
	const uint8_t *b = (const uint8_t *)block;
	size_t first = size > 12 ? b[8] | (size_t)b[9] << 8 : 0;
	size_t count = first / 12;

	if (!count || first % 12 || first >= size)
		return problem(image, "a directory block is malformed");
	listing->entries =
		xrealloc(listing->entries, listing->count + count, sizeof(*listing->entries));
	for (size_t i = 0; i < count; i++) {
		struct entry *e = &listing->entries[listing->count++];
		size_t from = b[12 * i + 8] | (size_t)b[12 * i + 9] << 8;
		size_t to = i + 1 < count ? b[12 * i + 20] | (size_t)b[12 * i + 21] << 8
					  : from + strnlen(block + from, size - from);

		if (from >= to || to > size || to - from > 255)
			return problem(image, "a directory entry is malformed");
		memset(e, 0, sizeof(*e));
		memcpy(e->name, block + from, to - from);
		for (unsigned k = 8; k-- > 0;)
			e->nid = e->nid << 8 | b[12 * i + k];
		e->type = b[12 * i + 10];
	}
	return 0;
}

static int list(struct erofs_image *image, const struct erofs_stat *dir, struct listing *listing)
{
	AUTO_FREE char *content = erofs_image_content(image, dir);

	if (!content)
		return problem(image, "a directory cannot be read");
	for (uint64_t at = 0; at < dir->size; at += BLOCK)
		if (list_block(image, listing, content + at,
			       dir->size - at < BLOCK ? dir->size - at : BLOCK) < 0)
			return -1;
	for (size_t i = 1; i < listing->count; i++)
		if (strcmp(listing->entries[i - 1].name, listing->entries[i].name) >= 0)
			return problem(image, "'%s' is out of order", listing->entries[i].name);
	return 0;
}

int erofs_image_find(struct erofs_image *image, const char *path, struct erofs_stat *ret)
{
	AUTO_STRV char **parts = str_split(path, '/', 0);
	struct erofs_stat st;

	if (erofs_image_stat(image, image->root, &st) < 0)
		return -1;
	STRV_EACH (parts, part) {
		CLEANUP(listing_release) struct listing listing = { 0 };
		bool found = false;

		if (!**part)
			continue;
		if (!S_ISDIR(st.mode) || list(image, &st, &listing) < 0)
			return problem(image, "'%s' is not in a directory", *part);
		for (size_t i = 0; i < listing.count && !found; i++) {
			found = str_eq(listing.entries[i].name, *part);
			if (found && erofs_image_stat(image, listing.entries[i].nid, &st) < 0)
				return -1;
		}
		if (!found)
			return problem(image, "no '%s'", *part);
	}
	*ret = st;
	return 0;
}

static unsigned type_of(uint32_t mode)
{
	static const unsigned char types[16] = {
		[1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1, [10] = 7, [12] = 6
	};

	return types[mode >> 12];
}

static int walk(struct erofs_image *image, const char *path, const struct erofs_stat *st,
		uint64_t parent, erofs_visit_fn visit, void *ctx)
{
	CLEANUP(listing_release) struct listing listing = { 0 };
	unsigned dots = 0;
	unsigned subdirs = 2;

	if (visit(ctx, path, st) < 0)
		return problem(image, "stopped at '%s'", path);
	if (!S_ISDIR(st->mode))
		return 0;
	if (list(image, st, &listing) < 0)
		return -1;
	for (size_t i = 0; i < listing.count; i++) {
		const struct entry *e = &listing.entries[i];
		AUTO_FREE char *child = xasprintf("%s%s%s", path, *path ? "/" : "", e->name);
		bool dot = str_eq(e->name, ".");
		struct erofs_stat sub;

		if (dot || str_eq(e->name, "..")) {
			dots++;
			if (e->nid != (dot ? st->nid : parent) || e->type != 2)
				return problem(image, "'%s' is wrong", child);
			continue;
		}
		if (erofs_image_stat(image, e->nid, &sub) < 0)
			return -1;
		if (type_of(sub.mode) != e->type)
			return problem(image, "'%s' has the wrong type", child);
		subdirs += S_ISDIR(sub.mode);
		if (walk(image, child, &sub, st->nid, visit, ctx) < 0)
			return -1;
	}
	if (dots != 2 || subdirs != st->nlink)
		return problem(image, "'%s' has a wrong link count", path);
	return 0;
}

int erofs_image_walk(struct erofs_image *image, erofs_visit_fn visit, void *ctx)
{
	struct erofs_stat root;

	if (erofs_image_stat(image, image->root, &root) < 0)
		return -1;
	return walk(image, "", &root, root.nid, visit, ctx);
}
