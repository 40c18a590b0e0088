/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#define WRITEBACK_STEP (8 * 1024 * 1024)

ssize_t stream_read(struct stream *stream, const void **ret_data, struct err *err)
{
	ssize_t n;

	if (stream->ended <= 0)
		return stream->ended;
	n = stream->ops->read(stream, ret_data, err);
	if (n <= 0)
		stream->ended = n;
	return n;
}

void stream_free(struct stream *stream)
{
	if (stream)
		stream->ops->free(stream);
}

int stream_drain(struct stream *stream, struct err *err)
{
	const void *data;
	ssize_t n;

	do
		n = stream_read(stream, &data, err);
	while (n > 0);
	return (int)n;
}

int stream_read_text(struct stream *stream, size_t max, char **ret_text, size_t *ret_size,
		     struct err *err)
{
	CLEANUP(sbuf_release) struct sbuf text = { 0 };
	const void *data;
	ssize_t n;

	while ((n = stream_read(stream, &data, err)) > 0) {
		if (text.length + (size_t)n > max)
			return err_set(err, -E2BIG, "the document is larger than %zu bytes", max);
		sbuf_add_bytes(&text, data, (size_t)n);
	}
	if (n < 0)
		return (int)n;
	if (ret_size)
		*ret_size = text.length;
	*ret_text = sbuf_take(&text);
	return 0;
}

int stream_write_error(int code, const char *what, struct err *err)
{
	if (code == -ENOSPC || code == -EDQUOT)
		return err_set(err, code,
			       "cannot store %s: %m; free some with 'hull image prune --all' or "
			       "'hull system prune'",
			       what);
	return err_set(err, code, "cannot store %s: %m", what);
}

/* A file. */

struct fd_stream {
	struct stream stream;
	int fd;     /* borrowed */
	char *name; /* owned */
	char buffer[STREAM_BUFFER_SIZE];
};

static ssize_t fd_stream_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct fd_stream *self = (struct fd_stream *)stream;
	ssize_t n;

	do
		n = read(self->fd, self->buffer, sizeof(self->buffer));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(err, -errno, "cannot read %s: %m", self->name);
	*ret_data = self->buffer;
	return n;
}

static void fd_stream_free(struct stream *stream)
{
	struct fd_stream *self = (struct fd_stream *)stream;

	free(self->name);
	free(self);
}

struct stream *stream_fd_new(int fd, const char *name)
{
	static const struct stream_ops ops = { .read = fd_stream_read, .free = fd_stream_free };
	struct fd_stream *self = xmalloc(sizeof(*self));

	self->stream = (struct stream){ .ops = &ops, .ended = 1 };
	self->fd = fd;
	self->name = xstrdup(name);
	return &self->stream;
}

/* Another's stream. */

struct borrowed_stream {
	struct stream stream;
	struct stream *lender; /* borrowed */
};

static ssize_t borrowed_read(struct stream *stream, const void **ret_data, struct err *err)
{
	return stream_read(((struct borrowed_stream *)stream)->lender, ret_data, err);
}

static void plain_free(struct stream *stream)
{
	free(stream);
}

struct stream *stream_borrow(struct stream *stream)
{
	static const struct stream_ops ops = { .read = borrowed_read, .free = plain_free };
	struct borrowed_stream *self = xcalloc(1, sizeof(*self));

	*self = (struct borrowed_stream){ .stream = { &ops, 1 }, .lender = stream };
	return &self->stream;
}

/* Memory. */

struct memory_stream {
	struct stream stream;
	const char *data; /* borrowed */
	size_t size;
};

static ssize_t memory_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct memory_stream *self = (struct memory_stream *)stream;
	size_t n = self->size < STREAM_BUFFER_SIZE ? self->size : STREAM_BUFFER_SIZE;

	*ret_data = self->data;
	self->data += n;
	self->size -= n;
	return (ssize_t)n;
}

struct stream *stream_memory_new(const void *data, size_t size)
{
	static const struct stream_ops ops = { .read = memory_read, .free = plain_free };
	struct memory_stream *self = xcalloc(1, sizeof(*self));

	*self = (struct memory_stream){ .stream = { &ops, 1 }, .data = data, .size = size };
	return &self->stream;
}

/* Tee. */

struct tee_stream {
	struct stream stream;
	struct stream *next; /* owned */
	int fd;              /* borrowed */
	off_t written, started;
};

static ssize_t tee_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct tee_stream *self = (struct tee_stream *)stream;
	ssize_t n = stream_read(self->next, ret_data, err);
	int r;

	if (n <= 0)
		return n;
	r = fd_write_all(self->fd, *ret_data, (size_t)n);
	if (r < 0)
		return stream_write_error(r, "a blob", err);
	self->written += n;
	/* Starts write-back now, so that the fdatasync at the end finds little left to do. */
	if (self->written - self->started >= WRITEBACK_STEP) {
		sync_file_range(self->fd, self->started, self->written - self->started,
				SYNC_FILE_RANGE_WRITE);
		self->started = self->written;
	}
	return n;
}

static void tee_free(struct stream *stream)
{
	struct tee_stream *self = (struct tee_stream *)stream;

	stream_free(self->next);
	free(self);
}

struct stream *stream_tee_new(struct stream *next, int fd)
{
	static const struct stream_ops ops = { .read = tee_read, .free = tee_free };
	struct tee_stream *self = xcalloc(1, sizeof(*self));
	off_t position = lseek(fd, 0, SEEK_CUR);

	*self = (struct tee_stream){ .stream = { &ops, 1 }, .next = next, .fd = fd };
	self->written = self->started = position > 0 ? position : 0;
	return &self->stream;
}

/* Digest. */

struct digest_stream {
	struct stream stream;
	struct stream *next; /* owned */
	EVP_MD_CTX *hash;    /* owned */
	const char *what;
	char *expected; /* owned; NULL: any */
	uint64_t size;
	uint64_t count;
	const atomic_bool *cancelled;        /* borrowed; may be NULL */
	char text[STREAM_DIGEST_LENGTH + 1]; /* "" until the end */
};

static int digest_end(struct digest_stream *self, struct err *err)
{
	char text[STREAM_DIGEST_LENGTH + 1];

	stream_digest_text(&self->stream, text);
	if (!self->expected)
		return 0;
	if (self->size != STREAM_SIZE_UNKNOWN && self->count != self->size)
		return err_set(err, -EBADMSG, "%s %s has %llu bytes instead of %llu", self->what,
			       self->expected, (unsigned long long)self->count,
			       (unsigned long long)self->size);
	if (!str_eq(text, self->expected))
		return err_set(err, -EBADMSG, "%s %s does not match its digest (it is %s)",
			       self->what, self->expected, text);
	return 0;
}

static ssize_t digest_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct digest_stream *self = (struct digest_stream *)stream;
	ssize_t n;

	if (self->cancelled && atomic_load_explicit(self->cancelled, memory_order_relaxed))
		return err_set(err, -ECANCELED, "cancelled");
	n = stream_read(self->next, ret_data, err);
	if (n < 0)
		return n;
	if (n == 0)
		return digest_end(self, err);
	self->count += (uint64_t)n;
	if (self->expected && self->count > self->size)
		return err_set(err, -EBADMSG, "%s %s has more than its %llu bytes", self->what,
			       self->expected, (unsigned long long)self->size);
	EVP_DigestUpdate(self->hash, *ret_data, (size_t)n);
	return n;
}

static void digest_free(struct stream *stream)
{
	struct digest_stream *self = (struct digest_stream *)stream;

	stream_free(self->next);
	EVP_MD_CTX_free(self->hash);
	free(self->expected);
	free(self);
}

struct stream *stream_digest_new(struct stream *next, const char *what, const char *digest,
				 uint64_t size, const atomic_bool *cancelled)
{
	static const struct stream_ops ops = { .read = digest_read, .free = digest_free };
	struct digest_stream *self = xcalloc(1, sizeof(*self));

	*self = (struct digest_stream){ .stream = { &ops, 1 },
					.next = next,
					.hash = EVP_MD_CTX_new(),
					.what = what,
					.expected = xstrdup(digest),
					.size = size,
					.cancelled = cancelled };
	if (!self->hash || !EVP_DigestInit_ex(self->hash, EVP_sha256(), NULL))
		abort(); /* only for want of memory */
	return &self->stream;
}

uint64_t stream_digest_count(const struct stream *stream)
{
	return ((const struct digest_stream *)stream)->count;
}

void stream_digest_text(struct stream *stream, char out[STREAM_DIGEST_LENGTH + 1])
{
	struct digest_stream *self = (struct digest_stream *)stream;
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (self->text[0] == '\0') {
		EVP_DigestFinal_ex(self->hash, digest, NULL);
		memcpy(self->text, "sha256:", 7);
		hash_hex(digest, 32, self->text + 7);
	}
	memcpy(out, self->text, sizeof(self->text));
}
