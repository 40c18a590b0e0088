/* SPDX-License-Identifier: Apache-2.0 */
#include "image/blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/layer.h"
#include "disk/merge.h"
#include "image/manifest.h"
#include "image/sha256.h"

#define WRITEBACK_STEP (16 * 1024 * 1024)

/* The hexadecimal part of a checked digest. */
static const char *hex_of(const char *digest)
{
	return digest + strlen("sha256:");
}

/* Removes a temporary file whose path is still owned: it was not renamed. */
static void unlink_freep(char **path)
{
	if (*path)
		unlink(*path);
	free(*path);
}

int blobs_prepare(const char *root, struct err *err)
{
	static const char *const names[] = { "content/blobs/sha256", "content/ingest", "layers",
					     "disks" };
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	AUTO_FREE char *mark = path_join(root, "content/oci-layout");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = path_join(root, "%s", names[i]);
		int r = path_make_dirs(path, 0700, err);

		if (r < 0)
			return r;
	}
	if (path_exists(mark))
		return 0;
	return file_write_atomic(mark, layout, strlen(layout), 0600, false, err);
}

bool blob_present(const char *root, const char *digest, uint64_t size)
{
	AUTO_FREE char *path = content_blob_path(root, digest);
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (size == STREAM_SIZE_UNKNOWN || (uint64_t)st.st_size == size);
}

int blob_put(const char *root, const void *data, size_t size, char **ret_digest, struct err *err)
{
	char digest[STREAM_DIGEST_LENGTH + 1] = "sha256:";
	AUTO_FREE char *path = NULL;
	struct err cause = { 0 };
	int r = 0;

	sha256_hex(data, size, digest + strlen("sha256:"));
	path = content_blob_path(root, digest);
	if (!blob_present(root, digest, size))
		r = file_write_atomic(path, data, size, 0600, true, &cause);
	if (r < 0)
		return stream_write_error(r, "a manifest", err);
	if (ret_digest)
		*ret_digest = xstrdup(digest);
	return 0;
}

int blob_put_json(const char *root, const json_t *json, const char *media_type,
		  struct descriptor *ret_descriptor, struct err *err)
{
	AUTO_FREE char *text = json_text(json);
	char *digest = NULL;
	int r = blob_put(root, text, strlen(text), &digest, err);

	if (r < 0)
		return r;
	*ret_descriptor = (struct descriptor){ .media_type = xstrdup(media_type),
					       .digest = digest,
					       .size = strlen(text) };
	return 0;
}

int blob_open(const char *root, const char *digest, struct err *err)
{
	AUTO_FREE char *path = content_blob_path(root, digest);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "blob %s is not here; pull the image again", digest);
	return fd < 0 ? err_set(err, -errno, "cannot open blob %s: %m", digest) : fd;
}

int blob_lock(const char *root, const char *digest, struct err *err)
{
	AUTO_FREE char *path = path_join(root, "content/ingest/%s.lock", hex_of(digest));

	return lock_take(path, LOCK_EXCLUSIVE, true, err);
}

char *blob_part_path(const char *root, const char *digest)
{
	return path_join(root, "content/ingest/%s.part", hex_of(digest));
}

int blob_temporary(const char *root, char **ret_path, struct err *err)
{
	AUTO_FREE char *path = path_join(root, "content/ingest/tmp.XXXXXX");
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		return stream_write_error(-errno, "a blob", err);
	*ret_path = TAKE_PTR(path);
	return fd;
}

int blob_commit(const char *root, int fd, const char *path, const char *digest, struct err *err)
{
	AUTO_FREE char *final = content_blob_path(root, digest);
	int r = 0;

	if (fdatasync(fd) < 0 || rename(path, final) < 0)
		r = -errno;
	if (r == 0)
		r = file_sync_parent(final);
	return r < 0 ? stream_write_error(r, "a blob", err) : 0;
}

int blob_put_stream(struct task *task, struct stream *stream, const char *digest,
		    struct descriptor *ret_descriptor, struct err *err)
{
	CLEANUP(unlink_freep) char *path = NULL;
	char found[STREAM_DIGEST_LENGTH + 1];
	AUTO_CLOSE int fd = blob_temporary(task->root, &path, err);
	AUTO_STREAM struct stream *hashed = NULL;
	AUTO_STREAM struct stream *tee = NULL;
	uint64_t size;
	int r;

	if (fd < 0)
		return fd;
	hashed = stream_digest_new(stream_borrow(stream), "blob", digest, STREAM_SIZE_UNKNOWN,
				   &task->cancelled);
	tee = stream_tee_new(stream_borrow(hashed), fd);
	r = stream_drain(tee, err);
	if (r < 0)
		return r;
	stream_digest_text(hashed, found);
	size = stream_digest_count(hashed);
	if (!blob_present(task->root, found, size)) {
		r = blob_commit(task->root, fd, path, found, err);
		if (r < 0)
			return r;
		free(TAKE_PTR(path));
	}
	*ret_descriptor = (struct descriptor){ .digest = xstrdup(found), .size = size };
	return 0;
}

char *layer_disk_path(const char *root, const char *diff_id)
{
	return path_join(root, "layers/%s.erofs", hex_of(diff_id));
}

char *layer_index_path(const char *root, const char *diff_id)
{
	return path_join(root, "layers/%s.idx", hex_of(diff_id));
}

bool layer_present(const char *root, const char *diff_id)
{
	AUTO_FREE char *disk = layer_disk_path(root, diff_id);
	AUTO_FREE char *index = layer_index_path(root, diff_id);

	return path_exists(disk) && path_exists(index);
}

int layer_lock(const char *root, const char *diff_id, struct err *err)
{
	AUTO_FREE char *path = path_join(root, "layers/%s.lock", hex_of(diff_id));

	return lock_take(path, LOCK_EXCLUSIVE, true, err);
}

/* Lets layer_convert pull a stream, and keeps the stream's error for the user. */
struct pull {
	struct stream *stream; /* borrowed */
	int disk;              /* borrowed */
	uint64_t flushed;
	struct err err;
};

static ssize_t pull_read(void *ctx, const void **ret_data)
{
	struct pull *pull = ctx;

	/* Write-back starts while there is still work to do, so that fdatasync ends soon. */
	if (stream_digest_count(pull->stream) - pull->flushed >= WRITEBACK_STEP) {
		pull->flushed = stream_digest_count(pull->stream);
		sync_file_range(pull->disk, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	return stream_read(pull->stream, ret_data, &pull->err);
}

static int sync_layer(struct task *task, const char *diff_id, int disk, int index, char **disk_path,
		      char **index_path, struct err *err)
{
	AUTO_FREE char *disk_final = layer_disk_path(task->root, diff_id);
	AUTO_FREE char *index_final = layer_index_path(task->root, diff_id);
	int r = 0;

	/* The index first: where the disk is, its index is too. */
	if (fdatasync(disk) < 0 || fdatasync(index) < 0 || rename(*index_path, index_final) < 0)
		return stream_write_error(-errno, "a layer", err);
	free(TAKE_PTR(*index_path));
	if (rename(*disk_path, disk_final) < 0)
		return stream_write_error(-errno, "a layer", err);
	free(TAKE_PTR(*disk_path));
	r = file_sync_parent(disk_final);
	return r < 0 ? stream_write_error(r, "a layer", err) : 0;
}

int layer_make(struct task *task, struct stream *tar, const char *diff_id, char **ret_diff_id,
	       struct err *err)
{
	CLEANUP(unlink_freep) char *disk_path = path_join(task->root, "layers/tmp.XXXXXX");
	CLEANUP(unlink_freep) char *index_path = path_join(task->root, "layers/tmp.XXXXXX");
	AUTO_CLOSE int disk = mkostemp(disk_path, O_CLOEXEC);
	AUTO_CLOSE int index = mkostemp(index_path, O_CLOEXEC);
	AUTO_STREAM struct stream *hashed = NULL;
	struct pull pull = { 0 };
	char found[STREAM_DIGEST_LENGTH + 1];
	struct layer_info info;
	int r;

	if (disk < 0 || index < 0)
		return stream_write_error(-errno, "a layer", err);
	hashed = stream_digest_new(stream_borrow(tar), "layer", diff_id, STREAM_SIZE_UNKNOWN,
				   &task->cancelled);
	pull.stream = hashed;
	pull.disk = disk;
	r = layer_convert(pull_read, &pull, &layer_limits_default, disk, index, &info, err);
	if (hashed->ended < 0) /* not pull.err.code: what was retried with success left it set */
		return err_set(err, (int)hashed->ended, "%s", pull.err.message);
	if (r == -ENOSPC || r == -EDQUOT)
		return stream_write_error(r, "a layer", err);
	if (r < 0)
		return r;
	r = stream_drain(hashed, err); /* nothing is left, but its digest is checked at the end */
	if (r < 0)
		return r;
	stream_digest_text(hashed, found);
	r = sync_layer(task, found, disk, index, &disk_path, &index_path, err);
	if (r == 0 && ret_diff_id)
		*ret_diff_id = xstrdup(found);
	return r;
}

int layer_make_from_blob(struct task *task, const struct descriptor *blob, const char *diff_id,
			 struct err *err)
{
	AUTO_CLOSE int lock = -1;
	AUTO_CLOSE int fd = -1;
	AUTO_STREAM struct stream *stream = NULL;
	int r;

	if (layer_present(task->root, diff_id))
		return 0;
	lock = layer_lock(task->root, diff_id, err);
	if (lock < 0)
		return lock;
	if (layer_present(task->root, diff_id))
		return 0;
	fd = blob_open(task->root, blob->digest, err);
	if (fd < 0)
		return fd;
	stream = stream_decompress_new(stream_digest_new(stream_fd_new(fd, blob->digest), "blob",
							 blob->digest, blob->size,
							 &task->cancelled));
	r = layer_make(task, stream, diff_id, NULL, err);
	if (r < 0)
		err_context(err, "layer %.19s", blob->digest);
	return r;
}

/* Writes meta.erofs and root.vmdk of a disk. The descriptor comes last: it makes the disk ready. */
static int write_disk(const char *directory, const struct merge_layer *layers, size_t count,
		      struct err *err)
{
	CLEANUP(unlink_freep) char *temporary = path_join(directory, "tmp.XXXXXX");
	CLEANUP(unlink_freep) char *draft = path_join(directory, "root.vmdk.tmp");
	AUTO_FREE char *meta = path_join(directory, "meta.erofs");
	AUTO_FREE char *descriptor = path_join(directory, "root.vmdk");
	AUTO_CLOSE int fd = mkostemp(temporary, O_CLOEXEC);
	AUTO_CLOSE int draft_fd = -1;
	int r;

	if (fd < 0)
		return stream_write_error(-errno, "an image's disk", err);
	r = merge_layers(layers, count, MERGE_MOUNT_POINTS, fd, err);
	if (r == -ENOSPC || r == -EDQUOT)
		return stream_write_error(r, "an image's disk", err);
	if (r < 0)
		return r;
	unlink(descriptor); /* of an outdated disk, which must not describe the new parts */
	if (fdatasync(fd) < 0 || rename(temporary, meta) < 0)
		return stream_write_error(-errno, "an image's disk", err);
	free(TAKE_PTR(temporary));
	r = merge_write_descriptor(draft, meta, layers, count, err);
	if (r < 0)
		return r;
	draft_fd = open(draft, O_RDONLY | O_CLOEXEC);
	if (draft_fd < 0 || fdatasync(draft_fd) < 0 || rename(draft, descriptor) < 0)
		return stream_write_error(-errno, "an image's disk", err);
	free(TAKE_PTR(draft));
	r = file_sync_parent(descriptor);
	return r < 0 ? stream_write_error(r, "an image's disk", err) : 0;
}

int disk_make(struct task *task, char *const *diff_ids, char **ret_key, struct err *err)
{
	size_t count = strv_count(diff_ids);
	AUTO_FREE char *key = disk_key_of(diff_ids);
	AUTO_FREE char *lock_path = path_join(task->root, "disks/%s.lock", key);
	AUTO_FREE char *directory = path_join(task->root, "disks/%s", key);
	AUTO_FREE struct merge_layer *layers = xcalloc(count, sizeof(*layers));
	AUTO_STRV char **paths = NULL; /* owns what layers point to */
	AUTO_CLOSE int lock = -1;
	int r;

	if (image_disk_ready(task->root, key)) {
		*ret_key = TAKE_PTR(key);
		return 0;
	}
	lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	if (lock < 0)
		return lock;
	r = path_make_dirs(directory, 0700, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *disk = layer_disk_path(task->root, diff_ids[i]);
		AUTO_FREE char *index = layer_index_path(task->root, diff_ids[i]);

		strv_push(&paths, disk);
		layers[i].disk_path = paths[2 * i];
		strv_push(&paths, index);
		layers[i].index_path = paths[2 * i + 1];
	}
	if (!image_disk_ready(task->root, key))
		r = write_disk(directory, layers, count, err);
	if (r == 0)
		*ret_key = TAKE_PTR(key);
	return r;
}
