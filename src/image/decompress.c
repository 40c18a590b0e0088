/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompression by first bytes. Media types of layers are not asked: registries and tools disagree
 * with what they send often enough, and the diff id decides in the end.
 */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"
#include "image/stream.h"

#define PEEK_SIZE 6
#define ZSTD_WINDOW_LOG_MAX 23 /* RFC 8878 asks encoders for no more; keeps the process small */

struct decompress_stream {
	struct stream stream;
	struct stream *next; /* owned */
	enum compression kind;
	bool started;
	bool at_start; /* of a gzip member or zstd frame: the input may end here */
	char head[PEEK_SIZE + STREAM_BUFFER_SIZE]; /* the first bytes, gathered to decide */
	const uint8_t *in;
	size_t in_size;
	bool in_ended;
	uint8_t *out;                  /* owned; STREAM_BUFFER_SIZE */
	struct inflate_state *inflate; /* owned; NULL unless gzip */
	ZSTD_DCtx *zstd;               /* owned; NULL unless zstd */
};

enum compression compression_of(const void *data, size_t size)
{
	static const struct {
		const char *magic;
		size_t size;
		enum compression kind;
	} magics[] = {
		{ "\x1f\x8b", 2, COMPRESSION_GZIP },
		{ "\x28\xb5\x2f\xfd", 4, COMPRESSION_ZSTD },
		{ "\xfd"
		  "7zXZ",
		  6, COMPRESSION_OTHER },
		{ "BZh", 3, COMPRESSION_OTHER },
		{ "\x04\x22\x4d\x18", 4, COMPRESSION_OTHER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (size >= magics[i].size && memcmp(data, magics[i].magic, magics[i].size) == 0)
			return magics[i].kind;
	/* A skippable zstd frame may come first. */
	if (size >= 4 && (((const uint8_t *)data)[0] & 0xf0) == 0x50 &&
	    memcmp((const char *)data + 1, "\x2a\x4d\x18", 3) == 0)
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

static bool exhausted(const struct decompress_stream *self)
{
	return self->in_ended && self->in_size == 0;
}

/* Gets more input if there is none. 0 or negative errno; in_ended is set at the end. */
static int fill(struct decompress_stream *self, struct err *err)
{
	const void *data;
	ssize_t n;

	if (self->in_size > 0 || self->in_ended)
		return 0;
	n = stream_read(self->next, &data, err);
	if (n < 0)
		return (int)n;
	self->in = data;
	self->in_size = (size_t)n;
	self->in_ended = n == 0;
	return 0;
}

/* Reads enough to know what it is. */
static int start(struct decompress_stream *self, struct err *err)
{
	size_t used = 0;

	while (used < PEEK_SIZE) {
		const void *data;
		ssize_t n = stream_read(self->next, &data, err);

		if (n < 0)
			return (int)n;
		if (n == 0) {
			self->in_ended = true;
			break;
		}
		if (used == 0 && n >= PEEK_SIZE) { /* the usual case: no copy */
			self->in = data;
			self->in_size = (size_t)n;
			self->kind = compression_of(data, (size_t)n);
			return 0;
		}
		if ((size_t)n > sizeof(self->head) - used)
			return err_set(err, -EBADMSG, "a stream's chunk is too large");
		memcpy(self->head + used, data, (size_t)n);
		used += (size_t)n;
	}
	self->in = (const uint8_t *)self->head;
	self->in_size = used;
	self->kind = compression_of(self->head, used);
	return 0;
}

static void reset_gzip(struct decompress_stream *self)
{
	isal_inflate_reset(self->inflate);
	self->inflate->crc_flag = ISAL_GZIP;
	self->inflate->hist_bits = 0;
}

static ssize_t read_gzip(struct decompress_stream *self, const void **ret_data, struct err *err)
{
	struct inflate_state *state = self->inflate;

	state->next_out = self->out;
	state->avail_out = STREAM_BUFFER_SIZE;
	while (state->avail_out > 0) {
		int r = fill(self, err);

		if (r < 0)
			return r;
		if (exhausted(self) && self->at_start)
			break;
		if (self->at_start) {
			/* A member's header may be cut anywhere; its first byte tells members from
			 * garbage. */
			if (self->in[0] != 0x1f)
				return err_set(err, -EBADMSG, "garbage after the gzip data");
			self->at_start = false;
		}
		state->next_in = (uint8_t *)self->in;
		state->avail_in = (uint32_t)self->in_size;
		r = isal_inflate(state);
		if (r == ISAL_INCORRECT_CHECKSUM)
			return err_set(err, -EBADMSG, "the gzip data does not match its checksum");
		if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
			return err_set(err, -EBADMSG, "the gzip data is damaged");
		self->in = state->next_in;
		self->in_size = state->avail_in;
		if (state->block_state == ISAL_BLOCK_FINISH) {
			uint8_t *next_out = state->next_out;
			uint32_t avail_out = state->avail_out;

			reset_gzip(self);
			state->next_out = next_out;
			state->avail_out = avail_out;
			self->at_start = true;
		} else if (exhausted(self) && state->avail_out > 0) {
			return err_set(err, -EBADMSG, "the gzip data is cut off");
		}
	}
	*ret_data = self->out;
	return STREAM_BUFFER_SIZE - (ssize_t)state->avail_out;
}

static ssize_t read_zstd(struct decompress_stream *self, const void **ret_data, struct err *err)
{
	ZSTD_outBuffer out = { self->out, STREAM_BUFFER_SIZE, 0 };

	while (out.pos < out.size) {
		ZSTD_inBuffer in;
		size_t before = out.pos;
		size_t r;
		int filled = fill(self, err);

		if (filled < 0)
			return filled;
		if (exhausted(self) && self->at_start)
			break;
		in = (ZSTD_inBuffer){ self->in, self->in_size, 0 };
		r = ZSTD_decompressStream(self->zstd, &out, &in);
		if (ZSTD_isError(r) &&
		    ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge)
			return err_set(err, -E2BIG, "the zstd data needs a window beyond %d MiB",
				       1 << (ZSTD_WINDOW_LOG_MAX - 20));
		if (ZSTD_isError(r))
			return err_set(err, -EBADMSG, "the zstd data is damaged: %s",
				       ZSTD_getErrorName(r));
		self->in += in.pos;
		self->in_size -= in.pos;
		self->at_start = r == 0;
		if (exhausted(self) && r != 0 && out.pos == before)
			return err_set(err, -EBADMSG, "the zstd data is cut off");
	}
	*ret_data = self->out;
	return (ssize_t)out.pos;
}

static int prepare_kind(struct decompress_stream *self, struct err *err)
{
	int r = start(self, err);

	if (r < 0)
		return r;
	if (self->kind == COMPRESSION_OTHER)
		return err_set(
			err, -ENOTSUP,
			"the data is compressed with bzip2, xz or lz4; only gzip and zstd are "
			"supported");
	self->started = self->at_start = true;
	if (self->kind == COMPRESSION_NONE)
		return 0;
	self->out = xmalloc(STREAM_BUFFER_SIZE);
	if (self->kind == COMPRESSION_GZIP) {
		self->inflate = xmalloc(sizeof(*self->inflate));
		isal_inflate_init(self->inflate);
		reset_gzip(self);
	} else {
		self->zstd = ZSTD_createDCtx();
		if (!self->zstd)
			return err_set(err, -ENOMEM, "cannot decompress zstd: %m");
		ZSTD_DCtx_setParameter(self->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	}
	return 0;
}

static ssize_t decompress_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct decompress_stream *self = (struct decompress_stream *)stream;
	int r = self->started ? 0 : prepare_kind(self, err);

	if (r < 0)
		return r;
	if (self->kind == COMPRESSION_GZIP)
		return read_gzip(self, ret_data, err);
	if (self->kind == COMPRESSION_ZSTD)
		return read_zstd(self, ret_data, err);
	r = fill(self, err);
	if (r < 0)
		return r;
	*ret_data = self->in;
	r = (int)self->in_size;
	self->in_size = 0;
	return r;
}

static void decompress_free(struct stream *stream)
{
	struct decompress_stream *self = (struct decompress_stream *)stream;

	stream_free(self->next);
	free(self->out);
	free(self->inflate);
	ZSTD_freeDCtx(self->zstd);
	free(self);
}

struct stream *stream_decompress_new(struct stream *next)
{
	static const struct stream_ops ops = { .read = decompress_read, .free = decompress_free };
	struct decompress_stream *self = xmalloc(sizeof(*self));

	memset(self, 0, offsetof(struct decompress_stream, head));
	memset((char *)self + offsetof(struct decompress_stream, in), 0,
	       sizeof(*self) - offsetof(struct decompress_stream, in));
	self->stream = (struct stream){ .ops = &ops, .ended = 1 };
	self->next = next;
	return &self->stream;
}

enum compression stream_decompress_kind(const struct stream *stream)
{
	return ((const struct decompress_stream *)stream)->kind;
}
