/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar, as far as copying files between host and guest needs it, by both of them: libc alone.
 *
 * Written are the POSIX (pax) format: ustar headers, and extended ones only where a value does not
 * fit (long names, times below a second, extended attributes, holes by GNU's format 1.0). Read are
 * besides them V7 and GNU's long names and numbers. POSIX.1-2017, pax; GNU tar manual, "Basic tar
 * format" and "Storing sparse files".
 */
#ifndef TAR_TAR_H
#define TAR_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TAR_BLOCK 512
#define TAR_PAGE 4096                  /* what is moved past a page cache comes in these */
#define TAR_PATH_MAX 4095              /* of a name, without NUL: more no system call takes */
#define TAR_XATTRS_MAX 256             /* of an entry */
#define TAR_EXTENTS_MAX 8192           /* of a file with holes */
#define TAR_EXTENDED_MAX (1024 * 1024) /* bytes of an entry's extended headers */

enum tar_type {
	TAR_FILE,
	TAR_LINK, /* hard link to the earlier entry `link` */
	TAR_SYMLINK,
	TAR_CHARACTER,
	TAR_BLOCK_DEVICE,
	TAR_DIRECTORY,
	TAR_FIFO,
	TAR_TYPE_COUNT
};

struct tar_xattr {
	const char *name;
	const void *value;
	size_t size;
};

struct tar_extent {
	uint64_t offset, size;
};

/* An entry; what it points to is borrowed from who made it. */
struct tar_entry {
	enum tar_type type;
	const char *name;
	const char *link; /* target of links; "" or NULL otherwise */
	uint32_t mode;    /* permissions: 07777 */
	uint32_t uid, gid;
	uint64_t size; /* of a file; holes count */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t major, minor;
	size_t xattr_count;
	const struct tar_xattr *xattrs;
	/* A file with holes: where its data is, ascending, none of size 0. */
	bool sparse;
	size_t extent_count;
	const struct tar_extent *extents;
};

/* --- writing --- */

struct tar_writer;

/* Where the archive goes: all of it. 0 or negative errno, which sticks. */
typedef int (*tar_write_fn)(void *ctx, const void *data, size_t size);

struct tar_writer *tar_writer_new(tar_write_fn write, void *ctx);
struct tar_writer *tar_writer_free(struct tar_writer *writer);
/* Begins an entry; the data of the last one must be complete. */
int tar_writer_entry(struct tar_writer *writer, const struct tar_entry *entry);
/* Data of a file: of its extents alone, if it is sparse. */
int tar_writer_data(struct tar_writer *writer, const void *data, size_t size);
/* How much data the entry still needs. */
uint64_t tar_writer_missing(const struct tar_writer *writer);
/* The end of the archive, written out. */
int tar_writer_finish(struct tar_writer *writer);

static inline void tar_writer_freep(struct tar_writer **writer)
{
	tar_writer_free(*writer);
}

/* --- reading --- */

struct tar_reader;

/* Some bytes, at least one; 0 at the end; negative errno. */
typedef long (*tar_read_fn)(void *ctx, void *data, size_t size);

struct tar_reader *tar_reader_new(tar_read_fn read, void *ctx);
struct tar_reader *tar_reader_free(struct tar_reader *reader);
/* The next entry: 1, with *ret_entry valid until the next call; 0 at the archive's end; negative
 * errno: -EBADMSG for what is damaged or cut off, -ENOTSUP for kinds that are not known. Names are
 * not empty, hold no NUL and fit TAR_PATH_MAX; what they say is not checked. */
int tar_reader_next(struct tar_reader *reader, struct tar_entry *ret_entry, struct err *err);
/* The next data of the entry: its number of bytes at *ret_data, valid until the next call, a
 * multiple of TAR_PAGE unless it is the last; 0 when it is over; negative errno. */
long tar_reader_data(struct tar_reader *reader, const void **ret_data, struct err *err);
/* Reads what is left behind the archive, so that who writes it is not cut off. */
int tar_reader_drain(struct tar_reader *reader);

static inline void tar_reader_freep(struct tar_reader **reader)
{
	tar_reader_free(*reader);
}

#endif
