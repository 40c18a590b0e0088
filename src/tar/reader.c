/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever wrote the archive may be hostile. Every number is checked before it is used; memory is
 * bounded by TAR_EXTENDED_MAX and the buffer, whatever the archive says.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "tar/format.h"

#define BUFFER_SIZE (576 * 1024) /* what comes at once, and what may be left of the last time */
#define SIZE_LIMIT ((uint64_t)INT64_MAX)
#define EXTENDED_HEADERS_MAX 16 /* in a row, before an entry */

/* What extended headers say of the next entry. */
struct extended {
	struct sbuf text;               /* all of them, as read; the pointers below lead into it */
	size_t path, link, sparse_name; /* offsets of NUL-terminated values, SIZE_MAX: none */
	bool has_size, has_uid, has_gid, has_mtime, sparse, has_real_size;
	uint64_t size, uid, gid, real_size;
	uint64_t sparse_major, sparse_minor;
	int64_t mtime;
	uint32_t mtime_ns;
	size_t xattr_count;
	struct {
		size_t name, value, size; /* offsets */
	} xattrs[TAR_XATTRS_MAX];
};

struct tar_reader {
	tar_read_fn read;
	void *ctx;
	int error;
	bool ended;
	uint64_t left;  /* data of the entry, not delivered yet */
	size_t padding; /* behind it */
	size_t start, end;
	struct extended extended;
	struct tar_xattr xattrs[TAR_XATTRS_MAX];
	struct tar_extent extents[TAR_EXTENTS_MAX];
	char name[TAR_PATH_MAX + 1], link[TAR_PATH_MAX + 1];
	/* Blocks of the archive are at multiples of their size, as long as it comes in such. */
	_Alignas(TAR_PAGE) uint8_t buffer[BUFFER_SIZE];
};

struct tar_reader *tar_reader_new(tar_read_fn read, void *ctx)
{
	struct tar_reader *reader = aligned_alloc(TAR_PAGE, sizeof(*reader));

	if (!reader)
		abort();
	memset(reader, 0, offsetof(struct tar_reader, xattrs));
	reader->read = read;
	reader->ctx = ctx;
	return reader;
}

struct tar_reader *tar_reader_free(struct tar_reader *reader)
{
	if (!reader)
		return NULL;
	sbuf_release(&reader->extended.text);
	free(reader);
	return NULL;
}

static int damaged(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "the archive is damaged: %s", what);
}

/* Reads until size bytes (at most the buffer) are there. 1, 0 at an end before the first of them.
 */
static int fill(struct tar_reader *reader, size_t size, struct err *err)
{
	if (reader->end - reader->start >= size)
		return 1;
	/* A little of the last time is moved, so that much can come at once. */
	if (BUFFER_SIZE - reader->start < size || reader->end - reader->start < TAR_PAGE) {
		memmove(reader->buffer, reader->buffer + reader->start,
			reader->end - reader->start);
		reader->end -= reader->start;
		reader->start = 0;
	}
	while (reader->end - reader->start < size) {
		long n = reader->read(reader->ctx, reader->buffer + reader->end,
				      BUFFER_SIZE - reader->end);

		if (n < 0)
			return err_set(err, (int)n, "cannot read the archive: %m");
		if (n == 0)
			return reader->end == reader->start ? 0 : damaged(err, "it is cut off");
		reader->end += (size_t)n;
	}
	return 1;
}

/* The next data, at most max bytes, at least one. */
static long view(struct tar_reader *reader, uint64_t max, const void **ret_data, struct err *err)
{
	size_t n;
	int r;

	if (reader->start == reader->end)
		reader->start = reader->end = 0;
	r = fill(reader, 1, err);
	if (r <= 0)
		return r < 0 ? r : damaged(err, "it is cut off");
	n = reader->end - reader->start;
	if (n > max)
		n = (size_t)max;
	*ret_data = reader->buffer + reader->start;
	reader->start += n;
	return (long)n;
}

static int skip(struct tar_reader *reader, uint64_t size, struct err *err)
{
	while (size) {
		const void *data;
		long n = view(reader, size, &data, err);

		if (n < 0)
			return (int)n;
		size -= (uint64_t)n;
	}
	return 0;
}

/* --- numbers --- */

/* Digits of a base, with blanks before and blanks or NULs behind; "" is 0. */
static int parse_octal(const char *field, size_t size, uint64_t *ret_value)
{
	uint64_t value = 0;
	size_t i = 0;

	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value >> 61)
			return -ERANGE;
		value = value << 3 | (uint64_t)(field[i] - '0');
	}
	for (; i < size; i++)
		if (field[i] != ' ' && field[i] != '\0')
			return -EINVAL;
	*ret_value = value;
	return 0;
}

/* GNU: a field whose first bit is set is a big-endian number, of two's complement. */
static int parse_number(const char *field, size_t size, int64_t *ret_value)
{
	const uint8_t *bytes = (const uint8_t *)field;
	uint64_t value;
	bool negative = bytes[0] & 0x40;
	int r;

	if (!(bytes[0] & 0x80)) {
		r = parse_octal(field, size, &value);
		if (r < 0 || value > SIZE_LIMIT)
			return -ERANGE;
		*ret_value = (int64_t)value;
		return 0;
	}
	value = negative ? ~(uint64_t)0 << 6 | (bytes[0] & 0x3f) : bytes[0] & 0x3f;
	for (size_t i = 1; i < size; i++) {
		uint64_t high = value >> 55;

		if (high != 0 && high != 0x1ff)
			return -ERANGE;
		value = value << 8 | bytes[i];
	}
	if ((value >> 63) != negative)
		return -ERANGE;
	*ret_value = (int64_t)value;
	return 0;
}

static int parse_unsigned(const char *field, size_t size, uint64_t max, uint64_t *ret_value)
{
	int64_t value;
	int r = parse_number(field, size, &value);

	if (r < 0 || value < 0 || (uint64_t)value > max)
		return -ERANGE;
	*ret_value = (uint64_t)value;
	return 0;
}

/* A decimal in text[0..size), all of it. */
static int parse_decimal(const char *text, size_t size, uint64_t *ret_value)
{
	char copy[24];

	if (size == 0 || size >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return str_parse_u64(copy, ret_value);
}

/* "-1.5": a decimal with sign and fraction; digits beyond nanoseconds are dropped. */
static int parse_time(const char *text, int64_t *ret_seconds, uint32_t *ret_ns)
{
	bool negative = *text == '-';
	uint64_t seconds;
	uint32_t ns = 0;
	size_t whole;
	int r;

	text += negative;
	whole = strcspn(text, ".");
	r = parse_decimal(text, whole, &seconds);
	if (r < 0 || seconds > SIZE_LIMIT)
		return -EINVAL;
	text += whole + (text[whole] == '.');
	for (uint32_t unit = 100000000; *text; text++, unit /= 10) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		ns += unit * (uint32_t)(*text - '0');
	}
	*ret_seconds = negative ? -(int64_t)seconds : (int64_t)seconds;
	*ret_ns = ns;
	if (negative && ns) {
		(*ret_seconds)--;
		*ret_ns = 1000000000 - ns;
	}
	return 0;
}

/* --- extended headers --- */

static void extended_reset(struct extended *x)
{
	x->text.length = 0;
	x->path = x->link = x->sparse_name = SIZE_MAX;
	x->has_size = x->has_uid = x->has_gid = x->has_mtime = false;
	x->sparse = x->has_real_size = false;
	x->sparse_major = x->sparse_minor = 0;
	x->xattr_count = 0;
}

/* Where the number of a record goes, or NULL. */
static uint64_t *number_of(struct extended *x, const char *key)
{
	const struct {
		const char *key;
		uint64_t *value;
		bool *has;
	} numbers[] = {
		{ "size", &x->size, &x->has_size },
		{ "uid", &x->uid, &x->has_uid },
		{ "gid", &x->gid, &x->has_gid },
		{ "GNU.sparse.major", &x->sparse_major, &x->sparse },
		{ "GNU.sparse.minor", &x->sparse_minor, &x->sparse },
		{ "GNU.sparse.realsize", &x->real_size, &x->has_real_size },
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (str_eq(numbers[i].key, key)) {
			*numbers[i].has = true;
			return numbers[i].value;
		}
	return NULL;
}

/* A record's key and value, both NUL-terminated in x->text. */
static int take_record(struct extended *x, const char *key, size_t value, size_t size,
		       struct err *err)
{
	const char *text = x->text.text + value;
	const char *xattr = str_after(key, TAR_XATTR_PREFIX);
	uint64_t *number = number_of(x, key);

	if (xattr) {
		if (x->xattr_count == TAR_XATTRS_MAX || !*xattr)
			return damaged(err, "too many extended attributes");
		x->xattrs[x->xattr_count].name = (size_t)(xattr - x->text.text);
		x->xattrs[x->xattr_count].value = value;
		x->xattrs[x->xattr_count++].size = size;
		return 0;
	}
	if (str_starts(key, "GNU.sparse.") && !number && !str_eq(key, "GNU.sparse.name"))
		return err_set(err, -ENOTSUP,
			       "the archive holds a sparse file in an old format; write it with "
			       "'--format=posix'");
	if (memchr(text, '\0', size))
		return damaged(err, "an extended header holds a NUL");
	if (number)
		return parse_decimal(text, size, number) < 0 || *number > SIZE_LIMIT
			       ? damaged(err, "a number in an extended header")
			       : 0;
	if (str_eq(key, "path"))
		x->path = value;
	else if (str_eq(key, "linkpath"))
		x->link = value;
	else if (str_eq(key, "GNU.sparse.name"))
		x->sparse_name = value;
	if (!str_eq(key, "mtime"))
		return 0;
	x->has_mtime = true;
	return parse_time(text, &x->mtime, &x->mtime_ns) < 0
		       ? damaged(err, "a time in an extended header")
		       : 0;
}

/* The records in x->text from offset on. */
static int take_records(struct extended *x, size_t offset, struct err *err)
{
	while (offset < x->text.length) {
		char *at = x->text.text + offset;
		size_t left = x->text.length - offset;
		size_t digits = strspn(at, "0123456789");
		char *equals;
		uint64_t size;

		if (digits >= left || at[digits] != ' ' || parse_decimal(at, digits, &size) < 0 ||
		    size > left || size < digits + 3 || at[size - 1] != '\n')
			return damaged(err, "an extended header");
		equals = memchr(at + digits + 1, '=', (size_t)size - digits - 2);
		if (!equals || memchr(at, '\0', (size_t)(equals - at)))
			return damaged(err, "an extended header");
		*equals = '\0';
		at[size - 1] = '\0';
		int r = take_record(x, at + digits + 1, (size_t)(equals + 1 - x->text.text),
				    (size_t)(at + size - 1 - (equals + 1)), err);
		if (r < 0)
			return r;
		offset += (size_t)size;
	}
	return 0;
}

/* Appends the data of an extended header to x->text. */
static int read_extended(struct tar_reader *reader, uint64_t size, struct err *err)
{
	struct sbuf *text = &reader->extended.text;
	uint64_t left = size;

	if (size > TAR_EXTENDED_MAX - text->length)
		return damaged(err, "extended headers of more than a megabyte");
	while (left) {
		const void *data;
		long n = view(reader, left, &data, err);

		if (n < 0)
			return (int)n;
		sbuf_add_bytes(text, data, (size_t)n);
		left -= (uint64_t)n;
	}
	return skip(reader, tar_padding(size), err);
}

static int take_extended(struct tar_reader *reader, char type, uint64_t size, struct err *err)
{
	struct extended *x = &reader->extended;
	size_t offset = x->text.length;
	int r;

	if (type == TAR_TYPE_GLOBAL) /* comments, in practice */
		return skip(reader, size + tar_padding(size), err);
	r = read_extended(reader, size, err);
	if (r < 0 || type == TAR_TYPE_EXTENDED)
		return r < 0 ? r : take_records(x, offset, err);
	sbuf_add_bytes(&x->text, "", 1);
	if (type == TAR_TYPE_GNU_NAME)
		x->path = offset;
	else
		x->link = offset;
	return 0;
}

/* --- entries --- */

static bool is_zero(const void *block)
{
	static const char zeros[TAR_BLOCK];

	return memcmp(block, zeros, TAR_BLOCK) == 0;
}

/* Whether bytes below 0 were summed as such: some old writers did. */
static bool sum_fits(const struct tar_header *header, uint64_t sum)
{
	const signed char *bytes = (const signed char *)header;
	int64_t signed_sum = 8 * ' ';

	if (tar_checksum(header) == sum)
		return true;
	for (size_t i = 0; i < sizeof(*header); i++)
		if (i < offsetof(struct tar_header, checksum) ||
		    i >= offsetof(struct tar_header, type))
			signed_sum += bytes[i];
	return signed_sum == (int64_t)sum;
}

static int check_header(const struct tar_header *header, struct err *err)
{
	uint64_t sum;

	if (parse_octal(header->checksum, sizeof(header->checksum), &sum) < 0 ||
	    !sum_fits(header, sum))
		return damaged(err, "a header's checksum does not fit (is it compressed?)");
	return 0;
}

/* A header; 0 at the end of the archive. Those of extensions are taken by the way. */
static int next_header(struct tar_reader *reader, struct tar_header *ret_header, struct err *err)
{
	for (int i = 0; i < EXTENDED_HEADERS_MAX; i++) {
		uint64_t size;
		int r = fill(reader, TAR_BLOCK, err);

		if (r <= 0)
			return r < 0 || i == 0 ? r : damaged(err, "it is cut off");
		memcpy(ret_header, reader->buffer + reader->start, TAR_BLOCK);
		reader->start += TAR_BLOCK;
		if (is_zero(ret_header))
			return i == 0 ? 0 : damaged(err, "it ends behind an extended header");
		r = check_header(ret_header, err);
		if (r < 0 || !strchr("xgLK", ret_header->type) || !ret_header->type)
			return r < 0 ? r : 1;
		if (parse_unsigned(ret_header->size, sizeof(ret_header->size), TAR_EXTENDED_MAX,
				   &size) < 0)
			return damaged(err, "the size of an extended header");
		r = take_extended(reader, ret_header->type, size, err);
		if (r < 0)
			return r;
	}
	return damaged(err, "too many extended headers");
}

static int copy_name(char out[TAR_PATH_MAX + 1], const char *text, struct err *err)
{
	size_t length = strlen(text);

	if (length > TAR_PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "the archive holds a name of %zu bytes", length);
	memcpy(out, text, length + 1);
	return 0;
}

/* The name of header and extended headers. POSIX archives may have its first part apart. */
static int take_names(struct tar_reader *reader, const struct tar_header *header, struct err *err)
{
	const struct extended *x = &reader->extended;
	size_t path = x->sparse && x->sparse_name != SIZE_MAX ? x->sparse_name : x->path;
	char text[sizeof(header->prefix) + 1 + sizeof(header->name) + 1];
	size_t length = 0;
	int r;

	if (memcmp(header->magic, "ustar", 6) == 0 && header->prefix[0]) {
		length = strnlen(header->prefix, sizeof(header->prefix));
		memcpy(text, header->prefix, length);
		text[length++] = '/';
	}
	memcpy(text + length, header->name, sizeof(header->name));
	text[length + strnlen(header->name, sizeof(header->name))] = '\0';
	r = copy_name(reader->name, path == SIZE_MAX ? text : x->text.text + path, err);
	if (r < 0)
		return r;
	memcpy(text, header->link, sizeof(header->link));
	text[strnlen(header->link, sizeof(header->link))] = '\0';
	r = copy_name(reader->link, x->link == SIZE_MAX ? text : x->text.text + x->link, err);
	if (r == 0 && !reader->name[0])
		r = damaged(err, "an entry without a name");
	return r;
}

static int take_type(const struct tar_reader *reader, char type, struct tar_entry *entry,
		     struct err *err)
{
	const char *known = TAR_TYPE_LETTERS;
	const char *at = type ? strchr(known, type) : NULL;
	size_t length = strlen(reader->name);

	if (type == '\0' || type == '7')
		at = known;
	if (!at)
		return err_set(err, -ENOTSUP, "the archive holds '%s' of a kind that is not known",
			       reader->name);
	entry->type = (enum tar_type)(at - known);
	/* V7 had no letter for directories. */
	if (entry->type == TAR_FILE && reader->name[length - 1] == '/')
		entry->type = TAR_DIRECTORY;
	return 0;
}

static int take_numbers(const struct tar_reader *reader, const struct tar_header *header,
			struct tar_entry *entry, struct err *err)
{
	const struct extended *x = &reader->extended;
	uint64_t mode = 0, uid = 0, gid = 0, major = 0, minor = 0;
	int64_t mtime = 0;

	if (parse_unsigned(header->mode, sizeof(header->mode), UINT32_MAX, &mode) < 0 ||
	    (!x->has_uid &&
	     parse_unsigned(header->uid, sizeof(header->uid), UINT32_MAX, &uid) < 0) ||
	    (!x->has_gid &&
	     parse_unsigned(header->gid, sizeof(header->gid), UINT32_MAX, &gid) < 0) ||
	    (!x->has_size &&
	     parse_unsigned(header->size, sizeof(header->size), SIZE_LIMIT, &entry->size) < 0) ||
	    (!x->has_mtime && parse_number(header->mtime, sizeof(header->mtime), &mtime) < 0))
		return damaged(err, "a number in a header");
	if (memcmp(header->magic, "ustar", 5) == 0 &&
	    (parse_unsigned(header->major, sizeof(header->major), UINT32_MAX, &major) < 0 ||
	     parse_unsigned(header->minor, sizeof(header->minor), UINT32_MAX, &minor) < 0))
		return damaged(err, "a device number in a header");
	entry->mode = (uint32_t)mode & 07777;
	entry->major = (uint32_t)major;
	entry->minor = (uint32_t)minor;
	entry->mtime = x->has_mtime ? x->mtime : mtime;
	entry->mtime_ns = x->has_mtime ? x->mtime_ns : 0;
	uid = x->has_uid ? x->uid : uid;
	gid = x->has_gid ? x->gid : gid;
	/* The last number is no one's: "unchanged" to chown. */
	if (uid >= UINT32_MAX || gid >= UINT32_MAX)
		return damaged(err, "an owner's number");
	entry->uid = (uint32_t)uid;
	entry->gid = (uint32_t)gid;
	if (x->has_size)
		entry->size = x->size;
	return 0;
}

static void take_xattrs(struct tar_reader *reader, struct tar_entry *entry)
{
	const struct extended *x = &reader->extended;

	for (size_t i = 0; i < x->xattr_count; i++)
		reader->xattrs[i] =
			(struct tar_xattr){ x->text.text + x->xattrs[i].name,
					    x->text.text + x->xattrs[i].value, x->xattrs[i].size };
	entry->xattrs = reader->xattrs;
	entry->xattr_count = x->xattr_count;
}

/* --- holes --- */

/* A line of the map: a decimal and a newline, from the data. */
static int read_map_number(struct tar_reader *reader, uint64_t *ret_value, struct err *err)
{
	char text[24];
	size_t length = 0;

	for (;;) {
		const void *data;
		long n = reader->left ? view(reader, 1, &data, err)
				      : damaged(err, "the map of a sparse file");

		if (n < 0)
			return (int)n;
		reader->left--;
		if (*(const char *)data == '\n')
			break;
		if (length == sizeof(text))
			return damaged(err, "the map of a sparse file");
		text[length++] = *(const char *)data;
	}
	return parse_decimal(text, length, ret_value) < 0 || *ret_value > SIZE_LIMIT
		       ? damaged(err, "the map of a sparse file")
		       : 0;
}

/* The extents, which must ascend and stay within the file. */
static int read_extents(struct tar_reader *reader, struct tar_entry *entry, uint64_t count,
			uint64_t *ret_data, struct err *err)
{
	uint64_t end = 0;
	uint64_t data = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct tar_extent extent;
		int r = read_map_number(reader, &extent.offset, err);

		if (r == 0)
			r = read_map_number(reader, &extent.size, err);
		if (r < 0)
			return r;
		if (extent.offset < end || extent.size > entry->size ||
		    extent.offset > entry->size - extent.size)
			return damaged(err, "the map of a sparse file");
		end = extent.offset + extent.size;
		data += extent.size;
		/* One without data says where the file ends. */
		if (extent.size && entry->extent_count == TAR_EXTENTS_MAX)
			return err_set(err, -E2BIG, "'%s' in the archive has too many holes",
				       entry->name);
		if (extent.size)
			reader->extents[entry->extent_count++] = extent;
	}
	*ret_data = data;
	return 0;
}

static int take_sparse(struct tar_reader *reader, struct tar_entry *entry, struct err *err)
{
	const struct extended *x = &reader->extended;
	uint64_t stored = entry->size;
	uint64_t count = 0;
	uint64_t data = 0;
	uint64_t used;
	int r;

	if (!x->sparse || entry->type != TAR_FILE)
		return 0;
	if (x->sparse_major != 1 || x->sparse_minor != 0 || !x->has_real_size)
		return err_set(err, -ENOTSUP, "the archive holds a sparse file in an old format");
	entry->sparse = true;
	entry->size = x->real_size;
	entry->extents = reader->extents;
	r = read_map_number(reader, &count, err);
	if (r == 0 && count > TAR_EXTENTS_MAX + 1)
		r = err_set(err, -E2BIG, "'%s' in the archive has too many holes", entry->name);
	if (r == 0)
		r = read_extents(reader, entry, count, &data, err);
	if (r < 0)
		return r;
	used = stored - reader->left;
	if (reader->left < tar_padding(used))
		return damaged(err, "the map of a sparse file");
	r = skip(reader, tar_padding(used), err);
	reader->left -= tar_padding(used);
	if (r == 0 && reader->left != data)
		r = damaged(err, "the map of a sparse file");
	return r;
}

static int read_entry(struct tar_reader *reader, struct tar_entry *ret_entry, struct err *err)
{
	struct tar_entry entry = { .name = reader->name, .link = reader->link };
	struct tar_header header;
	int r;

	extended_reset(&reader->extended);
	r = next_header(reader, &header, err);
	if (r <= 0) {
		reader->ended = r == 0;
		return r;
	}
	r = take_names(reader, &header, err);
	if (r == 0)
		r = take_type(reader, header.type, &entry, err);
	if (r == 0)
		r = take_numbers(reader, &header, &entry, err);
	if (r < 0)
		return r;
	/* Some writers give others a size too, and no data. */
	if (entry.type != TAR_FILE)
		entry.size = 0;
	reader->left = entry.size;
	reader->padding = tar_padding(entry.size);
	take_xattrs(reader, &entry);
	r = take_sparse(reader, &entry, err);
	if (r < 0)
		return r;
	*ret_entry = entry;
	return 1;
}

int tar_reader_next(struct tar_reader *reader, struct tar_entry *ret_entry, struct err *err)
{
	int r;

	if (reader->error)
		return err_set(err, reader->error, "the archive cannot be read on");
	if (reader->ended)
		return 0;
	r = skip(reader, reader->left, err);
	if (r == 0)
		r = skip(reader, reader->padding, err);
	reader->left = reader->padding = 0;
	if (r == 0)
		r = read_entry(reader, ret_entry, err);
	if (r < 0)
		reader->error = r;
	return r;
}

long tar_reader_data(struct tar_reader *reader, const void **ret_data, struct err *err)
{
	long n;

	if (reader->error || reader->left == 0)
		return reader->error;
	n = fill(reader, reader->left < TAR_PAGE ? (size_t)reader->left : TAR_PAGE, err);
	if (n > 0)
		n = view(reader, reader->left, ret_data, err);
	else if (n == 0)
		n = damaged(err, "it is cut off");
	if (n < 0) {
		reader->error = (int)n;
		return n;
	}
	/* The rest of a page waits for what follows it. */
	if ((uint64_t)n < reader->left) {
		reader->start -= (size_t)n % TAR_PAGE;
		n -= n % TAR_PAGE;
	}
	reader->left -= (uint64_t)n;
	return n;
}

int tar_reader_drain(struct tar_reader *reader)
{
	long n;

	do
		n = reader->read(reader->ctx, reader->buffer, BUFFER_SIZE);
	while (n > 0);
	return (int)n;
}
