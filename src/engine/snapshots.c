/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: made in a directory of temporary name, which is then renamed; then the row. Removed
 * the other way round. Machines that map a snapshot's memory keep it when its name is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/scratch.h"
#include "engine/copies.h"
#include "engine/snapshot_files.h"
#include "engine/volume_copies.h"
#include "vm/saved.h"

#define NAME_ATTEMPTS 10000

/* --- create --- */

/* The memory of the template that its machine most resembles; NULL: none. Owned by the caller. */
static char *template_of(struct engine *engine, const struct container_config *config)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	CLEANUP(template_release) struct template template = { 0 };
	const struct machine_needs needs = machine_needs_of(engine, config);
	AUTO_FREE char *disk = content_disk_descriptor_path(engine->root, config->root_key);

	if (!engine->config.template || machine_choose(engine, &needs, &machine, NULL) < 0)
		return NULL;
	if (machine_image_template(engine, &machine, disk, &template, NULL) < 0 &&
	    machine_template(engine, &machine, &template, NULL) < 0)
		return NULL;
	return xstrdup(template.ram_path);
}

static bool is_of_this_run(const struct snapshot *snapshot, const struct container *container)
{
	return snapshot->has_memory && str_eq(snapshot->container_uuid, container->uuid) &&
	       snapshot->created_at >= container->started_at;
}

/* What the container's memory resembles most: its last snapshot in this run, or the one that it
 * goes on from. False: there is none. */
static bool find_parent(struct engine *engine, const struct container *container,
			struct snapshot *ret_parent)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };

	if (snapshots_list(engine->store, &list, NULL) < 0)
		return false;
	VEC_EACH (&list, it)
		if (is_of_this_run(it, container))
			return snapshots_get(engine->store, it->uuid, ret_parent, NULL) == 0;
	VEC_EACH (&list, it)
		if (it->has_memory && str_eq(it->name, container->config.origin) &&
		    it->created_at <= container->config.created_at)
			return snapshots_get(engine->store, it->uuid, ret_parent, NULL) == 0;
	return false;
}

static int save_running(struct engine *engine, const struct container *container,
			const char *directory, json_t **ret_parts, struct err *err)
{
	AUTO_FREE char *template = template_of(engine, &container->config);
	CLEANUP(snapshot_release) struct snapshot parent = { 0 };
	bool has_parent = find_parent(engine, container, &parent);
	AUTO_JSON json_t *volumes = NULL;
	struct ctl_saved saved;
	int r = copies_save(engine, container, directory, &saved, err);

	if (r == 0)
		r = volume_copies_describe(engine, &container->config, directory, &volumes, err);
	return r < 0 ? r
		     : snapshot_files_finish(engine, directory, template,
					     has_parent ? &parent : NULL, volumes, true, ret_parts,
					     err);
}

/* The disks alone, of a container that nobody starts meanwhile. */
static int save_stopped(struct engine *engine, const struct container *container,
			const char *directory, bool with_volumes, json_t **ret_parts,
			struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_FREE char *from = path_join(dir, "scratch.img");
	AUTO_FREE char *to = path_join(directory, "scratch.img");
	AUTO_CLOSE int lock = -1;
	AUTO_JSON json_t *volumes = NULL;
	int r = container_lock(engine, container, &lock, err);

	if (r < 0)
		return r;
	if (!path_exists(from))
		return err_set(err, -ENOENT, "container %s has not run: there is nothing to keep",
			       container->config.id);
	r = scratch_copy(from, to, err);
	if (r == 0 && with_volumes)
		r = volume_copies_save(engine, container, directory, err);
	if (r == 0)
		r = volume_copies_describe(engine, &container->config, directory, &volumes, err);
	return r < 0 ? r
		     : snapshot_files_finish(engine, directory, NULL, NULL, volumes, false,
					     ret_parts, err);
}

/* "web-1", "web-2" …: the first that is free. */
static char *choose_name(struct engine *engine, const char *id)
{
	for (unsigned i = 1; i < NAME_ATTEMPTS; i++) {
		CLEANUP(snapshot_release) struct snapshot other = { 0 };
		AUTO_FREE char *name = xasprintf("%.50s-%u", id, i);

		if (snapshots_get(engine->store, name, &other, NULL) == -ENOENT)
			return TAKE_PTR(name);
	}
	return xstrdup(id);
}

static int check_new_name(struct engine *engine, const char *name, struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot other = { 0 };
	int r = container_check_id(name, err);

	if (r == 0 && snapshots_get(engine->store, name, &other, NULL) == 0 &&
	    str_eq(other.name, name))
		return err_set(err, -EEXIST, "snapshot already exists: %s", name);
	return r;
}

/* The directory gets its name, then the row names it. */
static int keep(struct engine *engine, const char *directory, const struct snapshot *snapshot,
		struct err *err)
{
	AUTO_FREE char *path = snapshot_directory(engine, snapshot->uuid);
	int r;

	if (rename(directory, path) < 0)
		return err_set(err, -errno, "cannot rename '%s': %m", directory);
	file_sync_parent(path);
	r = snapshots_insert(engine->store, snapshot, err);
	if (r < 0)
		path_remove_tree(path, NULL);
	return r;
}

/* Its memory knows what is on the disks that it writes to: one without the other is no state. */
static int require_volumes(struct engine *engine, const struct container *container,
			   struct err *err)
{
	const char *written = container_is_active(container)
				      ? volume_copies_written(engine, &container->config)
				      : NULL;

	return written ? err_set(err, -ENOTSUP,
				 "container %s runs and can write to volume '%s': add "
				 "--volumes to keep it too",
				 container->config.id, written)
		       : 0;
}

static int create_in(struct engine *engine, const struct container *container,
		     const char *directory, const struct snapshot_options *options, char **ret_name,
		     struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_JSON json_t *config = container_config_to_json(&container->config);
	int r;

	snprintf(snapshot.uuid, sizeof(snapshot.uuid), "%s", copies_directory_uuid(directory));
	container_config_init(&snapshot.config);
	snapshot.has_memory = container_is_active(container);
	r = container_config_from_json(config, &snapshot.config, err);
	if (r == 0)
		r = snapshot.has_memory
			    ? save_running(engine, container, directory, &snapshot.parts, err)
			    : save_stopped(engine, container, directory, options->volumes,
					   &snapshot.parts, err);
	if (r < 0)
		return r;
	snapshot.name =
		options->name ? xstrdup(options->name) : choose_name(engine, container->config.id);
	snapshot.container_uuid = xstrdup(container->uuid);
	snapshot.created_at = time(NULL);
	r = keep(engine, directory, &snapshot, err);
	if (r == 0)
		*ret_name = xstrdup(snapshot.name);
	return r;
}

int engine_snapshot_create(struct engine *engine, const struct snapshot_options *options,
			   char **ret_name, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *lock_path = NULL;
	AUTO_CLOSE int lock = -1;
	int r = engine_get(engine, options->container, &container, err);

	if (r == 0 && options->name)
		r = check_new_name(engine, options->name, err);
	if (r == 0 && !options->volumes)
		r = require_volumes(engine, container, err);
	if (r == 0 && container->state == CONTAINER_SUSPENDED)
		return err_set(err, -EINVAL, "container %s is suspended; 'hull resume' it first",
			       container->config.id);
	if (r == 0)
		r = copies_make_directory(engine, &directory, &lock, err);
	if (r < 0)
		return r;
	lock_path = xasprintf("%s.lock", directory);
	r = create_in(engine, container, directory, options, ret_name, err);
	path_remove_tree(directory, NULL);
	unlink(lock_path);
	return r;
}

/* --- what there is --- */

/* A file that has another name, too, would not give its bytes back. */
void engine_snapshot_usage(struct engine *engine, const struct snapshot *snapshot,
			   struct snapshot_usage *ret_usage)
{
	AUTO_FREE char *directory = snapshot_directory(engine, snapshot->uuid);
	DIR *dir = opendir(directory);
	struct snapshot_usage usage = { 0 };
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = path_join(directory, "%s", entry->d_name);
		uint64_t bytes;
		struct stat st;

		if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		bytes = (uint64_t)st.st_blocks * 512;
		if (st.st_nlink > 1)
			usage.shared_bytes += bytes;
		else
			usage.own_bytes += bytes;
		if (str_eq(entry->d_name, "ram"))
			usage.cache_bytes = bytes;
	}
	if (dir)
		closedir(dir);
	*ret_usage = usage;
}

int engine_snapshot_get(struct engine *engine, const char *name, struct snapshot *ret_snapshot,
			struct snapshot_usage *ret_usage, struct err *err)
{
	int r = snapshots_get(engine->store, name, ret_snapshot, err);

	if (r == 0)
		engine_snapshot_usage(engine, ret_snapshot, ret_usage);
	return r;
}

int engine_snapshot_list(struct engine *engine, struct snapshot_list *ret_list, struct err *err)
{
	return snapshots_list(engine->store, ret_list, err);
}

int engine_snapshot_delete(struct engine *engine, const char *name, char **ret_name,
			   struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *lock_path = NULL;
	AUTO_FREE char *image = NULL;
	int r = snapshots_get(engine->store, name, &snapshot, err);

	if (r == 0 && (image = warm_user(engine, snapshot.uuid)))
		r = err_set(err, -EBUSY, "snapshot %s is in use by image %s", snapshot.name, image);
	if (r == 0)
		r = snapshots_delete(engine->store, snapshot.uuid, err);
	if (r < 0)
		return r;
	*ret_name = xstrdup(snapshot.name);
	directory = snapshot_directory(engine, snapshot.uuid);
	lock_path = xasprintf("%s.lock", directory);
	r = path_remove_tree(directory, err);
	unlink(lock_path);
	snapshot_files_prune(engine, false);
	return r;
}

/* --- restore --- */

/* Whether its memory can be used here: why not, and what can. */
static int check_memory(struct engine *engine, const struct snapshot *snapshot,
			const char *directory, struct saved *ret_saved, struct err *err)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	const struct machine_needs needs = machine_needs_of(engine, &snapshot->config);
	AUTO_JSON json_t *description = NULL;
	struct err reason = { 0 };
	int r = machine_choose(engine, &needs, &machine, err);

	if (r < 0)
		return r;
	r = saved_read(directory, &description, &reason);
	if (r == 0)
		r = saved_check(description, machine.qemu, ret_saved, &reason);
	if (r == 0)
		r = snapshot_files_prepare(engine, snapshot, true, &reason);
	return r < 0 ? err_set(err, r,
			       "the machine of snapshot %s cannot be used: %s; 'hull snapshot "
			       "restore --disks-only' restores its disks",
			       snapshot->name, reason.message)
		     : 0;
}

static int start_copies(struct engine *engine, const struct snapshot *snapshot,
			struct copies *copies, char ***ret_ids, struct err *err)
{
	AUTO_FREE char *directory = snapshot_directory(engine, snapshot->uuid);
	struct saved saved;
	int r = check_memory(engine, snapshot, directory, &saved, err);

	copies->volumes = json_get_array(snapshot->parts, "volumes");
	copies->config = &snapshot->config;
	copies->directory = directory;
	copies->origin = snapshot->name;
	return r < 0 ? r : copies_start(engine, copies, ret_ids, err);
}

int snapshots_fork(struct engine *engine, const struct fork_options *options, uint32_t signal,
		   char ***ret_ids, struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	struct copies copies = { .count = options->count, .name = options->name, .signal = signal };
	int r = snapshots_get(engine->store, options->source, &snapshot, err);

	if (r < 0)
		return r;
	if (!snapshot.has_memory)
		return err_set(err, -EINVAL,
			       "snapshot %s has no memory: 'hull snapshot restore' makes a "
			       "container of its disk",
			       snapshot.name);
	return start_copies(engine, &snapshot, &copies, ret_ids, err);
}

/* A new container that does not run, with the disk. */
static int restore_disk(struct engine *engine, const struct snapshot *snapshot,
			const char *directory, const char *name, char **ret_id, struct err *err)
{
	const struct copies copies = { .config = &snapshot->config,
				       .directory = directory,
				       .origin = snapshot->name,
				       .volumes = json_get_array(snapshot->parts, "volumes"),
				       .count = 1,
				       .name = name };
	int r = snapshot_files_prepare(engine, snapshot, false, err);

	if (r < 0)
		err_context(err, "snapshot %s", snapshot->name);
	return r < 0 ? r : copies_make_stopped(engine, &copies, ret_id, err);
}

static int restore_new(struct engine *engine, const struct snapshot *snapshot,
		       const char *directory, const struct restore_options *options, char **ret_id,
		       struct err *err)
{
	AUTO_STRV char **ids = NULL;
	struct copies copies = { .count = 1, .name = options->name, .remove = options->remove };
	int r;

	if (!snapshot->has_memory && options->must_run)
		return err_set(err, -EINVAL,
			       "snapshot %s has no memory: 'hull snapshot restore' makes a "
			       "container of its disk",
			       snapshot->name);
	if (!snapshot->has_memory || options->disks_only)
		return restore_disk(engine, snapshot, directory, options->name, ret_id, err);
	r = start_copies(engine, snapshot, &copies, &ids, err);
	if (r == 0)
		*ret_id = xstrdup(ids[0]);
	return r;
}

/* Everything is checked before the container is touched; its machine is ended, not shut down. */
static int restore_in_place(struct engine *engine, const struct snapshot *snapshot,
			    const char *directory, bool with_memory, char **ret_id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	const json_t *volumes = json_get_array(snapshot->parts, "volumes");
	struct saved saved;
	int r = containers_get_uuid(engine->store, snapshot->container_uuid, &container, NULL);

	if (r < 0)
		return err_set(err, r,
			       "the container of snapshot %s is gone: restore it as a new one",
			       snapshot->name);
	r = container_truth(engine, container, err);
	if (r == 0)
		r = with_memory ? check_memory(engine, snapshot, directory, &saved, err)
				: snapshot_files_prepare(engine, snapshot, false, err);
	if (r == 0)
		r = copies_replace(engine, container, directory, volumes,
				   with_memory ? &saved.devices : NULL, err);
	if (r == 0)
		*ret_id = xstrdup(container->config.id);
	return r;
}

int engine_snapshot_restore(struct engine *engine, const struct restore_options *options,
			    char **ret_id, struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_FREE char *directory = NULL;
	int r = snapshots_get(engine->store, options->snapshot, &snapshot, err);

	if (r < 0)
		return r;
	directory = snapshot_directory(engine, snapshot.uuid);
	return options->in_place
		       ? restore_in_place(engine, &snapshot, directory,
					  snapshot.has_memory && !options->disks_only, ret_id, err)
		       : restore_new(engine, &snapshot, directory, options, ret_id, err);
}
