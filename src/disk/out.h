/* SPDX-License-Identifier: Apache-2.0 */
/* Buffered, mostly sequential writing of a disk file: few, large writes, and holes where nothing
 * is. */
#ifndef DISK_OUT_H
#define DISK_OUT_H

#include <stddef.h>
#include <stdint.h>

struct out {
	int fd;          /* borrowed */
	uint64_t offset; /* in the file, of the next byte added */
	uint8_t *buffer; /* owned */
	size_t used;
	size_t capacity;
};

/* Starts at an offset of the file; -ENOMEM. */
int out_init(struct out *out, int fd, uint64_t offset, size_t capacity);
void out_release(struct out *out);
#define AUTO_OUT CLEANUP(out_release)

int out_add(struct out *out, const void *data, size_t size);
/* Goes on at a later offset: zeroes if that is near, else a hole. */
int out_seek(struct out *out, uint64_t offset);
/* Goes on at the next whole block. */
int out_align(struct out *out);
int out_flush(struct out *out);

#endif
