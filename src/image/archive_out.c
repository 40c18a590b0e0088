/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image save: an OCI layout tar that also has Docker's manifest.json, so that skopeo, podman,
 * umoci, containerd and docker read it. Documents come last: their sizes are small and known by
 * then.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/verbs.h"
#include "store/images.h"

struct saving {
	struct task *task;
	struct archive *archive; /* owned */
	int fd;                  /* borrowed */
	json_t *written;         /* set of digests that are in the archive; owned */
	json_t *index;           /* array of descriptors; owned */
	json_t *manifest;        /* array, Docker's manifest.json; owned */
	json_t *references;      /* array; owned */
	int error;               /* errno of a failed write, negative */
};

static void saving_release(struct saving *saving)
{
	if (saving->archive)
		archive_write_free(saving->archive);
	json_decref(saving->written);
	json_decref(saving->index);
	json_decref(saving->manifest);
	json_decref(saving->references);
}

static la_ssize_t write_out(struct archive *archive, void *ctx, const void *data, size_t size)
{
	struct saving *saving = ctx;
	int r = fd_write_all(saving->fd, data, size);

	if (r == 0)
		return (la_ssize_t)size;
	saving->error = r;
	archive_set_error(archive, -r, "write failed");
	return -1;
}

static int write_failed(const struct saving *saving, struct err *err)
{
	int code = saving->error ? saving->error : -EIO;

	return err_set(err, code, "cannot write the archive: %m");
}

static int put_header(struct saving *saving, const char *name, uint64_t size, struct err *err)
{
	struct archive_entry *entry = archive_entry_new();
	int status;

	archive_entry_set_pathname(entry, name);
	archive_entry_set_mode(entry, S_IFREG | 0644);
	archive_entry_set_mtime(entry, 0, 0);
	archive_entry_set_size(entry, (la_int64_t)size);
	status = archive_write_header(saving->archive, entry);
	archive_entry_free(entry);
	return status < ARCHIVE_WARN ? write_failed(saving, err) : 0;
}

static int put_bytes(struct saving *saving, const char *name, const void *data, size_t size,
		     struct err *err)
{
	int r = put_header(saving, name, size, err);

	if (r == 0 && archive_write_data(saving->archive, data, size) != (la_ssize_t)size)
		r = write_failed(saving, err);
	return r;
}

static int put_json(struct saving *saving, const char *name, const json_t *json, struct err *err)
{
	AUTO_FREE char *text = json_text(json);

	return put_bytes(saving, name, text, strlen(text), err);
}

/* Writes a blob once, verifying it again on its way out. */
static int put_blob(struct saving *saving, const char *digest, struct err *err)
{
	AUTO_FREE char *name = xasprintf("blobs/sha256/%s", digest + strlen("sha256:"));
	AUTO_STREAM struct stream *stream = NULL;
	AUTO_CLOSE int fd = -1;
	struct meter meter;
	struct stat st;
	const void *data;
	ssize_t n;
	int r;

	if (json_object_get(saving->written, digest))
		return 0;
	json_object_set_new(saving->written, digest, json_true());
	fd = blob_open(saving->task->root, digest, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot read blob %s: %m", digest);
	meter_init(&meter, saving->task, digest, "saving", (uint64_t)st.st_size);
	stream = stream_digest_new(stream_fd_new(fd, digest), "blob", digest, (uint64_t)st.st_size,
				   NULL);
	r = put_header(saving, name, (uint64_t)st.st_size, err);
	if (r < 0)
		return r;
	while ((n = stream_read(stream, &data, err)) > 0) {
		if (archive_write_data(saving->archive, data, (size_t)n) != n)
			return write_failed(saving, err);
		meter_tell(&meter, stream_digest_count(stream));
	}
	return (int)n;
}

/* The blobs of one manifest, and its entry of manifest.json. */
static int put_image(struct saving *saving, const char *reference, const struct image *image,
		     struct err *err)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	AUTO_JSON json_t *document = NULL;
	AUTO_JSON json_t *layers = json_array();
	AUTO_FREE char *config = NULL;
	json_t *tags;
	int r = content_read_json(saving->task->root, image->manifest.digest, &document, err);

	if (r == 0)
		r = manifest_parse(document, NULL, &manifest, err);
	if (r == 0)
		r = put_blob(saving, image->manifest.digest, err);
	if (r == 0)
		r = put_blob(saving, manifest.config.digest, err);
	VEC_EACH (&manifest.layers, it) {
		AUTO_FREE char *name = xasprintf("blobs/sha256/%s", it->digest + strlen("sha256:"));

		if (r == 0)
			r = put_blob(saving, it->digest, err);
		json_array_append_new(layers, json_string(name));
	}
	if (r < 0)
		return r;
	config = xasprintf("blobs/sha256/%s", manifest.config.digest + strlen("sha256:"));
	tags = strchr(reference, '@') ? json_array() : json_pack("[s]", reference);
	json_array_append_new(saving->manifest, json_pack("{s:s, s:o, s:O}", "Config", config,
							  "RepoTags", tags, "Layers", layers));
	return 0;
}

static json_t *index_entry(const struct image *image)
{
	json_t *entry = descriptor_json(&image->manifest);
	json_t *platform = json_pack("{s:s, s:s}", "os", image->platform.os, "architecture",
				     image->platform.architecture);

	if (image->platform.variant[0])
		json_set_string(platform, "variant", image->platform.variant);
	json_object_set_new(entry, "platform", platform);
	return entry;
}

/* Adds what index.json says of the reference: the one manifest, or an index of those that are here.
 */
static int put_entry(struct saving *saving, const char *reference, json_t *manifests,
		     struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor descriptor = { 0 };
	AUTO_JSON json_t *index = NULL;
	json_t *entry = json_array_get(manifests, 0);
	json_t *annotations;
	int r = 0;

	if (json_array_size(manifests) > 1) {
		index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType",
				  MEDIA_OCI_INDEX, "manifests", manifests);
		r = blob_put_json(saving->task->root, index, MEDIA_OCI_INDEX, &descriptor, err);
		if (r == 0)
			r = put_blob(saving, descriptor.digest, err);
		if (r < 0)
			return r;
		entry = descriptor_json(&descriptor);
	} else {
		json_incref(entry);
	}
	if (!strchr(reference, '@')) {
		annotations = json_pack("{s:s, s:s}", "io.containerd.image.name", reference,
					"org.opencontainers.image.ref.name", reference);
		json_object_set_new(entry, "annotations", annotations);
	}
	json_array_append_new(saving->index, entry);
	json_array_append_new(saving->references, json_string(reference));
	return 0;
}

static int save_reference(struct saving *saving, const char *reference, struct err *err)
{
	struct task *task = saving->task;
	CLEANUP(image_row_release) struct image_row row = { 0 };
	AUTO_JSON json_t *manifests = json_array();
	struct image **images = NULL;
	size_t count = 0;
	struct platform platform;
	int r = images_get(task->store, reference, &row, err);

	if (r == 0)
		r = task_platform(task, &platform, err);
	if (r == 0 && json_get_string(task->request, "platform")) {
		images = xcalloc(1, sizeof(struct image *));
		r = image_open(task->root, reference, row.digest, &platform, &images[0], err);
		count = r == 0;
	} else if (r == 0) {
		r = image_open_all(task->root, row.digest, &images, &count, err);
		if (r == 0 && count == 0)
			r = err_set(err, -ENOENT, "image '%s' has no content here", reference);
	}
	for (size_t i = 0; i < count; i++) {
		if (r == 0)
			r = put_image(saving, reference, images[i], err);
		json_array_append_new(manifests, index_entry(images[i]));
		image_free(images[i]);
	}
	free(images);
	return r < 0 ? r : put_entry(saving, reference, manifests, err);
}

static int save_all(struct saving *saving, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	AUTO_STRV char **references = json_get_strv(saving->task->request, "references");
	AUTO_JSON json_t *index = NULL;
	int r = put_bytes(saving, "oci-layout", layout, strlen(layout), err);

	STRV_EACH (references, it)
		if (r == 0)
			r = save_reference(saving, *it, err);
	if (r < 0)
		return r;
	index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX,
			  "manifests", saving->index);
	r = put_json(saving, "index.json", index, err);
	if (r == 0)
		r = put_json(saving, "manifest.json", saving->manifest, err);
	if (r == 0 && archive_write_close(saving->archive) != ARCHIVE_OK)
		r = write_failed(saving, err);
	return r;
}

int verb_save(struct task *task, json_t **ret_result, struct err *err)
{
	const char *path = json_get_string(task->request, "path");
	bool to_file = path && !str_eq(path, "-");
	AUTO_FREE char *temporary = to_file ? xasprintf("%s.XXXXXX", path) : NULL;
	AUTO_CLOSE int fd =
		to_file ? mkostemp(temporary, O_CLOEXEC) : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	CLEANUP(saving_release)
	struct saving saving = { .task = task,
				 .archive = archive_write_new(),
				 .fd = fd,
				 .written = json_object(),
				 .index = json_array(),
				 .manifest = json_array(),
				 .references = json_array() };
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create '%s': %m", to_file ? path : "stdout");
	archive_write_set_format_pax_restricted(saving.archive);
	archive_write_set_bytes_per_block(saving.archive, 1 << 18);
	archive_write_set_bytes_in_last_block(saving.archive, 512);
	archive_write_open(saving.archive, &saving, NULL, write_out, NULL);
	r = save_all(&saving, err);
	if (r == 0 && to_file &&
	    (fchmod(fd, 0644) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		r = err_set(err, -errno, "cannot write '%s': %m", path);
	if (r < 0 && to_file)
		unlink(temporary);
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:O}", "references", saving.references);
	return 0;
}
