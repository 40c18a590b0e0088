/* SPDX-License-Identifier: Apache-2.0 */
/* From blobs to a disk: what a pull does while it downloads, for content that is here already. */
#include <errno.h>

#include "base/json.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/verbs.h"
#include "store/images.h"

struct prepare {
	struct task *task;
	const struct manifest *manifest;
	char *const *diff_ids;
};

static int prepare_layer(void *ctx, size_t i, struct err *err)
{
	struct prepare *prepare = ctx;
	const struct descriptor *blob = &prepare->manifest->layers.items[i];
	struct meter meter;
	int r;

	if (layer_present(prepare->task->root, prepare->diff_ids[i]))
		return 0;
	meter_init(&meter, prepare->task, blob->digest, "converting", blob->size);
	r = layer_make_from_blob(prepare->task, blob, prepare->diff_ids[i], err);
	if (r == 0)
		meter_tell(&meter, blob->size);
	return r;
}

int prepare_image(struct task *task, const char *name, const char *digest,
		  const struct platform *platform, char **ret_key, struct err *err)
{
	CLEANUP(image_freep) struct image *image = NULL;
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	AUTO_JSON json_t *document = NULL;
	struct prepare prepare = { .task = task, .manifest = &manifest };
	int r = image_open(task->root, name, digest, platform, &image, err);

	if (r < 0)
		return r;
	r = content_read_json(task->root, image->manifest.digest, &document, err);
	if (r == 0)
		r = manifest_parse(document, NULL, &manifest, err);
	if (r < 0)
		return r;
	prepare.diff_ids = image->diff_ids;
	r = jobs_run(task, manifest.layers.count, task_concurrency(task), prepare_layer, &prepare,
		     err);
	if (r == 0)
		r = disk_make(task, image->diff_ids, ret_key, err);
	if (r < 0)
		err_context(err, "image '%s'", name);
	return r;
}

int prepare_all(struct task *task, const char *name, const char *digest, struct err *err)
{
	struct image **images = NULL;
	size_t count = 0;
	int r = image_open_all(task->root, digest, &images, &count, err);

	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *key = NULL;

		if (r == 0)
			r = prepare_image(task, name, digest, &images[i]->platform, &key, err);
		image_free(images[i]);
	}
	free(images);
	return r;
}

int verb_prepare(struct task *task, json_t **ret_result, struct err *err)
{
	const char *name = json_get_string(task->request, "reference");
	const char *digest = json_get_string(task->request, "digest");
	struct image_row row = { 0 };
	struct platform platform;
	AUTO_FREE char *key = NULL;
	int r = task_platform(task, &platform, err);

	if (r < 0)
		return r;
	if (!digest && !name)
		return err_set(err, -EINVAL, "the request names no image");
	if (!digest) {
		r = images_get(task->store, name, &row, err);
		if (r < 0)
			return r;
		digest = row.digest;
	}
	r = prepare_image(task, str_or(name, digest), digest, &platform, &key, err);
	image_row_release(&row);
	if (r == 0)
		*ret_result = json_pack("{s:s}", "disk_key", key);
	return r;
}
