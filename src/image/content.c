/* SPDX-License-Identifier: Apache-2.0 */
#include "image/content.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/merge.h"
#include "image/manifest.h"

#define DIGEST_PREFIX "sha256:"
#define DIGEST_HEX_LENGTH 64

bool content_digest_valid(const char *text)
{
	const char *hex = text ? str_after(text, DIGEST_PREFIX) : NULL;

	return hex && strlen(hex) == DIGEST_HEX_LENGTH &&
	       strspn(hex, "0123456789abcdef") == DIGEST_HEX_LENGTH;
}

char *content_blob_path(const char *root, const char *digest)
{
	return path_join(root, "content/blobs/sha256/%s", digest + strlen(DIGEST_PREFIX));
}

char *content_disk_descriptor_path(const char *root, const char *disk_key)
{
	return path_join(root, "disks/%s/root.vmdk", disk_key);
}

int content_hold(const char *root, struct err *err)
{
	AUTO_FREE char *directory = path_join(root, "content");
	AUTO_FREE char *path = path_join(root, "content/lock");
	int r = path_make_dirs(directory, 0700, err);

	return r < 0 ? r : lock_take(path, LOCK_SHARED, true, err);
}

int content_read_json(const char *root, const char *digest, json_t **ret_json, struct err *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *text = NULL;
	size_t size;
	int r;

	if (!content_digest_valid(digest))
		return err_set(err, -EINVAL, "'%s' is not a sha256 digest", str_or(digest, ""));
	path = content_blob_path(root, digest);
	r = file_read(path, CONTENT_DOCUMENT_MAX, &text, &size, err);
	if (r == -ENOENT)
		return err_set(err, r, "blob %s is not here", digest);
	return r < 0 ? r : json_parse(text, size, digest, ret_json, err);
}

/* Reads and parses the document `digest`. */
static int open_manifest(const char *root, const char *digest, struct manifest *ret_manifest,
			 struct err *err)
{
	AUTO_JSON json_t *document = NULL;
	int r = content_read_json(root, digest, &document, err);

	return r < 0 ? r : manifest_parse(document, NULL, ret_manifest, err);
}

static uint64_t blob_size(const char *root, const char *digest)
{
	AUTO_FREE char *path = content_blob_path(root, digest);
	AUTO_FREE char *text = NULL;
	size_t size = 0;

	return file_read(path, CONTENT_DOCUMENT_MAX, &text, &size, NULL) < 0 ? 0 : size;
}

/* An image of a manifest that is here. */
static int open_platform(const char *root, const char *digest, const struct manifest *manifest,
			 struct image **ret_image, struct err *err)
{
	CLEANUP(image_freep) struct image *image = xcalloc(1, sizeof(*image));
	int r = content_read_json(root, manifest->config.digest, &image->config, err);

	if (r == 0)
		r = image_config_parse(image->config, manifest->layers.count, &image->platform,
				       &image->diff_ids, err);
	if (r < 0)
		return r;
	image->manifest = (struct descriptor){ .media_type = xstrdup(manifest->media_type),
					       .digest = xstrdup(digest),
					       .size = blob_size(root, digest) };
	VEC_EACH (&manifest->layers, it)
		image->layers_size += it->size;
	image->disk_key = disk_key_of(image->diff_ids);
	image->snapshot = xstrdup(manifest->snapshot);
	*ret_image = TAKE_PTR(image);
	return 0;
}

/* Frees *images and its elements. */
static void free_images(struct image **images, size_t count)
{
	for (size_t i = 0; i < count; i++)
		image_free(images[i]);
	free(images);
}

/* No content here for the platform: says for which there is. */
static int none_here(const char *root, const char *name, const char *digest,
		     const struct platform *platform, struct err *err)
{
	CLEANUP(sbuf_release) struct sbuf available = { 0 };
	struct image **images = NULL;
	size_t count = 0;

	if (image_open_all(root, digest, &images, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++) {
			AUTO_FREE char *text = platform_text(&images[i]->platform);

			sbuf_addf(&available, "%s%s", i ? ", " : "", text);
		}
	free_images(images, count);
	return manifest_no_platform(name, platform, str_or(available.text, ""), err);
}

int image_open(const char *root, const char *name, const char *digest,
	       const struct platform *platform, struct image **ret_image, struct err *err)
{
	CLEANUP(manifest_release) struct manifest top = { 0 };
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	CLEANUP(image_freep) struct image *image = NULL;
	int found;
	int r = open_manifest(root, digest, &top, err);

	if (r < 0) {
		err_context(err, "image '%s'", name);
		return r;
	}
	if (top.is_index) {
		found = manifest_find_platform(&top, platform);
		if (found < 0)
			return none_here(root, name, digest, platform, err);
		r = open_manifest(root, top.manifests.items[found].digest, &manifest, err);
		if (r == -ENOENT)
			return none_here(root, name, digest, platform, err);
		if (r == 0 && manifest.is_index)
			r = err_set(err, -ENOTSUP, "an index within an index is not supported");
		if (r == 0)
			r = open_platform(root, top.manifests.items[found].digest, &manifest,
					  &image, err);
	} else {
		r = open_platform(root, digest, &top, &image, err);
		if (r == 0 && !platform_matches(platform, &image->platform)) {
			AUTO_FREE char *available = platform_text(&image->platform);

			return manifest_no_platform(name, platform, available, err);
		}
	}
	if (r < 0) {
		err_context(err, "image '%s'", name);
		return r;
	}
	*ret_image = TAKE_PTR(image);
	return 0;
}

int image_open_all(const char *root, const char *digest, struct image ***ret_images,
		   size_t *ret_count, struct err *err)
{
	CLEANUP(manifest_release) struct manifest top = { 0 };
	struct image **images;
	size_t count = 0;
	int r = open_manifest(root, digest, &top, err);

	if (r < 0)
		return r;
	images = xcalloc(top.manifests.count + 1, sizeof(struct image *));
	if (!top.is_index) {
		r = open_platform(root, digest, &top, &images[0], err);
		count = r == 0;
	}
	for (size_t i = 0; i < top.manifests.count; i++) {
		CLEANUP(manifest_release) struct manifest manifest = { 0 };

		if (open_manifest(root, top.manifests.items[i].digest, &manifest, NULL) == 0 &&
		    !manifest.is_index &&
		    open_platform(root, top.manifests.items[i].digest, &manifest, &images[count],
				  NULL) == 0)
			count++;
	}
	if (r < 0) {
		free(images);
		return r;
	}
	*ret_images = images;
	*ret_count = count;
	return 0;
}

struct image *image_free(struct image *image)
{
	if (!image)
		return NULL;
	descriptor_release(&image->manifest);
	json_decref(image->config);
	strv_free(image->diff_ids);
	free(image->disk_key);
	free(image->snapshot);
	free(image);
	return NULL;
}

/* Descriptors hold absolute paths: after the root was moved or copied they mean another's files. */
static bool describes_own_parts(const char *descriptor_path, const char *root, const char *disk_key)
{
	AUTO_FREE char *meta = path_join(root, "disks/%s/meta.erofs", disk_key);
	AUTO_FREE char *text = NULL;
	struct stat own;
	struct stat named;
	char *path;
	char *quote;

	if (file_read(descriptor_path, CONTENT_DOCUMENT_MAX, &text, NULL, NULL) < 0)
		return false;
	path = strstr(text, "FLAT \"");
	quote = path ? strchr(path + strlen("FLAT \""), '"') : NULL;
	if (!quote)
		return false;
	*quote = '\0';
	return stat(path + strlen("FLAT \""), &named) == 0 && stat(meta, &own) == 0 &&
	       named.st_ino == own.st_ino && named.st_dev == own.st_dev;
}

bool image_disk_ready(const char *root, const char *disk_key)
{
	AUTO_FREE char *path = content_disk_descriptor_path(root, disk_key);
	uint64_t bytes;

	return path_exists(path) && describes_own_parts(path, root, disk_key) &&
	       merge_check_descriptor(path, &bytes, NULL) == 0;
}

static const char *non_empty(const json_t *object, const char *name)
{
	const char *text = json_get_string(object, name);

	return text && text[0] ? text : NULL;
}

/* An array in which every element is a string, and which is not empty. */
static json_t *strings(const json_t *object, const char *name)
{
	json_t *array = json_get_array(object, name);
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item)
		if (!json_is_string(item))
			return NULL;
	return json_array_size(array) > 0 ? array : NULL;
}

struct image_process image_process_of(const struct image *image)
{
	const json_t *config = json_get_object(image->config, "config");

	return (struct image_process){
		.entrypoint = strings(config, "Entrypoint"),
		.cmd = strings(config, "Cmd"),
		.env = strings(config, "Env"),
		.working_directory = non_empty(config, "WorkingDir"),
		.user = non_empty(config, "User"),
		.stop_signal = non_empty(config, "StopSignal"),
		.exposed_ports = json_get_object(config, "ExposedPorts"),
		.volumes = json_get_object(config, "Volumes"),
		.labels = json_get_object(config, "Labels"),
		.health_check = json_get_object(config, "Healthcheck"),
	};
}
