/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The holder of a blob's lock appends to <hex>.part what comes from the
 *network. The same bytes pass through the blob's digest, the decompressor and the layer's digest
 *into the converter, so that nothing is read twice:
 *
 *	[.part of an earlier try] + [network → tee to .part] → sha256 → inflate → sha256 → EROFS
 *
 * The layer gets its name only after both digests matched, then the blob gets its own. What breaks
 *in between leaves a .part, which the next try begins with; a .part that proves wrong is dropped,
 *and the blob fetched once more from its beginning.
 */
#include "image/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "image/blobs.h"

#define VERIFY_REST_MAX (16 * 1024 * 1024)

struct resume_stream {
	struct stream stream;
	struct stream *part;           /* owned: what an earlier try left; NULL once it is read */
	struct stream *network;        /* owned; NULL until it is needed */
	struct registry *registry;     /* borrowed */
	const struct descriptor *blob; /* borrowed */
	int append;                    /* borrowed */
	uint64_t offset;
	struct meter meter;
};

static int connect_network(struct resume_stream *self, struct err *err)
{
	struct stream *body = NULL;
	int r = registry_open_blob(self->registry, self->blob->digest, self->blob->size,
				   self->offset, &body, err);

	if (r == 0)
		self->network = stream_tee_new(body, self->append);
	return r;
}

static ssize_t resume_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct resume_stream *self = (struct resume_stream *)stream;
	ssize_t n = 0;

	if (self->part) {
		n = stream_read(self->part, ret_data, err);
		if (n == 0) {
			stream_free(self->part);
			self->part = NULL;
		}
	}
	if (n == 0 && !self->network) {
		/* All of it was here: the network has nothing to add. */
		if (self->offset == self->blob->size && self->offset > 0)
			return 0;
		n = connect_network(self, err);
	}
	if (n == 0)
		n = stream_read(self->network, ret_data, err);
	if (n > 0) {
		self->offset += (uint64_t)n;
		if (self->offset <= self->blob->size)
			meter_tell(&self->meter, self->offset);
	}
	return n;
}

static void resume_free(struct stream *stream)
{
	struct resume_stream *self = (struct resume_stream *)stream;

	stream_free(self->part);
	stream_free(self->network);
	free(self);
}

static struct stream *resume_new(struct task *task, struct registry *registry,
				 const struct descriptor *blob, int part, int append)
{
	static const struct stream_ops ops = { .read = resume_read, .free = resume_free };
	struct resume_stream *self = xcalloc(1, sizeof(*self));

	*self = (struct resume_stream){ .stream = { &ops, 1 },
					.part = stream_fd_new(part, "an earlier download"),
					.registry = registry,
					.blob = blob,
					.append = append };
	meter_init(&self->meter, task, blob->digest, "pulling", blob->size);
	return &self->stream;
}

/* A damaged blob fails to convert before its digest can tell why: reads the rest, if that is
 * little. */
static int find_cause(struct stream *raw, const struct descriptor *blob, int code, struct err *err)
{
	struct err cause = { 0 };

	if (code != -EBADMSG || raw->ended <= 0 ||
	    blob->size - stream_digest_count(raw) > VERIFY_REST_MAX)
		return code;
	return stream_drain(raw, &cause) == -EBADMSG ? err_set(err, -EBADMSG, "%s", cause.message)
						     : code;
}

/* One try. The caller holds the blob's lock, and the layer's unless it is made (diff_id NULL). */
static int fetch_once(struct task *task, struct registry *registry, const struct descriptor *blob,
		      const char *diff_id, const char *path, bool *ret_resumed, struct err *err)
{
	AUTO_CLOSE int append = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	AUTO_CLOSE int part = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_STREAM struct stream *raw = NULL;
	AUTO_STREAM struct stream *tar = NULL;
	struct stat st;
	int r;

	if (append < 0 || part < 0 || fstat(part, &st) < 0)
		return stream_write_error(-errno, "a blob", err);
	if ((uint64_t)st.st_size > blob->size) {
		if (ftruncate(append, 0) < 0)
			return stream_write_error(-errno, "a blob", err);
		st.st_size = 0;
	}
	*ret_resumed = st.st_size > 0;
	raw = stream_digest_new(resume_new(task, registry, blob, part, append), "blob",
				blob->digest, blob->size, &task->cancelled);
	if (diff_id) {
		tar = stream_decompress_new(stream_borrow(raw));
		r = find_cause(raw, blob, layer_make(task, tar, diff_id, NULL, err), err);
	} else {
		r = stream_drain(raw, err);
	}
	if (r == 0)
		return blob_commit(task->root, append, path, blob->digest, err);
	if (fstat(append, &st) == 0 && st.st_size == 0)
		unlink(path);
	return r;
}

static int fetch_locked(struct task *task, struct registry *registry, const struct descriptor *blob,
			const char *diff_id, struct err *err)
{
	AUTO_FREE char *path = blob_part_path(task->root, blob->digest);
	AUTO_CLOSE int lock = -1;
	bool resumed = false;
	int r;

	if (diff_id && !layer_present(task->root, diff_id)) {
		lock = layer_lock(task->root, diff_id, err);
		if (lock < 0)
			return lock;
	}
	if (diff_id && layer_present(task->root, diff_id))
		diff_id = NULL;
	r = fetch_once(task, registry, blob, diff_id, path, &resumed, err);
	if (r == -EBADMSG) {
		unlink(path);
		if (resumed)
			r = fetch_once(task, registry, blob, diff_id, path, &resumed, err);
		if (r == -EBADMSG)
			unlink(path);
	}
	return r;
}

int fetch_layer(struct task *task, struct registry *registry, const struct descriptor *blob,
		const char *diff_id, struct err *err)
{
	AUTO_CLOSE int lock = -1;
	struct meter meter;
	int r = 0;

	if (!blob_present(task->root, blob->digest, blob->size)) {
		lock = blob_lock(task->root, blob->digest, err);
		if (lock < 0)
			return lock;
	}
	if (!blob_present(task->root, blob->digest, blob->size)) {
		r = fetch_locked(task, registry, blob, diff_id, err);
	} else {
		r = layer_make_from_blob(task, blob, diff_id, err);
		meter_init(&meter, task, blob->digest, "already here", blob->size);
		meter_tell(&meter, blob->size);
	}
	if (r == -EBADMSG || r == -E2BIG || r == -ENOTSUP)
		err_context(err, "layer %.19s", blob->digest);
	return r;
}

int fetch_config(struct task *task, struct registry *registry, const struct descriptor *blob,
		 json_t **ret_json, struct err *err)
{
	AUTO_STREAM struct stream *stream = NULL;
	AUTO_STREAM struct stream *hashed = NULL;
	AUTO_FREE char *text = NULL;
	size_t size;
	int r;

	if (blob_present(task->root, blob->digest, blob->size))
		return content_read_json(task->root, blob->digest, ret_json, err);
	r = registry_open_blob(registry, blob->digest, blob->size, 0, &stream, err);
	if (r < 0)
		return r;
	hashed = stream_digest_new(stream_borrow(stream), "config", blob->digest, blob->size,
				   &task->cancelled);
	r = stream_read_text(hashed, CONTENT_DOCUMENT_MAX, &text, &size, err);
	if (r == 0)
		r = json_parse(text, size, "the image's config", ret_json, err);
	if (r == 0)
		r = blob_put(task->root, text, size, NULL, err);
	return r;
}
