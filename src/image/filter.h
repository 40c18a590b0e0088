/* SPDX-License-Identifier: Apache-2.0 */
/* Uncommon compressions of archives that people import: xz, bzip2, lz4, by libarchive. */
#ifndef IMAGE_FILTER_H
#define IMAGE_FILTER_H

#include "image/stream.h"

/* Takes those compressions off; passes everything else on (gzip and zstd too) as it is. */
struct stream *stream_filter_new(struct stream *next);

#endif
