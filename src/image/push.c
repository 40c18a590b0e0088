/* SPDX-License-Identifier: Apache-2.0 */
/* image push: what a reference names, with everything below it first, so that a registry never has
 * half of an image under a name. Blobs go out as they came in, byte by byte. */
#include <errno.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/pull.h"
#include "image/registry.h"
#include "image/verbs.h"
#include "store/images.h"

struct push {
	struct task *task;
	struct registry *registry;       /* borrowed */
	const char *from;                /* borrowed: a repository that may have the blobs; NULL */
	const struct descriptor **blobs; /* borrowed: of the image at hand */
};

static void tell(void *ctx, uint64_t bytes)
{
	meter_tell(ctx, bytes);
}

static int open_blob(const struct task *task, const char *digest, uint64_t *ret_size,
		     struct err *err)
{
	AUTO_CLOSE int fd = blob_open(task->root, digest, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot read blob %s: %m", digest);
	*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int push_blob(void *ctx, size_t i, struct err *err)
{
	struct push *push = ctx;
	const char *digest = push->blobs[i]->digest;
	uint64_t size = 0;
	AUTO_CLOSE int fd = open_blob(push->task, digest, &size, err);
	bool was_there = false;
	struct meter meter;
	int r;

	if (fd < 0)
		return fd;
	meter_init(&meter, push->task, digest, "pushing", size);
	r = registry_put_blob(push->registry, digest, fd, size, push->from, tell, &meter,
			      &was_there, err);
	if (r == 0)
		meter_tell(&meter, size);
	return r;
}

static int push_document(struct push *push, const char *reference,
			 const struct descriptor *document, struct err *err)
{
	uint64_t size = 0;
	AUTO_CLOSE int fd = open_blob(push->task, document->digest, &size, err);

	return fd < 0 ? fd
		      : registry_put_manifest(push->registry, reference, document->media_type, fd,
					      size, err);
}

static int read_manifest(const struct task *task, const char *digest, struct manifest *ret_manifest,
			 struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	int r = content_read_json(task->root, digest, &json, err);

	return r < 0 ? r : manifest_parse(json, NULL, ret_manifest, err);
}

/* reference NULL: by its digest, for an index to name. */
static int push_image(struct push *push, const struct image *image, const char *reference,
		      struct err *err)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	AUTO_FREE const struct descriptor **blobs = NULL;
	size_t count = 0;
	int r = read_manifest(push->task, image->manifest.digest, &manifest, err);

	if (r < 0)
		return r;
	blobs = xcalloc(manifest.layers.count + 1, sizeof(*blobs));
	VEC_EACH (&manifest.layers, it)
		blobs[count++] = it;
	blobs[count++] = &manifest.config;
	push->blobs = blobs;
	r = jobs_run(push->task, count, task_concurrency(push->task), push_blob, push, err);
	if (r < 0)
		return r;
	return push_document(push, str_or(reference, image->manifest.digest), &image->manifest,
			     err);
}

struct images {
	struct image **items; /* owned */
	size_t count;
};

static void images_release(struct images *images)
{
	for (size_t i = 0; i < images->count; i++)
		image_free(images->items[i]);
	free(images->items);
}

static bool is_whole(const struct task *task, const struct image *image)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };

	if (read_manifest(task, image->manifest.digest, &manifest, NULL) < 0)
		return false;
	VEC_EACH (&manifest.layers, it)
		if (!blob_present(task->root, it->digest, it->size))
			return false;
	return blob_present(task->root, manifest.config.digest, manifest.config.size);
}

/* What of the image is here: one platform if that is asked for, or all whose content is. */
static int choose(const struct task *task, const struct image_row *row, struct images *ret_images,
		  struct err *err)
{
	CLEANUP(images_release) struct images images = { 0 };
	struct platform platform;
	int r = task_platform(task, &platform, err);

	if (r == 0 && json_get_string(task->request, "platform")) {
		images.items = xcalloc(1, sizeof(struct image *));
		r = image_open(task->root, row->reference, row->digest, &platform, &images.items[0],
			       err);
		images.count = r == 0;
	} else if (r == 0) {
		r = image_open_all(task->root, row->digest, &images.items, &images.count, err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < images.count;) {
		if (is_whole(task, images.items[i])) {
			i++;
			continue;
		}
		image_free(images.items[i]);
		images.items[i] = images.items[--images.count];
	}
	if (!images.count)
		return err_set(err, -ENOENT, "image %s has no content here; pull it first",
			       row->reference);
	*ret_images = images;
	images = (struct images){ 0 };
	return 0;
}

static json_t *index_of(const struct images *images)
{
	json_t *manifests = json_array();

	for (size_t i = 0; i < images->count; i++) {
		const struct platform *have = &images->items[i]->platform;
		json_t *entry = descriptor_json(&images->items[i]->manifest);
		json_t *platform =
			json_pack("{s:s, s:s}", "os", have->os, "architecture", have->architecture);

		if (have->variant[0])
			json_set_string(platform, "variant", have->variant);
		json_object_set_new(entry, "platform", platform);
		json_array_append_new(manifests, entry);
	}
	return json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX,
			 "manifests", manifests);
}

/* The index as it came if all of it is here, or one of what is. */
static int push_index(struct push *push, const struct image_row *row, const struct images *images,
		      bool whole, const char *reference, struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor part = { 0 };
	AUTO_JSON json_t *index = NULL;
	int r;

	if (whole)
		return push_document(push, reference,
				     &(struct descriptor){ .media_type = row->media_type,
							   .digest = row->digest },
				     err);
	index = index_of(images);
	r = blob_put_json(push->task->root, index, MEDIA_OCI_INDEX, &part, err);
	return r < 0 ? r : push_document(push, reference, &part, err);
}

static int push_all(struct push *push, const struct image_row *row, const char *reference,
		    struct err *err)
{
	CLEANUP(manifest_release) struct manifest top = { 0 };
	CLEANUP(images_release) struct images images = { 0 };
	int r = read_manifest(push->task, row->digest, &top, err);
	bool whole;
	bool single;

	if (r == 0)
		r = choose(push->task, row, &images, err);
	if (r < 0)
		return r;
	whole = !top.is_index || images.count == top.manifests.count;
	single = !top.is_index || (images.count == 1 && !whole);
	if (!whole && !json_get_string(push->task->request, "platform"))
		task_warning(push->task, "of the %zu manifests of %s %zu %s here and pushed",
			     top.manifests.count, row->reference, images.count,
			     images.count == 1 ? "is" : "are");
	for (size_t i = 0; i < images.count && r == 0; i++)
		r = push_image(push, images.items[i], single ? reference : NULL, err);
	return r < 0 || single ? r : push_index(push, row, &images, whole, reference, err);
}

/* A repository of the same registry where the same image came from, or went to. */
static char *find_sibling(const struct task *task, const struct image_ref *ref,
			  const struct image_row *row)
{
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };

	if (images_list(task->store, &rows, NULL) < 0)
		return NULL;
	VEC_EACH (&rows, it) {
		struct image_ref other = { 0 };
		char *found = NULL;

		if (!str_eq(it->digest, row->digest) ||
		    image_ref_parse(it->reference, NULL, &other, NULL) < 0)
			continue;
		if (str_eq(other.registry, ref->registry) &&
		    !str_eq(other.repository, ref->repository))
			found = xstrdup(other.repository);
		image_ref_release(&other);
		if (found)
			return found;
	}
	return NULL;
}

int verb_push(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(image_row_release) struct image_row row = { 0 };
	CLEANUP(registry_closep) struct registry *registry = NULL;
	const struct image_ref *ref = pull_reference();
	struct registry_options options = pull_options();
	AUTO_FREE char *name = image_ref_text(ref);
	AUTO_FREE char *sibling = NULL;
	struct push push = { .task = task };
	int r = images_get(task->store, name, &row, err);

	options.purpose = REGISTRY_PUSH;
	if (r == 0)
		r = registry_open(ref, &options, &registry, err);
	if (r < 0)
		return r;
	sibling = find_sibling(task, ref, &row);
	push.registry = registry;
	push.from = sibling;
	r = push_all(&push, &row, str_or(ref->tag, ref->digest), err);
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:s, s:s}", "reference", name, "digest", row.digest);
	return 0;
}

int verb_login(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(registry_closep) struct registry *registry = NULL;
	const struct image_ref *ref = pull_reference();
	struct registry_options options = pull_options();
	int r;

	options.purpose = REGISTRY_LOGIN;
	r = registry_open(ref, &options, &registry, err);
	if (r == 0)
		r = registry_check_login(registry, err);
	if (r == -EACCES)
		return err_set(err, r, "registry %s does not accept this user name and password",
			       ref->registry);
	if (r < 0)
		return r;
	*ret_result = json_object();
	return 0;
}
