/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives of images, read once from front to back, whatever the order of their members: OCI layout
 * tars and what `docker save` and `podman save` write. Members are stored as blobs under the digest
 * they turn out to have, and joined by the lists (index.json, manifest.json) once all was read.
 * Names of members are keys, never paths.
 */
#ifndef IMAGE_ARCHIVE_IN_H
#define IMAGE_ARCHIVE_IN_H

#include "image/manifest.h"
#include "image/stream.h"
#include "image/task.h"

struct archive_image {
	char *reference; /* owned; normalised; NULL: it has no name */
	struct descriptor document;
};

struct archive_images {
	struct archive_image *items; /* owned */
	size_t count, capacity;
};

void archive_images_release(struct archive_images *images);
/* Reads the archive (borrowed; compressed or not) into the content store. -EBADMSG, -E2BIG. */
int archive_read_images(struct task *task, struct stream *stream, struct archive_images *ret_images,
			struct err *err);

#endif
