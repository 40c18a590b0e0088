/* SPDX-License-Identifier: Apache-2.0 */
/* Images whose containers start from a snapshot. What names it is in the image's manifest, and as
 * good as any text from elsewhere: it counts only if there is a snapshot with that very uuid, of a
 * container with the image's own files. */
#include <errno.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/copies.h"

int engine_image_import_snapshot(struct engine *engine, const char *snapshot_name,
				 const char *reference, char **ret_reference, struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_FREE char *normalised = NULL;
	AUTO_JSON json_t *result = NULL;
	json_t *request;
	int r = images_normalise(engine, reference, &normalised, err);

	if (r == 0)
		r = snapshots_get(engine->store, snapshot_name, &snapshot, err);
	if (r == 0 && !snapshot.has_memory)
		r = err_set(err, -EINVAL,
			    "snapshot %s has no memory: 'hull commit' makes an image of a disk",
			    snapshot.name);
	if (r < 0)
		return r;
	request = json_object();
	json_set_string(request, "base", snapshot.config.manifest_digest);
	json_set_string(request, "snapshot", snapshot.uuid);
	json_set_string(request, "reference", normalised);
	r = images_worker(engine, "import-snapshot", request, &result, err);
	if (r == 0)
		*ret_reference = xstrdup(str_or(json_get_string(result, "reference"), normalised));
	return r;
}

/* Whether the image starts from one that is here, which is the caller's then. */
static bool find_snapshot(struct engine *engine, const struct image *image,
			  struct snapshot *ret_snapshot)
{
	if (!image->snapshot ||
	    snapshots_get(engine->store, image->snapshot, ret_snapshot, NULL) < 0)
		return false;
	if (str_eq(ret_snapshot->uuid, image->snapshot) && ret_snapshot->has_memory &&
	    str_eq(ret_snapshot->config.root_key, image->disk_key))
		return true;
	snapshot_release(ret_snapshot);
	return false;
}

int engine_image_snapshot(struct engine *engine, const char *reference, char **ret_snapshot,
			  struct err *err)
{
	CLEANUP(image_detail_release) struct image_detail detail = { 0 };
	bool is_missing = false;
	int r = engine_image_get(engine, reference, &detail, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < detail.image_count; i++) {
		CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };

		if (find_snapshot(engine, detail.images[i], &snapshot)) {
			*ret_snapshot = xstrdup(snapshot.uuid);
			return 0;
		}
		is_missing |= detail.images[i]->snapshot != NULL;
	}
	if (is_missing)
		engine_warn(engine,
			    "the snapshot that image %s goes on from is not here: it starts from "
			    "the beginning",
			    reference);
	return err_set(err, -ENOENT, "image %s does not go on from a snapshot", reference);
}

char *warm_user(struct engine *engine, const char *uuid)
{
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };

	if (images_list(engine->store, &rows, NULL) < 0)
		return NULL;
	VEC_EACH (&rows, it) {
		CLEANUP(image_detail_release) struct image_detail detail = { 0 };

		if (engine_image_get(engine, it->reference, &detail, NULL) < 0)
			continue;
		for (size_t i = 0; i < detail.image_count; i++)
			if (str_eq(detail.images[i]->snapshot, uuid))
				return xstrdup(it->reference);
	}
	return NULL;
}
