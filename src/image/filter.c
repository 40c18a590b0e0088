/* SPDX-License-Identifier: Apache-2.0 */
#include "image/filter.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"

#define PEEK_SIZE 6

struct filter_stream {
	struct stream stream;
	struct stream *next;     /* owned */
	struct archive *archive; /* owned; NULL: pass on */
	bool started;
	char head[PEEK_SIZE]; /* its first bytes, given back first */
	size_t head_size;
	const char *rest; /* what remains of the chunk the head came from */
	size_t rest_size;
	struct err err; /* of next, while libarchive reads it */
	char *buffer;   /* owned */
};

/* The next bytes of what lies below, the head first. */
static ssize_t below(struct filter_stream *self, const void **ret_data, struct err *err)
{
	size_t n = self->head_size;

	if (n > 0) {
		*ret_data = self->head;
		self->head_size = 0;
		return (ssize_t)n;
	}
	n = self->rest_size;
	if (n > 0) {
		*ret_data = self->rest;
		self->rest_size = 0;
		return (ssize_t)n;
	}
	return stream_read(self->next, ret_data, err);
}

static la_ssize_t archive_read_below(struct archive *archive, void *ctx, const void **ret_data)
{
	struct filter_stream *self = ctx;
	ssize_t n = below(self, ret_data, &self->err);

	if (n < 0)
		archive_set_error(archive, (int)-n, "%s", self->err.message);
	return n;
}

static int start(struct filter_stream *self, struct err *err)
{
	struct archive_entry *entry;

	self->started = true;
	while (self->head_size < PEEK_SIZE) {
		const void *data;
		ssize_t n = stream_read(self->next, &data, err);
		size_t take = PEEK_SIZE - self->head_size;

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		if (take > (size_t)n)
			take = (size_t)n;
		memcpy(self->head + self->head_size, data, take);
		self->head_size += take;
		self->rest = (const char *)data + take;
		self->rest_size = (size_t)n - take;
	}
	if (compression_of(self->head, self->head_size) != COMPRESSION_OTHER)
		return 0;
	self->buffer = xmalloc(STREAM_BUFFER_SIZE);
	self->archive = archive_read_new();
	archive_read_support_filter_xz(self->archive);
	archive_read_support_filter_bzip2(self->archive);
	archive_read_support_filter_lz4(self->archive);
	archive_read_support_format_raw(self->archive);
	if (archive_read_open(self->archive, self, NULL, archive_read_below, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(self->archive, &entry) != ARCHIVE_OK)
		return err_set(err, -EBADMSG, "cannot decompress: %s",
			       archive_error_string(self->archive));
	return 0;
}

static ssize_t filter_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct filter_stream *self = (struct filter_stream *)stream;
	int r = self->started ? 0 : start(self, err);
	la_ssize_t n;

	if (r < 0)
		return r;
	if (!self->archive)
		return below(self, ret_data, err);
	n = archive_read_data(self->archive, self->buffer, STREAM_BUFFER_SIZE);
	if (n < 0)
		return err_set(err, -EBADMSG, "cannot decompress: %s",
			       archive_error_string(self->archive));
	*ret_data = self->buffer;
	return n;
}

static void filter_free(struct stream *stream)
{
	struct filter_stream *self = (struct filter_stream *)stream;

	if (self->archive)
		archive_read_free(self->archive);
	stream_free(self->next);
	free(self->buffer);
	free(self);
}

struct stream *stream_filter_new(struct stream *next)
{
	static const struct stream_ops ops = { .read = filter_read, .free = filter_free };
	struct filter_stream *self = xcalloc(1, sizeof(*self));

	self->stream = (struct stream){ .ops = &ops, .ended = 1 };
	self->next = next;
	return &self->stream;
}
