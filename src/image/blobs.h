/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing content and layers (see content.h for the layout). Besides the final names there are
 *
 *	content/ingest/<hex>.lock, .part	a blob that is being fetched: the lock's holder
 *appends to .part, which outlives it and is continued by the next content/ingest/tmp.*,
 *layers/tmp.*	files without a name yet layers/<hex>.lock, disks/<key>.lock	taken while that
 *layer or disk is made
 *
 * Lock order: content/lock (shared), blob, layer, disk. A name appears by rename, after fdatasync.
 */
#ifndef IMAGE_BLOBS_H
#define IMAGE_BLOBS_H

#include <stdbool.h>

#include "image/content.h"
#include "image/stream.h"
#include "image/task.h"

/* Makes the directories and the mark of an OCI layout. */
int blobs_prepare(const char *root, struct err *err);
/* Whether the blob is here with this size (STREAM_SIZE_UNKNOWN: any). */
bool blob_present(const char *root, const char *digest, uint64_t size);
/* Stores a document; *ret_digest (may be NULL) is owned by the caller. */
int blob_put(const char *root, const void *data, size_t size, char **ret_digest, struct err *err);
int blob_put_json(const char *root, const json_t *json, const char *media_type,
		  struct descriptor *ret_descriptor, struct err *err);
/* Stores a stream (borrowed). digest NULL: whatever it has. The result is owned by the caller. */
int blob_put_stream(struct task *task, struct stream *stream, const char *digest,
		    struct descriptor *ret_descriptor, struct err *err);
/* Opens a blob for reading. A descriptor. */
int blob_open(const char *root, const char *digest, struct err *err);
/* The lock of a blob that is to be fetched, waiting for another holder. A descriptor. */
int blob_lock(const char *root, const char *digest, struct err *err);
/* A new file content/ingest/tmp.*; *ret_path is owned by the caller. A descriptor. */
int blob_temporary(const char *root, char **ret_path, struct err *err);
/* fdatasync, rename to the blob's name, sync of the directory. */
int blob_commit(const char *root, int fd, const char *path, const char *digest, struct err *err);
char *blob_part_path(const char *root, const char *digest);

bool layer_present(const char *root, const char *diff_id);
int layer_lock(const char *root, const char *diff_id, struct err *err);
/* Converts a tar (borrowed) to layers/<hex>. diff_id NULL: whatever it has; *ret_diff_id (may be
 * NULL) is owned by the caller. The caller holds the layer's lock if it knows the diff id. */
int layer_make(struct task *task, struct stream *tar, const char *diff_id, char **ret_diff_id,
	       struct err *err);
/* Makes the layer of a blob that is here, unless it is made; takes the lock. */
int layer_make_from_blob(struct task *task, const struct descriptor *blob, const char *diff_id,
			 struct err *err);
/* layers/<hex>.erofs and .idx; owned by the caller. */
char *layer_disk_path(const char *root, const char *diff_id);
char *layer_index_path(const char *root, const char *diff_id);

/* Makes disks/<key> of layers that are made. *ret_key is owned by the caller. */
int disk_make(struct task *task, char *const *diff_ids, char **ret_key, struct err *err);

#endif
