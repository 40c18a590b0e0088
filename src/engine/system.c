/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of one root: readiness, usage, clearing up, and what is wrong with this machine. */
#include "engine/copies.h"
#include "engine/internal.h"
#include "engine/snapshot_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/copies.h"
#include "engine/networks.h"
#include "engine/volume.h"
#include "shim/launch.h"

int engine_system_start(struct engine *engine, struct err *err)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	struct template template = { 0 };
	const struct machine_needs needs = machine_needs_default(engine);
	uint32_t port = 0;
	int r = host_names_serve(engine, &port, err);

	if (r == 0)
		r = machine_choose(engine, &needs, &machine, err);
	if (r < 0 || !engine->config.template)
		return r;
	r = machine_template(engine, &machine, &template, err);
	template_release(&template);
	return r;
}

int engine_system_stop(struct engine *engine, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = engine_list(engine, &list, err);
	AUTO_STRV char **ids = NULL;
	int first = 0;

	for (size_t i = 0; r == 0 && i < list.count; i++)
		strv_push(&ids, list.items[i]->config.id);
	engine_stop_announce(engine, ids, NULL, 5);
	for (size_t i = 0; r == 0 && i < list.count; i++) {
		struct err stop_err = { 0 };
		int s = engine_stop(engine, list.items[i]->config.id, NULL, 5, &stop_err);

		if (s < 0 && s != -ENOENT && !first)
			first = err_set(err, s, "%s", stop_err.message);
	}
	return r < 0 ? r : first;
}

/* --- doctor --- */

void doctor_report_release(struct doctor_report *report)
{
	VEC_EACH (report, it) {
		free(it->name);
		free(it->finding);
		free(it->advice);
	}
	VEC_FREE(report);
}

void doctor_add(struct doctor_report *report, const char *name, bool broken, const char *finding,
		const char *advice)
{
	VEC_PUSH(report,
		 ((struct doctor_item){ .name = xstrdup(name),
					.finding = xstrdup(finding),
					.advice = advice && *advice ? xstrdup(advice) : NULL,
					.broken = broken }));
}

static void examine_accel(struct engine *engine, struct doctor_report *report)
{
	AUTO_FREE char *finding = NULL;
	struct err err = { 0 };
	struct accel accel;

	if (accel_choose(engine->accel_wanted, engine->run, &accel, &err) < 0) {
		doctor_add(report, "acceleration", true, err.message, "set HULL_ACCEL=auto");
		return;
	}
	finding = xasprintf("%s: %s", accel_names[accel.kind], accel.reason);
	doctor_add(report, "acceleration", false, finding, accel.advice);
}

static void examine_kernel(struct engine *engine, struct doctor_report *report)
{
	CLEANUP(kernel_list_release) struct kernel_list list = { 0 };
	struct err err = { 0 };
	bool lean = false;

	if (engine_kernel_list(engine, &list, &err) < 0) {
		doctor_add(report, "kernel", true, err.message, NULL);
		return;
	}
	VEC_EACH (&list, it)
		lean |= str_eq(it->name, "lean");
	VEC_EACH (&list, it) {
		AUTO_FREE char *finding = NULL;

		if (!it->active)
			continue;
		finding = xasprintf("%s, %s", it->name, it->release);
		doctor_add(report, "kernel", false, finding,
			   lean ? NULL
				: "'make kernel' in hull's source builds a leaner one that "
				  "boots three times as fast in half the memory");
		return;
	}
	doctor_add(report, "kernel", true, "there is no guest kernel",
		   "run 'make quickstart' in hull's source, or 'hull system kernel set PATH'");
}

static void examine_template(struct engine *engine, struct doctor_report *report)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	const struct machine_needs needs = machine_needs_default(engine);
	AUTO_FREE char *dir = machine_templates_dir(engine);
	struct template template = { 0 };
	struct err err = { 0 };

	if (!engine->config.template) {
		doctor_add(report, "template", false, "switched off in the configuration",
			   "every start boots a kernel: set template = on in [vm]");
		return;
	}
	if (machine_choose(engine, &needs, &machine, &err) < 0) {
		doctor_add(report, "template", true, err.message, NULL);
		return;
	}
	if (template_find(dir, engine->run, &machine.shape, &template, &err) < 0)
		doctor_add(report, "template", false, "not made yet",
			   "the first start makes it, or 'hull system start'");
	else
		doctor_add(report, "template", false, template.directory, NULL);
	template_release(&template);
}

static void examine_space(struct engine *engine, struct doctor_report *report)
{
	AUTO_FREE char *free_text = NULL;
	AUTO_FREE char *finding = NULL;
	struct statvfs st;
	uint64_t bytes;

	if (statvfs(engine->root, &st) < 0)
		return;
	bytes = (uint64_t)st.f_bavail * st.f_frsize;
	free_text = str_size(bytes);
	finding = xasprintf("%s free in %s", free_text, engine->root);
	doctor_add(report, "disk", false, finding,
		   bytes < (2ull << 30) ? "'hull system prune' gives back what is unused" : NULL);
}

int engine_doctor(struct engine *engine, struct doctor_report *ret_report, struct err *err)
{
	struct doctor_report report = { 0 };

	doctor_emulator(engine, &report);
	examine_accel(engine, &report);
	examine_kernel(engine, &report);
	examine_template(engine, &report);
	examine_space(engine, &report);
	doctor_examine_networks(engine, &report);
	*ret_report = report;
	return 0;
}

/* --- usage --- */

static int add_containers(struct engine *engine, struct system_usage *usage,
			  struct container_list *list, struct err *err)
{
	int r = engine_list(engine, list, err);

	for (size_t i = 0; r == 0 && i < list->count; i++) {
		AUTO_FREE char *dir = launch_container_dir(engine->root, list->items[i]->uuid);
		uint64_t bytes = path_disk_usage(dir);

		usage->containers.total++;
		usage->containers.size_bytes += bytes;
		if (container_is_active(list->items[i]))
			usage->containers.active++;
		else
			usage->containers.reclaimable_bytes += bytes;
	}
	return r;
}

static int add_images(struct engine *engine, struct system_usage *usage,
		      const struct container_list *containers, struct err *err)
{
	static const char *const dirs[] = { "content", "layers", "disks" };
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	int r = images_list(engine->store, &rows, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = path_join(engine->root, "%s", dirs[i]);

		usage->images.size_bytes += path_disk_usage(path);
	}
	usage->images.total = rows.count;
	for (size_t i = 0; i < rows.count; i++) {
		size_t c = 0;

		while (c < containers->count &&
		       !str_eq(containers->items[c]->config.image.reference,
			       rows.items[i].reference))
			c++;
		usage->images.active += c < containers->count;
	}
	/* Layers are shared; what one image alone would give back is not worth reading them all. */
	if (!usage->images.active)
		usage->images.reclaimable_bytes = usage->images.size_bytes;
	return 0;
}

static int add_snapshots(struct engine *engine, struct system_usage *usage, struct err *err)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };
	AUTO_FREE char *bases = path_join(engine->root, "snapshots/.bases");
	int r = snapshots_list(engine->store, &list, err);

	VEC_EACH (&list, it) {
		struct snapshot_usage each;

		engine_snapshot_usage(engine, it, &each);
		usage->snapshots.size_bytes += each.own_bytes;
		usage->snapshots.reclaimable_bytes += each.cache_bytes;
	}
	usage->snapshots.total = list.count;
	usage->snapshots.size_bytes += path_disk_usage(bases);
	return r;
}

int engine_system_usage(struct engine *engine, struct system_usage *ret_usage, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	AUTO_FREE char *templates = machine_templates_dir(engine);
	struct system_usage usage = { 0 };
	struct dirent *entry;
	DIR *dir;
	int r = add_containers(engine, &usage, &list, err);

	if (r == 0)
		r = add_images(engine, &usage, &list, err);
	if (r == 0)
		r = volumes_usage(engine, &list, &usage.volumes, err);
	if (r == 0)
		r = add_snapshots(engine, &usage, err);
	if (r < 0)
		return r;
	dir = opendir(templates);
	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *manifest = path_join(templates, "%s/manifest.json", entry->d_name);

		usage.templates.total += entry->d_name[0] != '.' && path_exists(manifest);
	}
	if (dir)
		closedir(dir);
	usage.templates.size_bytes = path_disk_usage(templates);
	usage.templates.reclaimable_bytes = usage.templates.size_bytes;
	*ret_usage = usage;
	return 0;
}

/* --- prune --- */

/* Directories of containers (in parent) that no row names, and that nobody who is about to write
 * one has locked. */
static void prune_orphans(struct engine *engine, const char *parent, bool count,
			  struct prune_result *result)
{
	DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		CLEANUP(container_freep) struct container *container = NULL;
		AUTO_FREE char *path = path_join(parent, "%s", entry->d_name);
		AUTO_CLOSE int lock = -1;
		struct err none = { 0 };
		uint64_t bytes;

		if (strlen(entry->d_name) != 36 ||
		    containers_get_uuid(engine->store, entry->d_name, &container, &none) !=
			    -ENOENT ||
		    container_lock_uuid(engine, entry->d_name, &lock, NULL) < 0 ||
		    containers_get_uuid(engine->store, entry->d_name, &container, &none) != -ENOENT)
			continue;
		bytes = count ? path_disk_usage(path) : 0;
		container_remove_files(engine, entry->d_name);
		if (path_exists(path))
			continue;
		if (count)
			strv_push(&result->removed, entry->d_name);
		result->reclaimed_bytes += bytes;
	}
	if (dir)
		closedir(dir);
}

int engine_system_prune(struct engine *engine, bool all_images, bool volumes,
			struct prune_result *ret_result, struct err *err)
{
	CLEANUP(prune_result_release) struct prune_result images = { 0 };
	AUTO_FREE char *containers = path_join(engine->root, "containers");
	AUTO_FREE char *templates = machine_templates_dir(engine);
	int r = engine_prune_containers(engine, ret_result, err);

	if (r == 0) {
		prune_orphans(engine, containers, true, ret_result);
		prune_orphans(engine, engine->run, false, ret_result);
		volumes_prune_orphans(engine, ret_result);
		copies_prune(engine, ret_result);
		snapshot_files_prune(engine, true);
		r = engine_image_prune(engine, all_images, &images, err);
		ret_result->reclaimed_bytes += template_prune(templates, engine->run);
	}
	STRV_EACH (images.removed, it)
		strv_push(&ret_result->removed, *it);
	ret_result->reclaimed_bytes += images.reclaimed_bytes;
	if (r == 0 && volumes)
		r = engine_volume_prune(engine, true, ret_result, err);
	return r;
}
