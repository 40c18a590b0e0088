/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mark and sweep. Marked is what rows of images and containers lead to: documents, layers (as blobs
 * and converted), disks. Everything else under content/, layers/ and disks/ goes, with the
 * temporaries of dead processes. The exclusive content lock keeps out everybody who makes or looks
 * up content.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/verbs.h"
#include "store/containers.h"
#include "store/images.h"
#include "store/snapshots.h"

struct sweep {
	struct task *task;
	json_t *blobs, *layers, *disks; /* sets, by hexadecimal name; owned */
	bool keep_layers;               /* something in use could not be read */
	json_t *deleted;                /* array; borrowed from the result */
	uint64_t reclaimed;
};

static void mark(json_t *set, const char *digest)
{
	if (digest)
		json_object_set_new(set, str_or(str_after(digest, "sha256:"), digest), json_true());
}

static int mark_manifest(struct sweep *sweep, const struct manifest *manifest)
{
	AUTO_JSON json_t *config = NULL;
	AUTO_STRV char **diff_ids = NULL;
	AUTO_FREE char *key = NULL;
	struct platform platform;
	int r;

	mark(sweep->blobs, manifest->config.digest);
	VEC_EACH (&manifest->layers, it)
		mark(sweep->blobs, it->digest);
	r = content_read_json(sweep->task->root, manifest->config.digest, &config, NULL);
	if (r == 0)
		r = image_config_parse(config, manifest->layers.count, &platform, &diff_ids, NULL);
	if (r < 0)
		return r;
	STRV_EACH (diff_ids, it)
		mark(sweep->layers, *it);
	key = disk_key_of(diff_ids);
	mark(sweep->disks, key);
	return 0;
}

/* Marks a document and what it leads to; parts of an index that are not here do not matter. */
static int mark_document(struct sweep *sweep, const char *digest, bool nested)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	AUTO_JSON json_t *json = NULL;
	int r = content_read_json(sweep->task->root, digest, &json, NULL);

	mark(sweep->blobs, digest);
	if (r == 0)
		r = manifest_parse(json, NULL, &manifest, NULL);
	if (r < 0)
		return r;
	if (!manifest.is_index)
		return mark_manifest(sweep, &manifest);
	VEC_EACH (&manifest.manifests, it)
		if (!nested)
			mark_document(sweep, it->digest, true);
	return 0;
}

static void mark_config(struct sweep *sweep, const struct container_config *config, json_t *used)
{
	if (config->image.reference)
		json_object_set_new(used, config->image.reference, json_true());
	mark(sweep->disks, config->root_key);
	if (config->manifest_digest && mark_document(sweep, config->manifest_digest, true) < 0) {
		task_warning(sweep->task,
			     "container %s: its image cannot be read; no layers are deleted",
			     config->id);
		sweep->keep_layers = true;
	}
}

/* A snapshot needs what its container needed. */
static int mark_containers(struct sweep *sweep, json_t *used, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	CLEANUP(snapshot_list_release) struct snapshot_list snapshots = { 0 };
	int r = containers_list(sweep->task->store, &list, err);

	if (r == 0)
		r = snapshots_list(sweep->task->store, &snapshots, err);
	if (r < 0)
		return r;
	VEC_EACH (&list, it)
		mark_config(sweep, &(*it)->config, used);
	VEC_EACH (&snapshots, it)
		mark_config(sweep, &it->config, used);
	return 0;
}

/* Marks what rows of images need, after deleting (if all) the rows that no container uses. */
static int mark_images(struct sweep *sweep, const json_t *used, bool all, struct err *err)
{
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	int r = images_list(sweep->task->store, &rows, err);

	VEC_EACH (&rows, it) {
		if (r < 0)
			return r;
		if (all && !json_object_get(used, it->reference)) {
			r = images_delete(sweep->task->store, it->reference, err);
			json_array_append_new(sweep->deleted, json_string(it->reference));
			continue;
		}
		mark_document(sweep, it->digest, false);
	}
	return r;
}

/* Removes one name of a directory, counting what it used. */
static void drop(struct sweep *sweep, const char *directory, const char *name)
{
	AUTO_FREE char *path = path_join(directory, "%s", name);
	uint64_t bytes = path_disk_usage(path);

	if (path_remove_tree(path, NULL) == 0)
		sweep->reclaimed += bytes;
}

/* Whether a directory's entry stays. */
typedef bool (*keep_fn)(const struct sweep *sweep, const char *name);

static bool keep_blob(const struct sweep *sweep, const char *name)
{
	return json_object_get(sweep->blobs, name);
}

static bool keep_nothing(const struct sweep *sweep, const char *name)
{
	return false;
}

static bool keep_layer(const struct sweep *sweep, const char *name)
{
	AUTO_FREE char *hex = xstrndup(name, strcspn(name, "."));

	if (str_ends(name, ".lock") || str_starts(name, "tmp."))
		return false;
	return sweep->keep_layers || json_object_get(sweep->layers, hex);
}

static bool keep_disk(const struct sweep *sweep, const char *name)
{
	return json_object_get(sweep->disks, name);
}

static void sweep_directory(struct sweep *sweep, const char *name, keep_fn keep, bool report)
{
	AUTO_FREE char *path = path_join(sweep->task->root, "%s", name);
	AUTO_STRV char **names = NULL;
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !keep(sweep, entry->d_name))
			strv_push(&names, entry->d_name);
	if (dir)
		closedir(dir);
	STRV_EACH (names, it) {
		drop(sweep, path, *it);
		if (report && strlen(*it) == 64) {
			AUTO_FREE char *digest = xasprintf("sha256:%s", *it);

			json_array_append_new(sweep->deleted, json_string(digest));
		}
	}
}

int verb_prune(struct task *task, json_t **ret_result, struct err *err)
{
	AUTO_FREE char *lock_path = path_join(task->root, "content/lock");
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	AUTO_JSON json_t *used = json_object();
	AUTO_JSON json_t *blobs = json_object();
	AUTO_JSON json_t *layers = json_object();
	AUTO_JSON json_t *disks = json_object();
	AUTO_JSON json_t *deleted = json_array();
	struct sweep sweep = {
		.task = task, .blobs = blobs, .layers = layers, .disks = disks, .deleted = deleted
	};
	int r;

	if (lock < 0)
		return lock;
	r = mark_containers(&sweep, used, err);
	if (r == 0)
		r = mark_images(&sweep, used, json_get_bool(task->request, "all", false), err);
	if (r < 0)
		return r;
	/* Disks before layers before blobs: what goes first needs what goes later. */
	sweep_directory(&sweep, "disks", keep_disk, false);
	sweep_directory(&sweep, "layers", keep_layer, false);
	sweep_directory(&sweep, "content/blobs/sha256", keep_blob, true);
	sweep_directory(&sweep, "content/ingest", keep_nothing, false);
	*ret_result = json_pack("{s:O, s:I}", "deleted", deleted, "reclaimed",
				(json_int_t)sweep.reclaimed);
	return 0;
}
