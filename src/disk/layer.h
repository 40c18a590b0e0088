/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer as a disk: a tar stream becomes one read-only EROFS file and a side index of its tree,
 * once, while it downloads, in one pass and bounded memory (per entry, never per byte). Names never
 * touch a host path. The tar is untrusted: anything that cannot be represented exactly is an error,
 * never dropped in silence.
 */
#ifndef DISK_LAYER_H
#define DISK_LAYER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct layer_limits {
	uint64_t max_file_bytes; /* of all files' data as written (holes do not count) */
	uint64_t max_size_bytes; /* of one file, holes included */
	uint64_t max_entries;
	uint64_t max_metadata_bytes; /* names, xattrs, link targets */
};
extern const struct layer_limits layer_limits_default;

struct layer_info {
	uint64_t entries;
	uint64_t file_bytes; /* data */
	uint64_t disk_bytes; /* size of the EROFS file */
};

/* The next bytes of the uncompressed tar: sets *ret_data (valid until the next call) and returns
 * their number, 0 at the end, or negative errno (which layer_convert passes on). */
typedef ssize_t (*layer_read_fn)(void *ctx, const void **ret_data);

/*
 * Writes the EROFS image to disk_fd and the index to index_fd (both empty, seekable, borrowed; not
 * synced here). The stream is read to its end, trailing padding included, so that the caller's
 * digest covers all of it. -EBADMSG for a malformed tar, -E2BIG beyond a limit, -ENOSPC, or read's
 * error (whose message stays if read has set one of that code in err). Several threads may convert
 * at once; the callback runs in the calling thread, whose locale is "C" meanwhile.
 */
int layer_convert(layer_read_fn read, void *ctx, const struct layer_limits *limits, int disk_fd,
		  int index_fd, struct layer_info *ret_info, struct err *err);

#endif
