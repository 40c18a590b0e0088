/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of bytes, stacked: gunzip over digest over tee over the network. A reader pulls; each
 * layer hands out a view of its own buffer, so that bytes are copied once per transformation.
 * Buffers are bounded and allocated when a stream is made, whatever passes through. A stream owns
 * the one below it.
 */
#ifndef IMAGE_STREAM_H
#define IMAGE_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

#define STREAM_BUFFER_SIZE (256 * 1024)
#define STREAM_SIZE_UNKNOWN UINT64_MAX
#define STREAM_DIGEST_LENGTH 71 /* "sha256:<hex>" without the NUL */

struct stream;

struct stream_ops {
	/* As stream_read. After 0 or an error it is not called again. */
	ssize_t (*read)(struct stream *stream, const void **ret_data, struct err *err);
	void (*free)(struct stream *stream); /* what it owns, and itself */
};

/* The head of every kind of stream. */
struct stream {
	const struct stream_ops *ops;
	ssize_t ended; /* 1 while open, then what read returned last: 0 or negative errno */
};

/* The next bytes, at least one: sets *ret_data (valid until the next call) and returns their
 * number, 0 at the end, or negative errno; both stay. */
ssize_t stream_read(struct stream *stream, const void **ret_data, struct err *err);
void stream_free(struct stream *stream);
DEFINE_CLEANUP(struct stream *, stream_free)
#define AUTO_STREAM CLEANUP(stream_freep)

/* The same stream, for an owner that must not free it. */
struct stream *stream_borrow(struct stream *stream);
/* The rest of an open file, from where it stands (borrowed; name is for errors, copied). */
struct stream *stream_fd_new(int fd, const char *name);
/* Bytes in memory (borrowed). */
struct stream *stream_memory_new(const void *data, size_t size);
/* Passes bytes on and appends them to fd (borrowed), starting write-back early. */
struct stream *stream_tee_new(struct stream *next, int fd);
/* Passes bytes on and computes their SHA-256. `what` begins errors ("blob", "layer"). Where digest
 * is not NULL, bytes beyond size, an early end or another digest are -EBADMSG. Ends with -ECANCELED
 * once *cancelled (may be NULL) is set. */
struct stream *stream_digest_new(struct stream *next, const char *what, const char *digest,
				 uint64_t size, const atomic_bool *cancelled);
/* Of a digest stream: bytes so far; its digest, once the end was read. */
uint64_t stream_digest_count(const struct stream *stream);
void stream_digest_text(struct stream *stream, char out[STREAM_DIGEST_LENGTH + 1]);

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD, COMPRESSION_OTHER };

/* What the first bytes of a file announce; OTHER for bzip2, xz and lz4. */
enum compression compression_of(const void *data, size_t size);
/* Decompresses gzip (any number of members, nothing after them; CRC checked) or zstd (any number of
 * frames; windows up to 8 MiB), decided by the first bytes; passes anything else on. -EBADMSG for
 * what is damaged or cut off. */
struct stream *stream_decompress_new(struct stream *next);
/* What the stream turned out to be, once something was read of it. */
enum compression stream_decompress_kind(const struct stream *stream);

/* Reads and drops the rest. */
int stream_drain(struct stream *stream, struct err *err);
/* All of it as NUL-terminated text; -E2BIG beyond max bytes. */
int stream_read_text(struct stream *stream, size_t max, char **ret_text, size_t *ret_size,
		     struct err *err);
/* -ENOSPC (and -EDQUOT) with what to do about it; other codes with the reason. Returns code. */
int stream_write_error(int code, const char *what, struct err *err);

#endif
