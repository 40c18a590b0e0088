/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "tar/format.h"

#define BUFFER_SIZE (64 * 1024) /* small entries go out together */
#define OCTAL_7 07777777u       /* the largest of a field of 8 */
#define OCTAL_11 077777777777u  /* of 12 */

struct tar_writer {
	tar_write_fn write;
	void *ctx;
	int error;
	uint64_t missing; /* data of the entry that is to come */
	size_t padding;   /* zeros after it */
	size_t used;
	char buffer[BUFFER_SIZE];
};

struct tar_writer *tar_writer_new(tar_write_fn write, void *ctx)
{
	struct tar_writer *writer = xmalloc(sizeof(*writer));

	writer->write = write;
	writer->ctx = ctx;
	writer->error = 0;
	writer->missing = writer->padding = writer->used = 0;
	return writer;
}

struct tar_writer *tar_writer_free(struct tar_writer *writer)
{
	free(writer);
	return NULL;
}

static int flush(struct tar_writer *writer)
{
	size_t size = writer->used;

	writer->used = 0;
	if (writer->error == 0 && size)
		writer->error = writer->write(writer->ctx, writer->buffer, size);
	return writer->error;
}

static int put(struct tar_writer *writer, const void *data, size_t size)
{
	if (size > BUFFER_SIZE - writer->used)
		flush(writer);
	if (writer->error)
		return writer->error;
	if (size >= BUFFER_SIZE) {
		writer->error = writer->write(writer->ctx, data, size);
		return writer->error;
	}
	memcpy(writer->buffer + writer->used, data, size);
	writer->used += size;
	return 0;
}

static int put_padding(struct tar_writer *writer, size_t size)
{
	static const char zeros[TAR_BLOCK];

	return put(writer, zeros, size);
}

uint32_t tar_checksum(const struct tar_header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	for (size_t i = 0; i < sizeof(header->checksum); i++)
		sum += ' ' - (uint32_t)(unsigned char)header->checksum[i];
	return sum;
}

static void put_octal(char *field, size_t size, uint64_t value)
{
	field[size - 1] = '\0';
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

/* As much of text as fits; a field that is full has no NUL. */
static void put_text(char *field, size_t size, const char *text)
{
	memcpy(field, text, strnlen(text, size));
}

static int put_header(struct tar_writer *writer, struct tar_header *header)
{
	memcpy(header->magic, "ustar", 6);
	memcpy(header->version, "00", 2);
	put_octal(header->checksum, 7, tar_checksum(header));
	header->checksum[7] = ' ';
	return put(writer, header, sizeof(*header));
}

/* A record "LENGTH KEY=VALUE\n", whose length counts its own digits. */
static void add_record(struct sbuf *out, const char *key, const void *value, size_t size)
{
	size_t rest = strlen(key) + size + 3; /* blank, '=', newline */
	size_t length = rest + 1;
	char digits[24];

	for (;;) {
		size_t all = rest + (size_t)snprintf(digits, sizeof(digits), "%zu", length);

		if (all == length)
			break;
		length = all;
	}
	sbuf_addf(out, "%s %s=", digits, key);
	sbuf_add_bytes(out, value, size);
	sbuf_add(out, "\n");
}

static void add_number(struct sbuf *out, const char *key, uint64_t value)
{
	char text[24];

	add_record(out, key, text,
		   (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)value));
}

/* Seconds with a fraction, exact also before 1970: the fraction then counts up from below. */
static void add_time(struct sbuf *out, const struct tar_entry *entry)
{
	char text[48];
	int64_t seconds = entry->mtime;
	uint32_t ns = entry->mtime_ns;
	bool negative = seconds < 0;

	if (negative && ns) {
		seconds++;
		ns = 1000000000 - ns;
	}
	int n = snprintf(text, sizeof(text), "%s%llu.%09u", negative ? "-" : "",
			 (unsigned long long)(negative ? -(uint64_t)seconds : (uint64_t)seconds),
			 ns);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	add_record(out, "mtime", text, (size_t)n);
}

static void add_records(struct sbuf *out, const struct tar_entry *entry, const char *link,
			uint64_t stored)
{
	if (entry->sparse) {
		add_number(out, "GNU.sparse.major", 1);
		add_number(out, "GNU.sparse.minor", 0);
		add_record(out, "GNU.sparse.name", entry->name, strlen(entry->name));
		add_number(out, "GNU.sparse.realsize", entry->size);
	} else if (strlen(entry->name) > sizeof(((struct tar_header *)0)->name)) {
		add_record(out, "path", entry->name, strlen(entry->name));
	}
	if (strlen(link) > sizeof(((struct tar_header *)0)->link))
		add_record(out, "linkpath", link, strlen(link));
	if (stored > OCTAL_11)
		add_number(out, "size", stored);
	if (entry->uid > OCTAL_7)
		add_number(out, "uid", entry->uid);
	if (entry->gid > OCTAL_7)
		add_number(out, "gid", entry->gid);
	if (entry->mtime_ns || entry->mtime < 0 || entry->mtime > (int64_t)OCTAL_11)
		add_time(out, entry);
	for (size_t i = 0; i < entry->xattr_count; i++) {
		AUTO_FREE char *key = xasprintf(TAR_XATTR_PREFIX "%s", entry->xattrs[i].name);

		add_record(out, key, entry->xattrs[i].value, entry->xattrs[i].size);
	}
}

static void put_extended(struct tar_writer *writer, const struct sbuf *records)
{
	struct tar_header header = { .name = "PaxHeader", .type = TAR_TYPE_EXTENDED };

	put_octal(header.mode, sizeof(header.mode), 0644);
	put_octal(header.uid, sizeof(header.uid), 0);
	put_octal(header.gid, sizeof(header.gid), 0);
	put_octal(header.size, sizeof(header.size), records->length);
	put_octal(header.mtime, sizeof(header.mtime), 0);
	put_header(writer, &header);
	put(writer, records->text, records->length);
	put_padding(writer, tar_padding(records->length));
}

/* Format 1.0: the map is text at the head of the data, in whole blocks. A hole at the end is told
 * by an extent without data, or GNU tar makes the file too short. */
static void make_map(const struct tar_entry *entry, struct sbuf *map)
{
	const struct tar_extent *last =
		entry->extent_count ? &entry->extents[entry->extent_count - 1] : NULL;
	bool ends_in_hole = !last || last->offset + last->size < entry->size;

	sbuf_addf(map, "%zu\n", entry->extent_count + ends_in_hole);
	for (size_t i = 0; last && i < entry->extent_count; i++)
		sbuf_addf(map, "%llu\n%llu\n", (unsigned long long)entry->extents[i].offset,
			  (unsigned long long)entry->extents[i].size);
	if (ends_in_hole)
		sbuf_addf(map, "%llu\n0\n", (unsigned long long)entry->size);
}

static uint64_t stored_size(const struct tar_entry *entry, size_t map_size)
{
	uint64_t size = map_size + tar_padding(map_size);

	if (entry->type != TAR_FILE)
		return 0;
	if (!entry->sparse)
		return entry->size;
	for (size_t i = 0; i < entry->extent_count; i++)
		size += entry->extents[i].size;
	return size;
}

static void put_entry_header(struct tar_writer *writer, const struct tar_entry *entry,
			     const char *link, uint64_t stored)
{
	struct tar_header header = { .type = TAR_TYPE_LETTERS[entry->type] };

	if (entry->sparse)
		memcpy(header.name, TAR_SPARSE_DIRECTORY, strlen(TAR_SPARSE_DIRECTORY));
	put_text(header.name + strlen(header.name), sizeof(header.name) - strlen(header.name),
		 entry->name);
	put_text(header.link, sizeof(header.link), link);
	put_octal(header.mode, sizeof(header.mode), entry->mode & 07777);
	put_octal(header.uid, sizeof(header.uid), entry->uid > OCTAL_7 ? 0 : entry->uid);
	put_octal(header.gid, sizeof(header.gid), entry->gid > OCTAL_7 ? 0 : entry->gid);
	put_octal(header.size, sizeof(header.size), stored > OCTAL_11 ? 0 : stored);
	put_octal(header.mtime, sizeof(header.mtime),
		  entry->mtime < 0 || entry->mtime > (int64_t)OCTAL_11 ? 0
								       : (uint64_t)entry->mtime);
	put_octal(header.major, sizeof(header.major), entry->major & OCTAL_7);
	put_octal(header.minor, sizeof(header.minor), entry->minor & OCTAL_7);
	put_header(writer, &header);
}

int tar_writer_entry(struct tar_writer *writer, const struct tar_entry *entry)
{
	AUTO_SBUF struct sbuf records = { 0 };
	AUTO_SBUF struct sbuf map = { 0 };
	const char *link = str_or(entry->link, "");
	uint64_t stored;

	if (writer->missing)
		return writer->error = -EINVAL;
	if (entry->sparse)
		make_map(entry, &map);
	stored = stored_size(entry, map.length);
	add_records(&records, entry, link, stored);
	if (records.length)
		put_extended(writer, &records);
	put_entry_header(writer, entry, link, stored);
	writer->missing = stored;
	writer->padding = tar_padding(stored);
	if (entry->sparse) {
		tar_writer_data(writer, map.text, map.length);
		writer->missing -= tar_padding(map.length);
		put_padding(writer, tar_padding(map.length));
	}
	return writer->error;
}

int tar_writer_data(struct tar_writer *writer, const void *data, size_t size)
{
	if (size > writer->missing)
		return writer->error = -EINVAL;
	if (size == 0)
		return writer->error;
	put(writer, data, size);
	writer->missing -= size;
	if (writer->missing == 0)
		put_padding(writer, writer->padding);
	return writer->error;
}

uint64_t tar_writer_missing(const struct tar_writer *writer)
{
	return writer->missing;
}

int tar_writer_finish(struct tar_writer *writer)
{
	if (writer->missing)
		return writer->error = -EINVAL;
	put_padding(writer, TAR_BLOCK);
	put_padding(writer, TAR_BLOCK);
	return flush(writer);
}
