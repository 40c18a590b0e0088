/* SPDX-License-Identifier: Apache-2.0 */
/* What a container changed becomes a layer on top of its image's. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/verbs.h"

struct commit {
	struct task *task;
	const json_t *request;
	struct platform platform;
	struct image *base;     /* owned */
	struct manifest layers; /* owned: the base's */
	json_t *config;         /* owned: the new image's document */
	char *created;          /* owned */
};

static void commit_release(struct commit *commit)
{
	if (commit->base)
		image_free(commit->base);
	manifest_release(&commit->layers);
	json_decref(commit->config);
	free(commit->created);
}

static int open_base(struct commit *commit, const char *digest, const char *name, struct err *err)
{
	struct task *task = commit->task;
	AUTO_JSON json_t *document = NULL;
	AUTO_FREE char *key = NULL;
	int r = prepare_image(task, name, digest, &commit->platform, &key, err);

	if (r == 0)
		r = image_open(task->root, name, digest, &commit->platform, &commit->base, err);
	if (r == 0)
		r = content_read_json(task->root, commit->base->manifest.digest, &document, err);
	if (r == 0)
		r = manifest_parse(document, NULL, &commit->layers, err);
	if (r == 0)
		commit->config = json_deep_copy(commit->base->config);
	return r;
}

static size_t strings_equal(const json_t *all, const json_t *some)
{
	size_t n = json_array_size(some);

	for (size_t i = 0; i < n; i++)
		if (!json_equal(json_array_get(all, i), json_array_get(some, i)))
			return SIZE_MAX;
	return n;
}

/* The container's command is entry point and command in one: told apart by the image's, if it
 * begins with that. */
static void set_command(json_t *config, const json_t *command)
{
	const json_t *entrypoint = json_get_array(config, "Entrypoint");
	size_t begin = strings_equal(command, entrypoint);
	json_t *rest = json_array();

	if (begin == SIZE_MAX) {
		json_object_del(config, "Entrypoint");
		begin = 0;
	}
	for (size_t i = begin; i < json_array_size(command); i++)
		json_array_append(rest, json_array_get(command, i));
	json_object_set_new(config, "Cmd", rest);
}

/* What the container was given is the new image's default. */
static int set_process(struct commit *commit, json_t *config, struct err *err)
{
	const json_t *process = json_get_object(commit->request, "process");
	const json_t *labels = json_get_object(commit->request, "labels");
	AUTO_STRV char **changes = json_get_strv(commit->request, "changes");
	const char *user = json_get_string(process, "user");
	int r = 0;

	if (json_array_size(json_get_array(process, "command")))
		set_command(config, json_get_array(process, "command"));
	if (json_get_array(process, "env"))
		json_object_set(config, "Env", json_get_array(process, "env"));
	json_set_string(config, "WorkingDir", json_get_string(process, "working_directory"));
	if (user && *user)
		json_set_string(config, "User", user);
	if (json_object_size(labels))
		json_object_set(config, "Labels", (json_t *)labels);
	STRV_EACH (changes, it)
		if (r == 0)
			r = change_apply(config, *it, err);
	return r;
}

/* One entry for each layer: what an image does not say of those below is made up. */
static void add_history(struct commit *commit)
{
	json_t *history = json_get_array(commit->config, "history");
	json_t *entry =
		json_pack("{s:s, s:s, s:s*, s:s*}", "created", commit->created, "created_by",
			  "hull commit", "author", json_get_string(commit->request, "author"),
			  "comment", json_get_string(commit->request, "message"));

	if (!history) {
		history = json_array();
		for (size_t i = 0; i < commit->layers.layers.count; i++)
			json_array_append_new(history, json_pack("{s:s}", "created_by", "unknown"));
		json_object_set_new(commit->config, "history", history);
	}
	json_array_append_new(history, entry);
}

static int make_config(struct commit *commit, const char *diff_id, struct err *err)
{
	json_t *json = commit->config;
	const json_t *rootfs = json_get_object(json, "rootfs");
	json_t *config = json_get_object(json, "config");

	if (!config) {
		config = json_object();
		json_object_set_new(json, "config", config);
	}
	json_array_append_new(json_get_array(rootfs, "diff_ids"), json_string(diff_id));
	json_set_string(json, "created", commit->created);
	json_object_del(json, "author"); /* of the base */
	json_set_string(json, "author", json_get_string(commit->request, "author"));
	/* What docker kept of the container that a layer was made in. */
	json_object_del(json, "container");
	json_object_del(json, "container_config");
	json_object_del(json, "id");
	json_object_del(json, "parent");
	add_history(commit);
	return set_process(commit, config, err);
}

/* The base's layers, by the names of the OCI. */
static json_t *layers_json(const struct commit *commit, const struct descriptor *top)
{
	json_t *array = json_array();

	for (size_t i = 0; i < commit->layers.layers.count; i++) {
		struct descriptor layer = commit->layers.layers.items[i];
		char gzip[] = MEDIA_OCI_LAYER "+gzip";
		char zstd[] = MEDIA_OCI_LAYER "+zstd";
		char plain[] = MEDIA_OCI_LAYER;

		layer.media_type = str_ends(layer.media_type, "gzip")   ? gzip
				   : str_ends(layer.media_type, "zstd") ? zstd
									: plain;
		json_array_append_new(array, descriptor_json(&layer));
	}
	json_array_append_new(array, descriptor_json(top));
	return array;
}

static int finish(struct commit *commit, const struct descriptor *layer, const char *diff_id,
		  const char *reference, json_t **ret_result, struct err *err)
{
	struct task *task = commit->task;
	CLEANUP(descriptor_release) struct descriptor config = { 0 };
	CLEANUP(descriptor_release) struct descriptor document = { 0 };
	AUTO_STRV char **diff_ids = strv_copy(commit->base->diff_ids);
	AUTO_JSON json_t *manifest = NULL;
	AUTO_FREE char *key = NULL;
	int r = make_config(commit, diff_id, err);

	if (r == 0)
		r = blob_put_json(task->root, commit->config, MEDIA_OCI_CONFIG, &config, err);
	if (r < 0)
		return r;
	manifest = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType",
			     MEDIA_OCI_MANIFEST, "config", descriptor_json(&config), "layers",
			     layers_json(commit, layer));
	strv_push(&diff_ids, diff_id);
	r = blob_put_json(task->root, manifest, MEDIA_OCI_MANIFEST, &document, err);
	if (r == 0)
		r = disk_make(task, diff_ids, &key, err);
	if (r == 0)
		r = task_set_reference(task, reference, &document, err);
	if (r == 0)
		*ret_result =
			json_pack("{s:s, s:s}", "reference", reference, "digest", document.digest);
	return r;
}

int verb_commit(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(commit_release) struct commit commit = { .task = task, .request = task->request };
	CLEANUP(descriptor_release) struct descriptor layer = { 0 };
	AUTO_FREE char *reference = NULL;
	AUTO_FREE char *diff_id = NULL;
	const char *base;
	const char *name;
	int r = task_reference(task, &reference, err);

	if (r == 0)
		r = task_string(task, "base", &base, err);
	if (r == 0)
		r = task_string(task, "base_name", &name, err);
	if (r == 0)
		r = task_platform(task, &commit.platform, err);
	if (r == 0)
		r = open_base(&commit, base, name, err);
	if (r < 0 || !commit.base)
		return r;
	commit.created = str_time(time(NULL));
	r = layer_import(task, stream_fd_new(STDIN_FILENO, "the layer"), &layer, &diff_id, err);
	return r < 0 ? r : finish(&commit, &layer, diff_id, reference, ret_result, err);
}
