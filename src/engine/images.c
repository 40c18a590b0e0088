/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what rows say, and what hull-image is asked to do. */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "image/ref.h"
#include "image/worker.h"

int images_worker(struct engine *engine, const char *verb, json_t *request, json_t **ret_result,
		  struct err *err)
{
	AUTO_FREE char *program = path_join(engine->programs, "hull-image");
	const struct image_worker_ops ops = { .progress = engine->ui.progress,
					      .warning = engine->ui.warning };
	AUTO_JSON json_t *result = NULL;
	int r;

	json_set_string(request, "verb", verb);
	json_set_string(request, "root", engine->root);
	r = image_worker_run(program, request, &ops, engine->ui.ctx, &result, err);
	json_decref(request);
	if (r == 0 && ret_result)
		*ret_result = TAKE_PTR(result);
	return r;
}

int images_normalise(const struct engine *engine, const char *name, char **ret_text,
		     struct err *err)
{
	struct image_ref ref = { 0 };
	int r = image_ref_parse(name, engine->config.registry_default, &ref, err);

	if (r < 0)
		return r;
	*ret_text = image_ref_text(&ref);
	image_ref_release(&ref);
	return 0;
}

/* What "reference" of a worker's result holds, as the caller's own text. */
static int result_text(const json_t *result, const char *name, char **ret_text, struct err *err)
{
	const char *text = json_get_string(result, name);

	if (!text)
		return err_set(err, -EPROTO, "hull-image did not say its '%s'", name);
	if (ret_text)
		*ret_text = xstrdup(text);
	return 0;
}

static int choose_platform(const struct engine *engine, const struct fetch_options *fetch,
			   struct platform *ret_platform, struct err *err)
{
	if (fetch && fetch->platform)
		return platform_parse(fetch->platform, ret_platform, err);
	*ret_platform = engine->platform;
	return 0;
}

json_t *images_remote_request(const struct engine *engine, const char *reference,
			      const char *scheme)
{
	AUTO_FREE char *certs_dir = NULL;
	json_t *request = json_object();

	if (engine->docker_config)
		certs_dir = path_join(engine->docker_config, "certs.d");
	json_set_string(request, "reference", reference);
	json_set_string(request, "scheme", str_or(scheme, "auto"));
	json_object_set_new(request, "insecure", json_from_strv(engine->config.registry_insecure));
	json_set_string(request, "dns_domain", engine->config.dns_domain);
	json_set_string(request, "config_dir", engine->docker_config);
	json_set_string(request, "certs_dir", certs_dir);
	return request;
}

int engine_image_pull(struct engine *engine, const char *reference,
		      const struct fetch_options *fetch, bool all_platforms, char **ret_reference,
		      struct err *err)
{
	AUTO_FREE char *normalised = NULL;
	AUTO_FREE char *platform_name = NULL;
	AUTO_JSON json_t *result = NULL;
	struct platform platform;
	json_t *request;
	int r = images_normalise(engine, reference, &normalised, err);

	if (r == 0)
		r = choose_platform(engine, fetch, &platform, err);
	if (r < 0)
		return r;
	platform_name = platform_text(&platform);
	request = images_remote_request(engine, normalised, fetch ? fetch->scheme : NULL);
	json_set_string(request, "platform", platform_name);
	json_object_set_new(request, "all_platforms", json_boolean(all_platforms));
	json_object_set_new(request, "concurrency",
			    json_integer(fetch && fetch->concurrency ? fetch->concurrency : 3));
	json_object_set_new(request, "mirrors", json_from_strv(engine->config.registry_mirrors));
	r = images_worker(engine, "pull", request, &result, err);
	return r < 0 ? r : result_text(result, "reference", ret_reference, err);
}

static char *absolute_or_null(const char *path)
{
	AUTO_FREE char *cwd = NULL;

	if (!path || str_eq(path, "-"))
		return NULL;
	cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
	return cwd ? path_join(cwd, "%s", path) : xstrdup(path);
}

static int check_source(const char *path, struct err *err)
{
	if (path && access(path, F_OK) < 0)
		return err_set(err, -ENOENT, "path '%s' does not exist", path);
	return 0;
}

int engine_image_load(struct engine *engine, const char *path, char ***ret_references,
		      struct err *err)
{
	AUTO_FREE char *source = absolute_or_null(path);
	AUTO_JSON json_t *result = NULL;
	json_t *request;
	int r = check_source(source, err);

	if (r < 0)
		return r;
	request = json_object();
	json_set_string(request, "path", source);
	r = images_worker(engine, "load", request, &result, err);
	if (r == 0)
		*ret_references = json_get_strv(result, "references");
	return r;
}

int engine_image_save(struct engine *engine, char *const *references, const char *platform,
		      const char *path, struct err *err)
{
	AUTO_FREE char *target = absolute_or_null(path);
	AUTO_STRV char **normalised = NULL;
	json_t *request;

	STRV_EACH (references, it) {
		struct image_detail detail = { 0 };
		int r = engine_image_get(engine, *it, &detail, err);

		if (r < 0)
			return r;
		strv_push(&normalised, detail.row.reference);
		for (size_t i = 0; i < detail.image_count; i++)
			if (detail.images[i]->snapshot)
				engine_warn(engine,
					    "the snapshot that image %s goes on from is not in "
					    "the archive",
					    *it);
		image_detail_release(&detail);
	}
	request = json_object();
	json_object_set_new(request, "references", json_from_strv(normalised));
	json_set_string(request, "platform", platform);
	json_set_string(request, "path", target);
	return images_worker(engine, "save", request, NULL, err);
}

int engine_image_import(struct engine *engine, const char *path, const char *reference,
			char *const *changes, const char *platform, char **ret_reference,
			struct err *err)
{
	AUTO_FREE char *source = absolute_or_null(path);
	AUTO_FREE char *normalised = NULL;
	AUTO_JSON json_t *result = NULL;
	json_t *request;
	int r = check_source(source, err);

	if (r == 0)
		r = images_normalise(engine, reference, &normalised, err);
	if (r < 0)
		return r;
	request = json_object();
	json_set_string(request, "path", source);
	json_set_string(request, "reference", normalised);
	json_object_set_new(request, "changes", json_from_strv(changes));
	json_set_string(request, "platform", platform);
	r = images_worker(engine, "import", request, &result, err);
	return r < 0 ? r : result_text(result, "reference", ret_reference, err);
}

int engine_image_import_builtin(struct engine *engine, const char *reference, char **ret_reference,
				struct err *err)
{
	static const char *const places[] = { "/bin/busybox", "/usr/bin/busybox" };
	AUTO_FREE char *normalised = NULL;
	AUTO_JSON json_t *result = NULL;
	const char *busybox = NULL;
	json_t *request;
	int r = images_normalise(engine, str_or(reference, "busybox:latest"), &normalised, err);

	if (r < 0)
		return r;
	for (size_t i = 0; !busybox && i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			busybox = places[i];
	if (!busybox)
		return err_set(
			err, -ENOENT,
			"there is no busybox here; install it (apt-get install busybox-static)");
	request = json_object();
	json_set_string(request, "busybox", busybox);
	json_set_string(request, "reference", normalised);
	r = images_worker(engine, "import-builtin", request, &result, err);
	return r < 0 ? r : result_text(result, "reference", ret_reference, err);
}

static bool is_no_answer(int r)
{
	return r == -EHOSTUNREACH || r == -ENETUNREACH || r == -ECONNREFUSED || r == -ECONNRESET ||
	       r == -ETIMEDOUT;
}

/* The builtin busybox stands in when no registry answers, so that the first minute needs no
 * Internet. */
static int fetch(struct engine *engine, const char *name, const char *normalised,
		 const struct fetch_options *options, struct err *err)
{
	struct err ignored = { 0 };
	int r = engine_image_pull(engine, name, options, false, NULL, err);

	/* A registry that answers wrongly (its certificate, a digest) is not made up for. */
	if (!is_no_answer(r) || !str_eq(normalised, "docker.io/library/busybox:latest"))
		return r;
	if (engine_image_import_builtin(engine, name, NULL, &ignored) < 0)
		return r;
	engine_warn(engine, "no registry answered; using the busybox of this machine");
	return 0;
}

static int find_row(struct engine *engine, const char *name, const char *normalised,
		    const struct fetch_options *options, struct image_row *ret_row, struct err *err)
{
	const char *policy = options && options->pull ? options->pull : "missing";
	int r;

	if (!str_eq(policy, "always")) {
		r = images_get(engine->store, normalised, ret_row, err);
		if (r != -ENOENT || str_eq(policy, "never"))
			return r;
	}
	r = fetch(engine, name, normalised, options, err);
	return r < 0 ? r : images_get(engine->store, normalised, ret_row, err);
}

int images_prepare(struct engine *engine, const char *reference, const char *manifest_digest,
		   const char *platform, struct err *err)
{
	json_t *request = json_object();

	json_set_string(request, "reference", reference);
	json_set_string(request, "digest", manifest_digest);
	json_set_string(request, "platform", platform);
	return images_worker(engine, "prepare", request, NULL, err);
}

int images_require(struct engine *engine, const char *name, const struct fetch_options *options,
		   struct image_row *ret_row, struct image **ret_image, struct err *err)
{
	CLEANUP(image_freep) struct image *image = NULL;
	CLEANUP(image_row_release) struct image_row row = { 0 };
	AUTO_FREE char *normalised = NULL;
	struct platform platform;
	int r = images_normalise(engine, name, &normalised, err);

	if (r == 0)
		r = choose_platform(engine, options, &platform, err);
	if (r == 0)
		r = find_row(engine, name, normalised, options, &row, err);
	if (r < 0)
		return r;
	r = image_open(engine->root, name, row.digest, &platform, &image, err);
	if (r == -ENOENT && !(options && str_eq(options->pull, "never"))) {
		/* The index is here, this platform of it not (yet). */
		struct err pull_err = { 0 };

		if (engine_image_pull(engine, name, options, false, NULL, &pull_err) == 0) {
			/* Its tag may have moved. */
			image_row_release(&row);
			r = images_get(engine->store, normalised, &row, err);
			if (r < 0)
				return r;
			r = image_open(engine->root, name, row.digest, &platform, &image, err);
		}
	}
	if (r < 0)
		return r;
	if (!image_disk_ready(engine->root, image->disk_key)) {
		AUTO_FREE char *platform_name = platform_text(&image->platform);

		r = images_prepare(engine, normalised, image->manifest.digest, platform_name, err);
		if (r < 0)
			return err_context(err, "image '%s'", name);
	}
	*ret_row = row;
	row = (struct image_row){ 0 };
	*ret_image = TAKE_PTR(image);
	return 0;
}

/* The row of what the user typed; not found is told in the user's words. */
static int get_row(struct engine *engine, const char *name, struct image_row *ret_row,
		   struct err *err)
{
	AUTO_FREE char *normalised = NULL;
	int r = images_normalise(engine, name, &normalised, err);

	if (r == 0)
		r = images_get(engine->store, normalised, ret_row, err);
	return r == -ENOENT ? err_set(err, r, "image not found: %s", name) : r;
}

int engine_image_tag(struct engine *engine, const char *source, const char *target,
		     char **ret_reference, struct err *err)
{
	CLEANUP(image_row_release) struct image_row row = { 0 };
	AUTO_FREE char *to = NULL;
	int r = images_normalise(engine, target, &to, err);

	if (r == 0)
		r = get_row(engine, source, &row, err);
	if (r < 0)
		return r;
	free(row.reference);
	row.reference = xstrdup(to);
	r = images_set(engine->store, &row, err);
	if (r == 0)
		*ret_reference = TAKE_PTR(to);
	return r;
}

static int check_unused(struct engine *engine, const struct image_row *row, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = engine_list(engine, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++)
		if (str_eq(list.items[i]->config.image.reference, row->reference))
			return err_set(err, -EBUSY,
				       "image %s is used by container %s; delete that first, or "
				       "use --force",
				       row->reference, list.items[i]->config.id);
	return r;
}

int engine_image_delete(struct engine *engine, const char *reference, bool force,
			char **ret_reference, struct err *err)
{
	CLEANUP(image_row_release) struct image_row row = { 0 };
	int r = get_row(engine, reference, &row, err);

	if (r == 0 && !force)
		r = check_unused(engine, &row, err);
	if (r == 0)
		r = images_delete(engine->store, row.reference, err);
	if (r == 0)
		*ret_reference = TAKE_PTR(row.reference);
	return r;
}

int engine_image_prune(struct engine *engine, bool all, struct prune_result *ret_result,
		       struct err *err)
{
	AUTO_JSON json_t *result = NULL;
	json_t *request = json_object();
	int r;

	json_object_set_new(request, "all", json_boolean(all));
	r = images_worker(engine, "prune", request, &result, err);
	if (r < 0)
		return r;
	ret_result->removed = json_get_strv(result, "deleted");
	ret_result->reclaimed_bytes = (uint64_t)json_get_int(result, "reclaimed", 0);
	return 0;
}

void image_detail_release(struct image_detail *detail)
{
	for (size_t i = 0; i < detail->image_count; i++)
		image_free(detail->images[i]);
	free(detail->images);
	image_row_release(&detail->row);
	*detail = (struct image_detail){ 0 };
}

int engine_image_get(struct engine *engine, const char *reference, struct image_detail *ret_detail,
		     struct err *err)
{
	CLEANUP(image_detail_release) struct image_detail detail = { 0 };
	int r = get_row(engine, reference, &detail.row, err);

	if (r == 0)
		r = image_open_all(engine->root, detail.row.digest, &detail.images,
				   &detail.image_count, err);
	if (r < 0)
		return r;
	*ret_detail = detail;
	detail = (struct image_detail){ 0 };
	return 0;
}

int engine_image_list(struct engine *engine, struct image_rows *ret_rows, struct err *err)
{
	return images_list(engine->store, ret_rows, err);
}
