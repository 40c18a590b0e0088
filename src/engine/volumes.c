/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: made under a temporary name, renamed, then entered into the store; removed the other way
 * round. Both by holders of volumes_lock, which is also held from looking at a container's volumes
 * until its row is there: none of them is removed in between.
 */
#include "engine/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/ext4.h"
#include "disk/scratch.h"
#include "engine/internal.h"
#include "shim/volume_files.h"

#define MIB (1ull << 20)

/* --- what it is to be --- */

static int parse_journal(const char *text, struct volume *volume, uint32_t *ret_mib,
			 struct err *err)
{
	static const char *const modes[] = { "ordered", "writeback", "journal" };
	AUTO_STRV char **sides = str_split(text, ':', 2);
	uint64_t bytes = 0;
	size_t i = 0;

	while (i < ARRAY_SIZE(modes) && !str_eq(modes[i], sides[0]))
		i++;
	if (i == ARRAY_SIZE(modes) || (sides[1] && (str_parse_size(sides[1], &bytes) < 0 ||
						    bytes < 4 * MIB || bytes > EXT4_SIZE_MAX)))
		return err_set(err, -EINVAL,
			       "invalid journal '%s': it is ordered, writeback or journal, and "
			       "maybe ':' and a size from 4m",
			       text);
	free(volume->journal);
	volume->journal = xstrdup(modes[i]);
	*ret_mib = (uint32_t)(bytes / MIB);
	return 0;
}

static int parse_kind(const char *text, enum volume_kind *ret_kind, struct err *err)
{
	if (str_eq(text, "directory"))
		*ret_kind = VOLUME_DIRECTORY;
	else if (str_eq(text, "disk") || str_eq(text, "ext4"))
		*ret_kind = VOLUME_DISK;
	else
		return err_set(err, -EINVAL, "invalid volume type '%s': it is disk or directory",
			       text);
	return 0;
}

static int parse_option(const char *text, struct volume *volume, uint32_t *ret_journal_mib,
			struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '=', 2);
	const char *value = sides[1];
	int r = 0;

	if (!value)
		return err_set(err, -EINVAL, "invalid volume option '%s': it is like key=value",
			       text);
	if (str_eq(sides[0], "journal"))
		r = parse_journal(value, volume, ret_journal_mib, err);
	else if (str_eq(sides[0], "type"))
		r = parse_kind(value, &volume->kind, err);
	else if (!str_eq(sides[0], "size"))
		r = err_set(err, -EINVAL,
			    "unknown volume option '%s'; there are: size, journal, type", sides[0]);
	else if (str_parse_size(value, &volume->size_bytes) < 0 || !volume->size_bytes)
		r = err_set(err, -EINVAL, "invalid size '%s'", value);
	if (r == 0)
		json_set_string(volume->options, sides[0], value);
	return r;
}

static uint64_t default_size(const char *directory)
{
	struct statvfs st;

	return statvfs(directory, &st) < 0
		       ? VOLUME_SIZE_MOST
		       : volume_size_default((uint64_t)st.f_blocks * st.f_frsize);
}

static int check_size(const struct engine *engine, struct volume *volume, struct err *err)
{
	if (volume->kind == VOLUME_DIRECTORY) {
		if (volume->size_bytes || volume->journal)
			return err_set(err, -EINVAL,
				       "a volume that is a directory has no size and no journal");
		return 0;
	}
	if (!volume->size_bytes)
		volume->size_bytes = default_size(engine->root);
	if (volume->size_bytes > EXT4_SIZE_MAX || volume->size_bytes < EXT4_SIZE_MIN) {
		AUTO_FREE char *size = str_size(volume->size_bytes);

		return err_set(err, -EINVAL, "a volume has 16 MiB to 16 TiB, not %s", size);
	}
	volume->size_bytes = (volume->size_bytes + MIB - 1) / MIB * MIB;
	if (!volume->journal)
		volume->journal = xstrdup("ordered");
	return 0;
}

static int describe(const struct engine *engine, const struct volume_options *options,
		    struct volume *volume, uint32_t *ret_journal_mib, struct err *err)
{
	char id[HASH_UUID_LENGTH + 1];
	int r = options->name ? volume_check_name(options->name, err) : 0;

	hash_uuid(id);
	*volume = (struct volume){
		.name = options->name ? xstrdup(options->name) : xasprintf("anon-%s", id),
		.anonymous = !options->name,
		.created_at = time(NULL),
		.options = json_object(),
		.labels = options->labels ? json_deep_copy(options->labels) : json_object(),
	};
	STRV_EACH (options->options, it)
		if (r == 0)
			r = parse_option(*it, volume, ret_journal_mib, err);
	if (r < 0)
		return r;
	if (options->size_bytes) {
		AUTO_FREE char *text = xasprintf("%llu", (unsigned long long)options->size_bytes);

		volume->size_bytes = options->size_bytes;
		json_set_string(volume->options, "size", text);
	}
	return check_size(engine, volume, err);
}

/* --- making it --- */

/* from: the disk that becomes the volume's; NULL: an empty one. */
static int make_files(const struct engine *engine, const struct volume *volume,
		      uint32_t journal_mib, const char *from, const char *dir, struct err *err)
{
	AUTO_FREE char *templates = path_join(engine->root, "scratch");
	AUTO_FREE char *disk = path_join(dir, "disk.img");
	AUTO_FREE char *data = path_join(dir, "data");
	int r = path_make_dirs(dir, 0700, err);

	if (r < 0)
		return r;
	if (from)
		r = rename(from, disk) < 0 ? -errno : 0;
	else if (volume->kind == VOLUME_DIRECTORY)
		r = path_make_dirs(data, 0755, err);
	else
		r = volume_disk_create(templates, disk, volume->size_bytes, journal_mib, err);
	if (r == 0)
		r = file_sync_parent(disk);
	return r < 0 && err && !err->code ? err_set(err, r, "cannot keep '%s': %m", dir) : r;
}

/* By the holder of volumes_lock, once it is known that there is no such row. */
static int make(struct engine *engine, const struct volume *volume, uint32_t journal_mib,
		const char *from, struct err *err)
{
	AUTO_FREE char *dir = volume_dir(engine->root, volume->name);
	AUTO_FREE char *making = volume_dir(engine->root, ".making");
	int r = path_remove_tree(dir, err);

	if (r == 0)
		r = path_remove_tree(making, err);
	if (r == 0)
		r = make_files(engine, volume, journal_mib, from, making, err);
	if (r == 0 && (rename(making, dir) < 0 || (r = file_sync_parent(dir)) < 0))
		r = err_set(err, r < 0 ? r : -errno, "cannot make volume '%s': %m", volume->name);
	if (r == 0)
		r = volumes_insert(engine->store, volume, err);
	if (r < 0) {
		path_remove_tree(making, NULL);
		path_remove_tree(dir, NULL);
	}
	return r;
}

int volumes_make(struct engine *engine, const struct volume_options *options, char **ret_name,
		 struct err *err)
{
	CLEANUP(volume_release) struct volume volume = { 0 };
	CLEANUP(volume_release) struct volume there = { 0 };
	uint32_t journal_mib = 0;
	int r = describe(engine, options, &volume, &journal_mib, err);

	if (r < 0)
		return r;
	r = volumes_get(engine->store, volume.name, &there, NULL);
	if (r == 0)
		return err_set(err, -EEXIST, "volume already exists: %s", volume.name);
	if (r == -ENOENT)
		r = make(engine, &volume, journal_mib, NULL, err);
	if (r == 0)
		*ret_name = xstrdup(volume.name);
	return r;
}

int volumes_make_of(struct engine *engine, const struct volume *volume, const char *disk,
		    struct err *err)
{
	return make(engine, volume, 0, disk, err);
}

int engine_volume_create(struct engine *engine, const struct volume_options *options,
			 char **ret_name, struct err *err)
{
	AUTO_CLOSE int lock = volumes_lock(engine->root, err);

	return lock < 0 ? lock : volumes_make(engine, options, ret_name, err);
}

/* --- what there is --- */

int engine_volume_get(struct engine *engine, const char *name, struct volume *ret_volume,
		      struct err *err)
{
	return volumes_get(engine->store, name, ret_volume, err);
}

int engine_volume_list(struct engine *engine, struct volume_list *ret_list, struct err *err)
{
	return volumes_list(engine->store, ret_list, err);
}

char *engine_volume_source(const struct engine *engine, const struct volume *volume)
{
	return volume->kind == VOLUME_DIRECTORY ? volume_data_path(engine->root, volume->name)
						: volume_disk_path(engine->root, volume->name);
}

int volumes_usage(struct engine *engine, const struct container_list *containers,
		  struct usage *usage, struct err *err)
{
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	int r = volumes_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		AUTO_FREE char *dir = volume_dir(engine->root, list.items[i].name);
		AUTO_FREE char *user = volume_user(containers, list.items[i].name);
		uint64_t bytes = path_disk_usage(dir);

		usage->total++;
		usage->size_bytes += bytes;
		usage->active += user != NULL;
		usage->reclaimable_bytes += user ? 0 : bytes;
	}
	return r;
}

/* --- removing --- */

/* The lock, and the containers as their rows are while it is held. Those whose shim died are looked
 * after before, since that may take the lock itself. */
static int lock_and_list(struct engine *engine, struct container_list *ret_containers,
			 struct err *err)
{
	CLEANUP(container_list_release) struct container_list repaired = { 0 };
	AUTO_CLOSE int lock = -1;
	int r = engine_list(engine, &repaired, err);

	if (r == 0)
		r = lock = volumes_lock(engine->root, err);
	if (r >= 0)
		r = containers_list(engine->store, ret_containers, err);
	return r < 0 ? r : TAKE_FD(lock);
}

int engine_volume_delete(struct engine *engine, const char *name, struct err *err)
{
	CLEANUP(container_list_release) struct container_list containers = { 0 };
	CLEANUP(volume_release) struct volume volume = { 0 };
	AUTO_CLOSE int lock = lock_and_list(engine, &containers, err);
	AUTO_FREE char *user = NULL;
	int r = lock < 0 ? lock : volumes_get(engine->store, name, &volume, err);

	if (r < 0)
		return r;
	user = volume_user(&containers, name);
	if (user)
		return err_set(err, -EBUSY, "volume '%s' is in use by container %s", name, user);
	return volume_remove(engine->store, engine->root, name, err);
}

int engine_volume_prune(struct engine *engine, bool anonymous_only, struct prune_result *ret_result,
			struct err *err)
{
	CLEANUP(container_list_release) struct container_list containers = { 0 };
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	AUTO_CLOSE int lock = lock_and_list(engine, &containers, err);
	int r = lock < 0 ? lock : volumes_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		const struct volume *volume = &list.items[i];
		AUTO_FREE char *user = volume_user(&containers, volume->name);
		AUTO_FREE char *dir = volume_dir(engine->root, volume->name);
		uint64_t bytes;

		if (user || (anonymous_only && !volume->anonymous))
			continue;
		bytes = path_disk_usage(dir);
		r = volume_remove(engine->store, engine->root, volume->name, err);
		if (r < 0)
			break;
		strv_push(&ret_result->removed, volume->name);
		ret_result->reclaimed_bytes += bytes;
	}
	return r;
}

void volumes_prune_orphans(struct engine *engine, struct prune_result *result)
{
	AUTO_FREE char *parent = path_join(engine->root, "volumes");
	AUTO_CLOSE int lock = volumes_lock(engine->root, NULL);
	DIR *dir = lock < 0 ? NULL : opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		CLEANUP(volume_release) struct volume volume = { 0 };
		AUTO_FREE char *path = path_join(parent, "%s", entry->d_name);
		uint64_t bytes;

		if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, "..") ||
		    volumes_get(engine->store, entry->d_name, &volume, NULL) != -ENOENT)
			continue;
		bytes = path_disk_usage(path);
		if (path_remove_tree(path, NULL) == 0)
			result->reclaimed_bytes += bytes;
	}
	if (dir)
		closedir(dir);
}
