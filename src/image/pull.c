/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/fetch.h"
#include "image/sha256.h"
#include "image/verbs.h"

#define SOURCES_MAX 8
#define STALL_MS_DEFAULT 60000
#define ATTEMPTS_DEFAULT 5

/* Where to ask: mirrors of docker.io first, the registry of the reference last. */
struct source {
	struct registry_options options; /* owns credentials; the rest is borrowed */
};

struct pull {
	struct image_ref ref; /* owned */
	char *name;           /* owned: normalised reference */
	char **insecure;      /* owned */
	struct source sources[SOURCES_MAX];
	size_t source_count;
};

/* The pull of this process (one request each), made by pull_prepare. */
static struct pull prepared;

static int add_source(struct task *task, const char *mirror, struct err *err)
{
	const json_t *request = task->request;
	const char *config_dir = json_get_string(request, "config_dir");
	const json_t *given = json_get_object(request, "credentials");
	struct registry_options *options = &prepared.sources[prepared.source_count].options;
	const char *host = str_or(mirror, prepared.ref.registry);
	int r = 0;

	*options = (struct registry_options){
		.scheme = json_get_string(request, "scheme"),
		.dns_domain = json_get_string(request, "dns_domain"),
		.certs_dir = json_get_string(request, "certs_dir"),
		.insecure = prepared.insecure,
		.mirror = mirror,
		.stall_ms = (unsigned)json_get_int(request, "stall_ms", STALL_MS_DEFAULT),
		.attempts = (unsigned)json_get_int(request, "attempts", ATTEMPTS_DEFAULT),
		.cancelled = &task->cancelled,
	};
	host = str_or(str_after(host, "https://"), str_or(str_after(host, "http://"), host));
	if (!mirror && given) {
		options->credentials.username = xstrdup(json_get_string(given, "username"));
		options->credentials.password = xstrdup(json_get_string(given, "password"));
	} else if (config_dir) {
		r = credentials_find(config_dir, host, &options->credentials, err);
	}
	prepared.source_count++;
	return r;
}

int pull_prepare(struct task *task, struct err *err)
{
	const json_t *mirrors = json_get_array(task->request, "mirrors");
	const char *text;
	size_t i;
	json_t *item;
	int r = task_string(task, "reference", &text, err);

	if (r == 0)
		r = image_ref_parse(text, NULL, &prepared.ref, err);
	if (r < 0)
		return r;
	prepared.name = image_ref_text(&prepared.ref);
	prepared.insecure = json_get_strv(task->request, "insecure");
	if (str_eq(prepared.ref.registry, "docker.io"))
		json_array_foreach (mirrors, i, item)
			if (json_is_string(item) && prepared.source_count + 1 < SOURCES_MAX &&
			    r == 0)
				r = add_source(task, json_string_value(item), err);
	return r < 0 ? r : add_source(task, NULL, err);
}

struct job {
	struct task *task;
	struct registry *registry;
	const struct manifest *manifest;
	char *const *diff_ids;
};

static int pull_layer(void *ctx, size_t i, struct err *err)
{
	struct job *job = ctx;

	return fetch_layer(job->task, job->registry, &job->manifest->layers.items[i],
			   job->diff_ids[i], err);
}

/* Refuses at once what cannot fit, instead of filling the disk first. */
static int check_space(const struct task *task, const struct manifest *manifest, struct err *err)
{
	struct statvfs fs;
	uint64_t need = 0;
	uint64_t free_bytes;

	if (statvfs(task->root, &fs) < 0)
		return 0;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	VEC_EACH (&manifest->layers, it)
		if (!blob_present(task->root, it->digest, it->size) &&
		    __builtin_add_overflow(need, it->size, &need))
			need = UINT64_MAX;
	if (need > free_bytes) {
		AUTO_FREE char *need_text = str_size(need);
		AUTO_FREE char *free_text = str_size(free_bytes);

		return err_set(
			err, -ENOSPC,
			"the image needs %s but only %s are free in '%s'; free some with 'hull "
			"image prune --all' or 'hull system prune'",
			need_text, free_text, task->root);
	}
	return 0;
}

/* Gets a manifest by tag or digest, and verifies, parses and stores it. size: STREAM_SIZE_UNKNOWN
 * if nobody said. */
static int get_document(struct task *task, struct registry *registry, const char *reference,
			uint64_t size, struct manifest *ret_manifest,
			struct descriptor *ret_descriptor, struct err *err)
{
	bool by_digest = content_digest_valid(reference);
	struct registry_document document = { 0 };
	char digest[STREAM_DIGEST_LENGTH + 1] = "sha256:";
	AUTO_JSON json_t *json = NULL;
	AUTO_FREE char *text = NULL;
	const char *claimed = by_digest ? reference : document.digest;
	int r = registry_get_manifest(registry, reference, &document, err);

	if (r < 0)
		return r;
	text = document.text;
	sha256_hex(text, document.size, digest + strlen("sha256:"));
	if ((by_digest || content_digest_valid(claimed)) && !str_eq(claimed, digest))
		return err_set(err, -EBADMSG, "manifest %s does not match its digest (it is %s)",
			       claimed, digest);
	if (size != STREAM_SIZE_UNKNOWN && size != document.size)
		return err_set(err, -EBADMSG, "manifest %s has %zu bytes instead of %llu", digest,
			       document.size, (unsigned long long)size);
	r = json_parse(text, document.size, "the manifest", &json, err);
	if (r < 0 && !strstr(document.media_type, "json"))
		return err_set(err, r, "the registry sent no manifest but '%s'",
			       document.media_type);
	if (r == 0)
		r = manifest_parse(json, document.media_type, ret_manifest, err);
	if (r == 0)
		r = blob_put(task->root, text, document.size, NULL, err);
	if (r == 0)
		*ret_descriptor =
			(struct descriptor){ .media_type = xstrdup(ret_manifest->media_type),
					     .digest = xstrdup(digest),
					     .size = document.size };
	return r;
}

/* A manifest of an index: from here if it is here. */
static int get_manifest(struct task *task, struct registry *registry,
			const struct descriptor *descriptor, struct manifest *ret_manifest,
			struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor found = { 0 };
	AUTO_JSON json_t *json = NULL;
	int r;

	if (blob_present(task->root, descriptor->digest, descriptor->size)) {
		r = content_read_json(task->root, descriptor->digest, &json, err);
		if (r == 0)
			r = manifest_parse(json, descriptor->media_type, ret_manifest, err);
	} else {
		r = get_document(task, registry, descriptor->digest, descriptor->size, ret_manifest,
				 &found, err);
	}
	if (r == 0 && ret_manifest->is_index)
		r = err_set(err, -ENOTSUP, "an index within an index is not supported");
	return r;
}

/* Everything of one platform's manifest, up to its disk. want NULL: any platform. */
static int pull_manifest(struct task *task, struct registry *registry,
			 const struct manifest *manifest, const struct platform *want,
			 struct err *err)
{
	AUTO_JSON json_t *config = NULL;
	AUTO_STRV char **diff_ids = NULL;
	AUTO_FREE char *key = NULL;
	struct platform have;
	struct job job = { .task = task, .registry = registry, .manifest = manifest };
	int r = fetch_config(task, registry, &manifest->config, &config, err);

	if (r == 0)
		r = image_config_parse(config, manifest->layers.count, &have, &diff_ids, err);
	if (r < 0)
		return r;
	if (want && !platform_matches(want, &have)) {
		AUTO_FREE char *available = platform_text(&have);

		return manifest_no_platform(prepared.name, want, available, err);
	}
	r = check_space(task, manifest, err);
	if (r < 0)
		return r;
	job.diff_ids = diff_ids;
	r = jobs_run(task, manifest->layers.count, task_concurrency(task), pull_layer, &job, err);
	if (r == 0)
		r = disk_make(task, diff_ids, &key, err);
	return r;
}

static int pull_index(struct task *task, struct registry *registry, const struct manifest *index,
		      const struct platform *want, bool all, struct err *err)
{
	int found = manifest_find_platform(index, want);
	size_t pulled = 0;

	if (!all && found < 0) {
		AUTO_FREE char *available = manifest_platforms_text(index);

		return manifest_no_platform(prepared.name, want, available, err);
	}
	for (size_t i = 0; i < index->manifests.count; i++) {
		CLEANUP(manifest_release) struct manifest manifest = { 0 };
		const char *os = index->platforms.items[i].os;
		int r;

		if (all ? os[0] == '\0' || str_eq(os, "unknown") : i != (size_t)found)
			continue;
		r = get_manifest(task, registry, &index->manifests.items[i], &manifest, err);
		if (r == 0)
			r = pull_manifest(task, registry, &manifest, NULL, err);
		if (r < 0)
			return r;
		pulled++;
	}
	return pulled > 0 ? 0 : err_set(err, -ENOENT, "image '%s' has no platforms", prepared.name);
}

/* The whole pull from one source. *ret_document is set once the source has the image. */
static int pull_from(struct task *task, const struct source *source,
		     struct descriptor *ret_document, struct err *err)
{
	CLEANUP(registry_closep) struct registry *registry = NULL;
	CLEANUP(manifest_release) struct manifest top = { 0 };
	bool all = json_get_bool(task->request, "all_platforms", false);
	struct platform want;
	int r = task_platform(task, &want, err);

	if (r == 0)
		r = registry_open(&prepared.ref, &source->options, &registry, err);
	if (r == 0)
		r = get_document(task, registry, str_or(prepared.ref.digest, prepared.ref.tag),
				 STREAM_SIZE_UNKNOWN, &top, ret_document, err);
	if (r < 0)
		return r;
	return top.is_index ? pull_index(task, registry, &top, &want, all, err)
			    : pull_manifest(task, registry, &top, all ? NULL : &want, err);
}

const struct image_ref *pull_reference(void)
{
	return &prepared.ref;
}

struct registry_options pull_options(void)
{
	return prepared.sources[prepared.source_count - 1].options;
}

int verb_pull(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor document = { 0 };
	int r = -ENOENT;

	for (size_t i = 0; i < prepared.source_count; i++) {
		r = pull_from(task, &prepared.sources[i], &document, err);
		if (r == 0 || document.digest) /* it was there: what is wrong is not the mirror */
			break;
		if (i + 1 < prepared.source_count)
			task_warning(task, "mirror %s: %s", prepared.sources[i].options.mirror,
				     err->message);
	}
	if (r == 0)
		r = task_set_reference(task, prepared.name, &document, err);
	if (r < 0)
		return r;
	*ret_result =
		json_pack("{s:s, s:s}", "reference", prepared.name, "digest", document.digest);
	return 0;
}
