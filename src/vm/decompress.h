/* SPDX-License-Identifier: Apache-2.0 */
/* Whole compressed files of kernels, by libarchive; not for the path of a start. */
#ifndef VM_DECOMPRESS_H
#define VM_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* gzip, bzip2, lzma, xz, lz4 or zstd; the result is the caller's to free. -EFBIG beyond max bytes,
 * -EBADMSG for other or damaged data. */
int decompress(const void *data, size_t size, size_t max, uint8_t **ret_data, size_t *ret_size,
	       struct err *err);

#endif
