/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <errno.h>

#include "base/json.h"
#include "engine/registry.h"

struct fake_engine fake;

struct engine {
	struct engine_ui ui;
};

static struct engine the_engine;

void fake_reset(void)
{
	sbuf_release(&fake.calls);
	json_decref(fake.created);
	fake = (struct fake_engine){ 0 };
}

#define CALLED(...) sbuf_addf(&fake.calls, __VA_ARGS__)

static int check(const char *id, struct err *err)
{
	if (str_eq(id, "web") || str_eq(id, "db") || str_eq(id, "new"))
		return 0;
	return err_set(err, -ENOENT, "container not found: %s", id);
}

/* --- life --- */

int engine_open(const struct engine_options *options, const struct engine_ui *ui,
		struct engine **ret_engine, struct err *err)
{
	the_engine.ui = *ui;
	CALLED("open %s\n", str_or(options->root, "-"));
	*ret_engine = &the_engine;
	return 0;
}

void engine_close(struct engine *engine)
{
}

const struct engine_config *engine_get_config(const struct engine *engine)
{
	static const struct engine_config config = { .cpus = 4, .memory_bytes = 1 << 30 };

	return &config;
}

const char *engine_get_root(const struct engine *engine)
{
	return "/fake";
}

const char *engine_get_run(const struct engine *engine)
{
	return "/fake-run";
}

/* --- containers --- */

int engine_create(struct engine *engine, const struct create_options *options, char **ret_id,
		  struct err *err)
{
	CALLED("create %s", options->image);
	STRV_EACH (options->arguments, it)
		CALLED(" %s", *it);
	CALLED(" pull=%s platform=%s\n", options->fetch.pull, str_or(options->fetch.platform, "-"));
	json_decref(fake.created);
	fake.created = container_config_to_json(options->config);
	if (fake.progress) {
		engine->ui.progress(engine->ui.ctx, "sha256:0123456789abcdef", "pulling", 5, 10);
		engine->ui.step(engine->ui.ctx, "making\033[2J a template");
		engine->ui.progress(engine->ui.ctx, "sha256:0123456789abcdef", "pulling", 10, 10);
	}
	*ret_id = xstrdup(str_or(options->config->id, "new"));
	return 0;
}

static int run(int *ret_status, struct err *err)
{
	*ret_status = fake.start_status;
	return fake.start_result < 0 ? err_set(err, fake.start_result, "it failed") : 0;
}

int engine_start(struct engine *engine, const char *id, const struct stdio_options *stdio,
		 int *ret_status, struct err *err)
{
	CALLED("start %s%s%s\n", id, stdio ? " attached" : "",
	       stdio && stdio->input ? " input" : "");
	return check(id, err) < 0 ? -ENOENT : run(ret_status, err);
}

int engine_attach(struct engine *engine, const char *id, const struct stdio_options *stdio,
		  int *ret_status, struct err *err)
{
	CALLED("attach %s\n", id);
	return run(ret_status, err);
}

int engine_exec(struct engine *engine, const char *id, const struct exec_options *options,
		const struct stdio_options *stdio, int *ret_status, struct err *err)
{
	CALLED("exec %s user=%s", id, str_or(options->process->user, "-"));
	STRV_EACH (options->process->environment, it)
		CALLED(" [%s]", *it);
	STRV_EACH (options->arguments, it)
		CALLED(" %s", *it);
	CALLED("\n");
	return check(id, err) < 0 ? -ENOENT : run(ret_status, err);
}

int engine_copy_check(const struct copy_options *options, struct err *err)
{
	bool has_container = strchr(options->source, ':') || strchr(options->destination, ':');

	return has_container ? 0 : err_set(err, -EINVAL, "nothing to copy between");
}

int engine_copy(struct engine *engine, const struct copy_options *options, struct err *err)
{
	CALLED("copy %s %s%s%s\n", options->source, options->destination,
	       options->archive ? " archive" : "", options->follow ? " follow" : "");
	return 0;
}

int engine_export(struct engine *engine, const char *id, const char *path, struct err *err)
{
	CALLED("export %s %s\n", id, str_or(path, "-"));
	return check(id, err);
}

void change_list_release(struct change_list *list)
{
	VEC_EACH (list, it)
		free(it->path);
	VEC_FREE(list);
}

int engine_diff(struct engine *engine, const char *id, struct change_list *ret_list,
		struct err *err)
{
	CALLED("diff %s\n", id);
	if (check(id, err) < 0)
		return -ENOENT;
	VEC_PUSH(ret_list, ((struct change){ 'C', xstrdup("/etc") }));
	VEC_PUSH(ret_list, ((struct change){ 'A', xstrdup("/etc/a\nb\xff") }));
	return 0;
}

int engine_commit(struct engine *engine, const char *id, const struct commit_options *options,
		  char **ret_reference, struct err *err)
{
	CALLED("commit %s %s author=%s message=%s pause=%d", id, options->reference,
	       str_or(options->author, "-"), str_or(options->message, "-"), options->pause);
	STRV_EACH (options->changes, it)
		CALLED(" [%s]", *it);
	CALLED("\n");
	*ret_reference = xstrdup(options->reference);
	return check(id, err);
}

void engine_stop_announce(struct engine *engine, char *const *ids, const char *signal,
			  uint32_t timeout_s)
{
}

int engine_stop(struct engine *engine, const char *id, const char *signal, uint32_t timeout_s,
		struct err *err)
{
	CALLED("stop %s %s %u\n", id, str_or(signal, "-"), timeout_s);
	return check(id, err);
}

int engine_kill(struct engine *engine, const char *id, const char *signal, struct err *err)
{
	CALLED("kill %s %s\n", id, str_or(signal, "-"));
	if (str_eq(id, "db"))
		return err_set(err, -EINVAL, "container db is not running");
	return check(id, err);
}

int engine_delete(struct engine *engine, const char *id, bool force, bool with_volumes,
		  char **ret_id, struct err *err)
{
	CALLED("delete %s%s\n", id, force ? " force" : "");
	if (check(id, err) < 0)
		return -ENOENT;
	*ret_id = xstrdup(id);
	return 0;
}

int engine_wait(struct engine *engine, const char *id, int *ret_status, struct err *err)
{
	*ret_status = 7;
	return check(id, err);
}

void process_list_release(struct process_list *list)
{
	VEC_FREE(list);
}

int engine_top(struct engine *engine, const char *id, struct process_list *ret_list,
	       struct err *err)
{
	VEC_PUSH(ret_list, ((struct process_info){ .pid = 1,
						   .uid = 33,
						   .age_s = 90061,
						   .cpu_ms = 61000,
						   .command = (char *)"nginx -g off" }));
	return check(id, err);
}

int engine_events(struct engine *engine, container_event_fn fn, void *ctx, struct err *err)
{
	struct container container = { .has_exit_code = true, .exit_code = 3 };
	const struct container_event event = { 1000000000, "die", &container };
	int r = fn(ctx, NULL);

	container.config.id = (char *)"web";
	container.config.image.reference = (char *)"alpine:1";
	return r < 0 ? r : fn(ctx, &event);
}

int engine_update(struct engine *engine, const char *id, const struct config_limits *limits,
		  struct err *err)
{
	CALLED("update %s %u %llu %u %s\n", id, limits->cpu_hundredths,
	       (unsigned long long)limits->memory_bytes, limits->pids_limit,
	       str_or(limits->restart, "-"));
	return check(id, err);
}

int engine_rename(struct engine *engine, const char *id, const char *new_id, struct err *err)
{
	CALLED("rename %s %s\n", id, new_id);
	return check(id, err);
}

static struct container *container_of(const char *id)
{
	struct container *container = xcalloc(1, sizeof(*container));
	bool runs = str_eq(id, "web");

	container_config_init(&container->config);
	container->config.id = xstrdup(id);
	container->config.image.reference = xstrdup("docker.io/library/alpine:latest");
	container->config.image.media_type = xstrdup("application/vnd.oci.image.manifest.v1+json");
	container->config.image.digest = xasprintf("sha256:%064d", 1);
	container->config.platform.os = xstrdup("linux");
	container->config.platform.architecture = xstrdup("amd64");
	container->config.process.executable = xstrdup("/bin/true");
	container->config.cpus = 2;
	container->config.memory_bytes = 1u << 30;
	container->config.created_at = 1767323045;
	json_set_string(container->config.labels, "tier", id);
	container->state = runs                ? CONTAINER_RUNNING
			   : str_eq(id, "new") ? CONTAINER_CREATED
					       : CONTAINER_STOPPED;
	container->started_at = 1767323045;
	container->has_exit_code = !runs;
	container->exit_code = 3;
	return container;
}

json_t *engine_container_health(struct engine *engine, const struct container *container)
{
	return container->health
		       ? json_pack("{s:s,s:i,s:[]}", "status", "healthy", "failingStreak", 0, "log")
		       : NULL;
}

int engine_get(struct engine *engine, const char *id, struct container **ret_container,
	       struct err *err)
{
	if (check(id, err) < 0)
		return -ENOENT;
	*ret_container = container_of(id);
	return 0;
}

int engine_list(struct engine *engine, struct container_list *ret_list, struct err *err)
{
	*ret_list = (struct container_list){ 0 };
	VEC_PUSH(ret_list, container_of("web"));
	VEC_PUSH(ret_list, container_of("db"));
	return 0;
}

int engine_logs(struct engine *engine, const char *id, const struct log_options *options,
		log_record_fn fn, void *ctx, struct err *err)
{
	struct log_record records[] = {
		{ 1, 1767323045000000001, "one\ntw", 6 },
		{ 2, 1767323045000000002, "oops\n", 5 },
		{ 1, 1767323045000000003, "o\n", 2 },
	};

	CALLED("logs %s lines=%lld boot=%d follow=%d\n", id, (long long)options->lines,
	       options->boot, options->follow);
	if (check(id, err) < 0)
		return -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(records); i++)
		fn(ctx, &records[i]);
	return 0;
}

int engine_stats(struct engine *engine, const char *id, struct container_stats *ret_stats,
		 struct err *err)
{
	*ret_stats = (struct container_stats){ .memory_usage_bytes = 12u << 20,
					       .memory_limit_bytes = 1u << 30,
					       .processes = 3 };
	return 0;
}

int engine_pause(struct engine *engine, const char *id, bool pause, struct err *err)
{
	CALLED("%s %s\n", pause ? "pause" : "unpause", id);
	return check(id, err);
}

int engine_suspend(struct engine *engine, const char *id, struct err *err)
{
	CALLED("suspend %s\n", id);
	return check(id, err);
}

int engine_snapshot_create(struct engine *engine, const struct snapshot_options *options,
			   char **ret_name, struct err *err)
{
	CALLED("snapshot create %s %s%s\n", options->container, str_or(options->name, "-"),
	       options->volumes ? " volumes" : "");
	*ret_name = xstrdup(str_or(options->name, "web-1"));
	return check(options->container, err);
}

int engine_image_import_snapshot(struct engine *engine, const char *snapshot, const char *reference,
				 char **ret_reference, struct err *err)
{
	CALLED("image import snapshot %s %s\n", snapshot, reference);
	*ret_reference = xstrdup(reference);
	return check(snapshot, err);
}

int engine_image_snapshot(struct engine *engine, const char *reference, char **ret_snapshot,
			  struct err *err)
{
	return err_set(err, -ENOENT, "no snapshot");
}

int engine_snapshot_list(struct engine *engine, struct snapshot_list *ret_list, struct err *err)
{
	CALLED("snapshot list\n");
	return 0;
}

int engine_snapshot_get(struct engine *engine, const char *name, struct snapshot *ret_snapshot,
			struct snapshot_usage *ret_usage, struct err *err)
{
	return err_set(err, -ENOENT, "snapshot not found: %s", name);
}

void engine_snapshot_usage(struct engine *engine, const struct snapshot *snapshot,
			   struct snapshot_usage *ret_usage)
{
	*ret_usage = (struct snapshot_usage){ 0 };
}

int engine_snapshot_delete(struct engine *engine, const char *name, char **ret_name,
			   struct err *err)
{
	CALLED("snapshot delete %s\n", name);
	*ret_name = xstrdup(name);
	return 0;
}

int engine_snapshot_restore(struct engine *engine, const struct restore_options *options,
			    char **ret_id, struct err *err)
{
	CALLED("snapshot restore %s %s%s%s\n", options->snapshot, str_or(options->name, "-"),
	       options->in_place ? " in place" : "", options->disks_only ? " disks" : "");
	*ret_id = xstrdup(str_or(options->name, "copy"));
	return 0;
}

int engine_fork(struct engine *engine, const struct fork_options *options, char ***ret_ids,
		struct err *err)
{
	CALLED("fork %s %u %s %s\n", options->source, options->count, str_or(options->name, "-"),
	       str_or(options->signal, "-"));
	strv_push(ret_ids, str_or(options->name, "copy"));
	return check(options->source, err);
}

int engine_resume(struct engine *engine, const char *id, struct err *err)
{
	CALLED("resume %s\n", id);
	return check(id, err);
}

void prune_result_release(struct prune_result *result)
{
	strv_free(result->removed);
}

int engine_prune_containers(struct engine *engine, struct prune_result *ret_result, struct err *err)
{
	*ret_result = (struct prune_result){ 0 };
	strv_push(&ret_result->removed, "db");
	return 0;
}

/* --- images --- */

static int check_image(const char *reference, char **ret_reference, struct err *err)
{
	if (!str_starts(reference, "alpine") && !str_starts(reference, "docker.io/library/alpine"))
		return err_set(err, -ENOENT, "image not found: %s", reference);
	*ret_reference = xstrdup(reference);
	return 0;
}

int engine_image_pull(struct engine *engine, const char *reference,
		      const struct fetch_options *fetch, bool all_platforms, char **ret_reference,
		      struct err *err)
{
	CALLED("pull %s %s %s %u%s\n", reference, str_or(fetch->platform, "-"), fetch->scheme,
	       fetch->concurrency, all_platforms ? " all" : "");
	return check_image(reference, ret_reference, err);
}

int engine_image_push(struct engine *engine, const char *reference,
		      const struct push_options *options, char **ret_reference, struct err *err)
{
	CALLED("push %s %s %s\n", reference, str_or(options->platform, "-"), options->scheme);
	return check_image(reference, ret_reference, err);
}

void login_list_release(struct login_list *list)
{
	VEC_FREE(list);
}

int engine_registry_login(struct engine *engine, const char *host, const char *scheme,
			  const char *username, const char *password, struct err *err)
{
	CALLED("login %s %s %s %s\n", host, scheme, username, password);
	return 0;
}

int engine_registry_logout(struct engine *engine, const char *host, struct err *err)
{
	CALLED("logout %s\n", host);
	return 0;
}

int engine_registry_list(struct engine *engine, struct login_list *ret_list, struct err *err)
{
	VEC_PUSH(ret_list, ((struct login){ .host = (char *)"r.example",
					    .username = (char *)"me",
					    .created_at = 1000000000 }));
	return 0;
}

int engine_image_load(struct engine *engine, const char *path, char ***ret_references,
		      struct err *err)
{
	CALLED("load %s\n", str_or(path, "-"));
	strv_push(ret_references, "a");
	strv_push(ret_references, "b");
	return 0;
}

int engine_image_save(struct engine *engine, char *const *references, const char *platform,
		      const char *path, struct err *err)
{
	CALLED("save %s to %s\n", references[0], str_or(path, "-"));
	return 0;
}

int engine_image_import(struct engine *engine, const char *path, const char *reference,
			char *const *changes, const char *platform, char **ret_reference,
			struct err *err)
{
	CALLED("import %s %s %zu\n", path, reference, strv_count(changes));
	*ret_reference = xstrdup(reference);
	return 0;
}

int engine_image_import_builtin(struct engine *engine, const char *reference, char **ret_reference,
				struct err *err)
{
	CALLED("import-builtin %s\n", reference);
	*ret_reference = xstrdup(reference);
	return 0;
}

int engine_image_tag(struct engine *engine, const char *source, const char *target,
		     char **ret_reference, struct err *err)
{
	*ret_reference = xstrdup(target);
	return 0;
}

int engine_image_delete(struct engine *engine, const char *reference, bool force,
			char **ret_reference, struct err *err)
{
	CALLED("image-delete %s%s\n", reference, force ? " force" : "");
	return check_image(reference, ret_reference, err);
}

int engine_image_prune(struct engine *engine, bool all, struct prune_result *ret_result,
		       struct err *err)
{
	*ret_result = (struct prune_result){ .reclaimed_bytes = 3u << 20 };
	return 0;
}

void image_detail_release(struct image_detail *detail)
{
	image_row_release(&detail->row);
}

static struct image_row alpine(void)
{
	return (struct image_row){
		.reference = xstrdup("docker.io/library/alpine:latest"),
		.digest = xasprintf("sha256:%064d", 1),
		.media_type = xstrdup("application/vnd.oci.image.index.v1+json"),
		.size = 123,
		.created_at = 1767323045,
	};
}

int engine_image_get(struct engine *engine, const char *reference, struct image_detail *ret_detail,
		     struct err *err)
{
	AUTO_FREE char *found = NULL;

	if (check_image(reference, &found, err) < 0)
		return -ENOENT;
	*ret_detail = (struct image_detail){ .row = alpine() };
	return 0;
}

int engine_image_list(struct engine *engine, struct image_rows *ret_rows, struct err *err)
{
	*ret_rows = (struct image_rows){ 0 };
	VEC_PUSH(ret_rows, alpine());
	return 0;
}

/* --- system --- */

void doctor_report_release(struct doctor_report *report)
{
	free(report->items);
}

int engine_doctor(struct engine *engine, struct doctor_report *ret_report, struct err *err)
{
	struct doctor_item good = { "kernel", "6.1", NULL, false };
	struct doctor_item bad = { "qemu", "not found", "install qemu-system-x86", true };

	*ret_report = (struct doctor_report){ 0 };
	VEC_PUSH(ret_report, good);
	VEC_PUSH(ret_report, bad);
	return 0;
}

int engine_system_start(struct engine *engine, struct err *err)
{
	CALLED("system-start\n");
	return 0;
}

int engine_system_logs(struct engine *engine, char *const *ids,
		       const struct system_log_options *options, system_line_fn fn, void *ctx,
		       struct err *err)
{
	if (*ids && check(*ids, err) < 0)
		return -ENOENT;
	CALLED("system-logs %s %lld%s\n", str_or(*ids, "all"), (long long)options->lines,
	       options->follow ? " follow" : "");
	return fn(ctx, &(struct system_line){ "web", "machine", "it creaks" });
}

int engine_system_stop(struct engine *engine, struct err *err)
{
	CALLED("system-stop\n");
	return 0;
}

void kernel_list_release(struct kernel_list *list)
{
	free(list->items);
}

int engine_kernel_list(struct engine *engine, struct kernel_list *ret_list, struct err *err)
{
	struct kernel_info kernel = { "lean", "/k/lean", "6.1.0", true };

	*ret_list = (struct kernel_list){ 0 };
	VEC_PUSH(ret_list, kernel);
	return 0;
}

int engine_kernel_set(struct engine *engine, const char *image, const char *modules_tree,
		      struct err *err)
{
	CALLED("kernel-set %s %s\n", str_or(image, "-"), str_or(modules_tree, "-"));
	return 0;
}

int engine_system_usage(struct engine *engine, struct system_usage *ret_usage, struct err *err)
{
	*ret_usage = (struct system_usage){ .images = { 2, 1, 5u << 20, 1u << 20 } };
	return 0;
}

int engine_system_prune(struct engine *engine, bool all_images, bool volumes,
			struct prune_result *ret_result, struct err *err)
{
	*ret_result = (struct prune_result){ 0 };
	return 0;
}

/* --- volumes --- */

int engine_volume_create(struct engine *engine, const struct volume_options *options,
			 char **ret_name, struct err *err)
{
	AUTO_SBUF struct sbuf words = { 0 };

	STRV_EACH (options->options, it)
		sbuf_addf(&words, " %s", *it);
	CALLED("volume-create %s %llu%s %zu\n", str_or(options->name, "-"),
	       (unsigned long long)options->size_bytes, str_or(words.text, ""),
	       json_object_size(options->labels));
	*ret_name = xstrdup(str_or(options->name, "anon-1"));
	return 0;
}

static struct volume data_volume(void)
{
	return (struct volume){
		.name = xstrdup("data"),
		.size_bytes = 512ull << 30,
		.journal = xstrdup("ordered"),
		.created_at = 1767323045,
		.options = json_pack("{s:s}", "size", "512g"),
		.labels = json_pack("{s:s}", "a", "b"),
	};
}

static int check_volume(const char *name, struct err *err)
{
	return str_eq(name, "data") ? 0 : err_set(err, -ENOENT, "volume not found: %s", name);
}

int engine_volume_delete(struct engine *engine, const char *name, struct err *err)
{
	CALLED("volume-delete %s\n", name);
	return check_volume(name, err);
}

int engine_volume_get(struct engine *engine, const char *name, struct volume *ret_volume,
		      struct err *err)
{
	int r = check_volume(name, err);

	if (r == 0)
		*ret_volume = data_volume();
	return r;
}

int engine_volume_list(struct engine *engine, struct volume_list *ret_list, struct err *err)
{
	*ret_list = (struct volume_list){ 0 };
	VEC_PUSH(ret_list, data_volume());
	return 0;
}

int engine_volume_prune(struct engine *engine, bool anonymous_only, struct prune_result *ret_result,
			struct err *err)
{
	CALLED("volume-prune%s\n", anonymous_only ? " anonymous" : "");
	*ret_result = (struct prune_result){ 0 };
	return 0;
}

char *engine_volume_source(const struct engine *engine, const struct volume *volume)
{
	return xasprintf("/root/volumes/%s/disk.img", volume->name);
}
