/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/volume_copies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/scratch.h"
#include "engine/volume.h"
#include "shim/launch.h"
#include "shim/volume_files.h"

#define LABEL_ORIGIN "hull.copy-of"

/* --- which --- */

static bool is_first_mount(const struct container_config *config, size_t mount)
{
	const struct mount_config *mounts = config->mounts.items;

	for (size_t i = 0; i < mount; i++)
		if (str_eq(mounts[i].type, "volume") &&
		    str_eq(mounts[i].source, mounts[mount].source))
			return false;
	return true;
}

/* Whether a mount is the first of a volume that is a disk; its row is the caller's then. */
static bool is_disk(struct engine *engine, const struct container_config *config, size_t mount,
		    struct volume *ret_row)
{
	const struct mount_config *it = &config->mounts.items[mount];

	if (!str_eq(it->type, "volume") || !is_first_mount(config, mount) ||
	    volumes_get(engine->store, it->source, ret_row, NULL) < 0)
		return false;
	if (ret_row->kind == VOLUME_DISK)
		return true;
	volume_release(ret_row);
	return false;
}

const char *volume_copies_written(struct engine *engine, const struct container_config *config)
{
	for (size_t i = 0; i < config->mounts.count; i++) {
		CLEANUP(volume_release) struct volume row = { 0 };
		const char *name = config->mounts.items[i].source;

		if (is_disk(engine, config, i, &row) && !container_only_reads(config, name))
			return name;
	}
	return NULL;
}

/* Changes when anybody writes to the disk: a mount does. */
static char *identity_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	return xasprintf("%llu-%lld-%lld.%09ld", (unsigned long long)st.st_ino,
			 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static json_t *describe_one(const struct engine *engine, const struct volume *row, size_t mount,
			    bool is_kept)
{
	json_t *json = json_pack("{s:I, s:s}", "mount", (json_int_t)mount, "volume", row->name);

	if (is_kept) {
		json_object_set_new(json, "size", json_integer((json_int_t)row->size_bytes));
		json_set_string(json, "journal", row->journal);
		json_object_set(json, "options", row->options);
		json_object_set(json, "labels", row->labels);
	} else {
		AUTO_FREE char *path = volume_disk_path(engine->root, row->name);
		AUTO_FREE char *identity = identity_of(path);

		json_set_string(json, "identity", str_or(identity, "gone"));
	}
	return json;
}

int volume_copies_describe(struct engine *engine, const struct container_config *config,
			   const char *directory, json_t **ret_volumes, struct err *err)
{
	AUTO_JSON json_t *volumes = json_array();

	for (size_t i = 0; i < config->mounts.count; i++) {
		CLEANUP(volume_release) struct volume row = { 0 };
		AUTO_FREE char *file = launch_volume_copy((uint32_t)i);
		AUTO_FREE char *path = path_join(directory, "%s", file);

		if (!is_disk(engine, config, i, &row))
			continue;
		if (path_exists(path) || container_only_reads(config, row.name))
			json_array_append_new(volumes,
					      describe_one(engine, &row, i, path_exists(path)));
	}
	*ret_volumes = TAKE_PTR(volumes);
	return 0;
}

/* --- keeping --- */

int volume_copies_save(struct engine *engine, const struct container *container,
		       const char *directory, struct err *err)
{
	CLEANUP(launch_release) struct launch launch = { .devices = machine_devices_extended };
	int r = container_attach_volumes(engine, container, &launch, err);

	for (size_t i = 0; r == 0 && i < launch.volumes.count; i++) {
		const struct launch_volume *volume = &launch.volumes.items[i];
		AUTO_FREE char *file = launch_volume_copy(volume->mount);
		AUTO_FREE char *to = path_join(directory, "%s", file);

		if (volume->slot && !volume->read_only && volume->lock_fd >= 0)
			r = scratch_copy(volume->path, to, err);
	}
	return r;
}

/* --- new ones --- */

/* The disk of a copy to be, beside the new container's own. */
static char *waiting_path(const struct engine *engine, const struct container *container,
			  const char *file)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);

	return path_join(dir, "%s", file);
}

static int64_t mount_of(const json_t *volume, const struct container_config *config)
{
	int64_t mount = json_get_int(volume, "mount", -1);

	return mount < (int64_t)config->mounts.count ? mount : -1;
}

static int make_one(struct engine *engine, const json_t *json, struct container *container,
		    char ***made, struct err *err)
{
	char id[HASH_UUID_LENGTH + 1];
	int64_t mount = mount_of(json, &container->config);
	AUTO_FREE char *file = launch_volume_copy((uint32_t)mount);
	AUTO_FREE char *disk = waiting_path(engine, container, file);
	AUTO_FREE char *origin = NULL;
	int r;

	hash_uuid(id);
	CLEANUP(volume_release)
	struct volume volume = {
		.name = xasprintf("anon-%s", id),
		.kind = VOLUME_DISK,
		.size_bytes = (uint64_t)json_get_int(json, "size", 0),
		.journal = xstrdup(str_or(json_get_string(json, "journal"), "ordered")),
		.anonymous = true,
		.created_at = time(NULL),
		.options = json_deep_copy(json_get_object(json, "options")),
		.labels = json_deep_copy(json_get_object(json, "labels")),
	};
	if (mount < 0 || !volume.options || !volume.labels)
		return err_set(err, -EBADMSG, "the description of a volume is damaged");
	origin = xstrdup(container->config.mounts.items[mount].source);
	json_set_string(volume.labels, LABEL_ORIGIN, origin);
	r = volumes_make_of(engine, &volume, disk, err);
	if (r < 0)
		return r;
	strv_push(made, volume.name);
	VEC_EACH (&container->config.mounts, it) {
		if (!str_eq(it->type, "volume") || !str_eq(it->source, origin))
			continue;
		free(it->source);
		it->source = xstrdup(volume.name);
	}
	return 0;
}

static int make_all(struct engine *engine, const json_t *volumes, struct container *container,
		    char ***made, struct err *err)
{
	AUTO_CLOSE int lock = -1;
	const json_t *it;
	int r = 0;
	size_t i;

	json_array_foreach (volumes, i, it) {
		if (json_get_string(it, "identity"))
			continue;
		if (lock < 0)
			r = lock = volumes_lock(engine->root, err);
		if (r >= 0)
			r = make_one(engine, it, container, made, err);
		if (r < 0)
			return r;
	}
	return containers_insert(engine->store, container, err);
}

/* The bytes are copied before the lock over all volumes is taken. */
int volume_copies_insert(struct engine *engine, const json_t *volumes, const char *directory,
			 struct container *container, char ***made, struct err *err)
{
	const json_t *it;
	int r = 0;
	size_t i;

	json_array_foreach (volumes, i, it) {
		AUTO_FREE char *file = launch_volume_copy((uint32_t)json_get_int(it, "mount", 0));
		AUTO_FREE char *from = path_join(directory, "%s", file);
		AUTO_FREE char *to = waiting_path(engine, container, file);

		if (!json_get_string(it, "identity"))
			r = scratch_copy(from, to, err);
		if (r < 0)
			return r;
	}
	return make_all(engine, volumes, container, made, err);
}

void volume_copies_discard(struct engine *engine, char *const *made)
{
	AUTO_CLOSE int lock = strv_count(made) ? volumes_lock(engine->root, NULL) : -1;

	if (lock >= 0)
		container_discard_volumes(engine, made);
}

/* --- those that are there --- */

/* The volume of a mount, if it is a disk that launch has. */
static const struct launch_volume *attached(const struct launch *launch, const json_t *json)
{
	const struct launch_volume *volume =
		launch_volume_of(launch, (size_t)json_get_int(json, "mount", -1));

	return volume && volume->slot ? volume : NULL;
}

int volume_copies_check(const json_t *volumes, const struct launch *launch, struct err *err)
{
	const json_t *it;
	size_t i;

	json_array_foreach (volumes, i, it) {
		const struct launch_volume *volume = attached(launch, it);
		const char *wanted = json_get_string(it, "identity");
		AUTO_FREE char *identity = volume ? identity_of(volume->path) : NULL;

		if (wanted && !str_eq(identity, wanted))
			return err_set(
				err, -ESTALE,
				"volume '%s', which its machine has read, has changed since; "
				"'hull snapshot restore --disks-only' restores its disks",
				str_or(json_get_string(it, "volume"), ""));
	}
	return 0;
}

/* All are copied before the first is replaced. */
static int each_fresh(const json_t *volumes, const char *directory, const struct launch *launch,
		      bool replace, struct err *err)
{
	const json_t *it;
	int r = 0;
	size_t i;

	json_array_foreach (volumes, i, it) {
		const struct launch_volume *volume = attached(launch, it);
		AUTO_FREE char *file = launch_volume_copy((uint32_t)json_get_int(it, "mount", 0));
		AUTO_FREE char *from = path_join(directory, "%s", file);
		AUTO_FREE char *fresh = volume ? xasprintf("%s.new", volume->path) : NULL;

		if (json_get_string(it, "identity"))
			continue;
		if (!volume || volume->read_only)
			return err_set(err, -EINVAL, "volume '%s' cannot be put back",
				       str_or(json_get_string(it, "volume"), ""));
		if (!replace) {
			unlink(fresh);
			r = scratch_copy(from, fresh, err);
		} else if (rename(fresh, volume->path) < 0) {
			r = err_set(err, -errno, "cannot replace '%s': %m", volume->path);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int volume_copies_put_back(const json_t *volumes, const char *directory,
			   const struct launch *launch, struct err *err)
{
	int r = each_fresh(volumes, directory, launch, false, err);

	return r < 0 ? r : each_fresh(volumes, directory, launch, true, err);
}
