/* SPDX-License-Identifier: Apache-2.0 */
/* What a container mounts: as asked for, and what its image says is to be kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/internal.h"
#include "engine/volume.h"
#include "shim/launch.h"
#include "shim/socket_relays.h"
#include "shim/volume_files.h"

static struct mount_config *find_mount(struct container_config *config, const char *destination)
{
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->destination, destination))
			return it;
	return NULL;
}

static int add_mount(struct container_config *config, const char *type, const char *source,
		     const char *destination, char *const *options, struct err *err)
{
	if (find_mount(config, destination))
		return err_set(err, -EINVAL, "duplicate mount point: %s", destination);
	VEC_PUSH(&config->mounts,
		 ((struct mount_config){ xstrdup(type), xstrdup(source), xstrdup(destination),
					 strv_copy(options) }));
	return 0;
}

/* A path of an image, which may say anything. */
static bool is_mount_point(const char *path)
{
	return path[0] == '/' && path[1] && !strstr(path, "/../") && !str_ends(path, "/..");
}

static int depth(const char *path)
{
	int n = 0;

	for (; *path; path++)
		n += path[0] == '/' && path[1] && path[1] != '/';
	return n;
}

/* What is mounted below another mount comes after it; otherwise in the order that was given. */
static void sort_mounts(struct container_config *config)
{
	for (size_t i = 1; i < config->mounts.count; i++) {
		struct mount_config moved = config->mounts.items[i];
		size_t k = i;

		for (; k > 0 &&
		       depth(config->mounts.items[k - 1].destination) > depth(moved.destination);
		     k--)
			config->mounts.items[k] = config->mounts.items[k - 1];
		config->mounts.items[k] = moved;
	}
}

/* A path of the host, as it is now, without links. */
static int resolve_source(const struct mount_config *mount, char **ret_path, struct err *err)
{
	if (!str_eq(mount->type, "bind")) {
		*ret_path = xstrdup(mount->source);
		return 0;
	}
	*ret_path = realpath(mount->source, NULL);
	if (!*ret_path && errno == ENOENT)
		return err_set(err, -ENOENT, "path '%s' does not exist", mount->source);
	if (!*ret_path)
		return err_set(err, -errno, "cannot use path '%s': %m", mount->source);
	return 0;
}

static bool is_socket(const struct mount_config *mount, const char *source)
{
	struct stat st;

	return str_eq(mount->type, "bind") && stat(source, &st) == 0 && S_ISSOCK(st.st_mode);
}

int container_resolve_mounts(const struct container_config *given, json_t *image_volumes,
			     struct container_config *config, struct err *err)
{
	const char *path;
	json_t *unused;
	int r = 0;

	VEC_EACH (&given->mounts, it) {
		AUTO_FREE char *source = NULL;

		if (r == 0)
			r = resolve_source(it, &source, err);
		if (r == 0)
			r = add_mount(config, is_socket(it, source) ? SOCKET_MOUNT : it->type,
				      source, it->destination, it->options, err);
	}
	json_object_foreach (image_volumes, path, unused) {
		AUTO_FREE char *plain = xstrdup(path);

		while (strlen(plain) > 1 && str_ends(plain, "/"))
			plain[strlen(plain) - 1] = '\0';
		if (r == 0 && is_mount_point(plain) && !find_mount(config, plain))
			r = add_mount(config, "volume", NULL, plain, NULL, err);
	}
	sort_mounts(config);
	return r;
}

void container_discard_volumes(struct engine *engine, char *const *made)
{
	STRV_EACH (made, it)
		volume_remove(engine->store, engine->root, *it, NULL);
}

int container_require_volumes(struct engine *engine, struct container_config *config, int *lock_fd,
			      char ***made, struct err *err)
{
	VEC_EACH (&config->mounts, it) {
		CLEANUP(volume_release) struct volume there = { 0 };
		struct volume_options options = { .name = it->source };
		AUTO_FREE char *name = NULL;
		int r;

		if (!str_eq(it->type, "volume"))
			continue;
		if (*lock_fd < 0) {
			r = volumes_lock(engine->root, err);
			if (r < 0)
				return r;
			*lock_fd = r;
		}
		if (it->source && volumes_get(engine->store, it->source, &there, NULL) == 0)
			continue;
		r = volumes_make(engine, &options, &name, err);
		if (r < 0)
			return r;
		strv_push(made, name);
		if (!it->source)
			it->source = TAKE_PTR(name);
	}
	return 0;
}

/* --- at a start --- */

bool container_only_reads(const struct container_config *config, const char *name)
{
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, "volume") && str_eq(it->source, name) &&
		    !strv_contains(it->options, "ro"))
			return false;
	return true;
}

static bool has_volume(const struct container_config *config, const char *name)
{
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, "volume") && str_eq(it->source, name))
			return true;
	return false;
}

/* Why a volume cannot be had, by name if possible. */
static int report_busy(struct engine *engine, const struct container *container, const char *name,
		       struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };

	engine_list(engine, &list, NULL);
	for (size_t i = 0; i < list.count; i++)
		if (container_is_active(list.items[i]) &&
		    has_volume(&list.items[i]->config, name) &&
		    !str_eq(list.items[i]->uuid, container->uuid))
			return err_set(err, -EBUSY,
				       "volume '%s' is in use by container %s: several "
				       "containers can read it at once (:ro), or share one made "
				       "with --opt type=directory",
				       name, list.items[i]->config.id);
	return err_set(err, -EBUSY, "volume '%s' is in use", name);
}

/* A machine that is saved goes on with what it remembers of the disk. Looked at under the disk's
 * lock, which the machine's supervisor holds until the row says that it is saved. */
static int check_suspended(struct engine *engine, const struct container *container,
			   const char *name, bool read_only, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = containers_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		struct container *other = list.items[i];

		if (str_eq(other->uuid, container->uuid) || !has_volume(&other->config, name) ||
		    (read_only && container_only_reads(&other->config, name)))
			continue;
		/* Its supervisor may have been killed before it could say so. */
		if (container_is_active(other))
			container_truth(engine, other, NULL);
		if (other->state == CONTAINER_SUSPENDED)
			r = err_set(err, -EBUSY,
				    "volume '%s' is in use by container %s, which is suspended",
				    name, other->config.id);
	}
	return r;
}

/* How often a slot of a kind has been given out, and the next one. */
struct slots {
	const struct machine_devices *devices;
	uint32_t writable, read_only;
};

static int next_slot(struct slots *slots, bool read_only, uint32_t *ret_slot, struct err *err)
{
	uint32_t first_read_only = machine_first_read_only(slots->devices);
	uint32_t slot = read_only ? first_read_only + slots->read_only++
				  : MACHINE_VOLUME_SLOT + slots->writable++;

	if (slot >= (read_only ? slots->devices->disks : first_read_only))
		return err_set(err, -E2BIG, "a container has at most %u volumes that it can %s",
			       read_only ? slots->devices->read_only_disks
					 : first_read_only - MACHINE_VOLUME_SLOT,
			       read_only ? "only read" : "write to");
	*ret_slot = slot;
	return 0;
}

static int attach_disk(struct engine *engine, const struct container *container, const char *name,
		       struct slots *slots, struct launch_volume *volume, struct err *err)
{
	int lock;
	int r = next_slot(slots, volume->read_only, &volume->slot, err);

	if (r < 0)
		return r;
	lock = volume_lock(engine->root, name, !volume->read_only, err);
	if (lock == -EAGAIN)
		return report_busy(engine, container, name, err);
	if (lock < 0)
		return lock;
	volume->lock_fd = lock;
	volume->path = volume_disk_path(engine->root, name);
	r = check_suspended(engine, container, name, volume->read_only, err);
	if (r < 0)
		return r;
	if (volume->read_only && volume_needs_recovery(engine->root, name))
		return err_set(err, -EUCLEAN,
			       "volume '%s' was not unmounted cleanly: mount it once without "
			       "'ro', which repairs it",
			       name);
	return 0;
}

/* Its lock keeps it from being removed. Who is alone with it while it is empty, or while the copy
 * that somebody had begun is in it, fills it, and is alone until it is marked as such. */
static int attach_directory(struct engine *engine, const char *name, bool fill,
			    const struct launch_volume *before, struct launch_volume *volume,
			    struct err *err)
{
	AUTO_CLOSE int lock = fill ? volume_lock(engine->root, name, true, NULL) : -EAGAIN;
	int r = 0;

	volume->path = volume_data_path(engine->root, name);
	if (lock >= 0) {
		r = volume_mark_filling(volume->path, err);
		volume->fill = r > 0;
		if (r >= 0)
			r = lock_share(lock);
	} else {
		r = lock = volume_lock(engine->root, name, false, err);
		volume->fill = fill && before && before->fill;
		volume->wait = !volume->fill;
	}
	if (r < 0)
		return r;
	volume->lock_fd = TAKE_FD(lock);
	return 0;
}

static const struct launch_volume *attached_before(const struct launch *launch,
						   const struct container_config *config,
						   const char *name)
{
	VEC_EACH (&launch->volumes, it)
		if (str_eq(config->mounts.items[it->mount].source, name))
			return it;
	return NULL;
}

int container_attach_volumes(struct engine *engine, const struct container *container,
			     struct launch *launch, struct err *err)
{
	const struct container_config *config = &container->config;
	struct slots slots = { .devices = &launch->devices };

	for (uint32_t i = 0; i < config->mounts.count; i++) {
		const struct mount_config *mount = &config->mounts.items[i];
		CLEANUP(volume_release) struct volume row = { 0 };
		const struct launch_volume *before;
		struct launch_volume volume = { .lock_fd = -1 };
		int r;

		if (!str_eq(mount->type, "volume"))
			continue;
		r = volumes_get(engine->store, mount->source, &row, err);
		if (r < 0)
			return r;
		before = attached_before(launch, config, row.name);
		volume.read_only = container_only_reads(config, row.name);
		if (row.kind == VOLUME_DIRECTORY) {
			volume.read_only = strv_contains(mount->options, "ro");
			r = attach_directory(engine, row.name,
					     !volume.read_only &&
						     !strv_contains(mount->options, "nocopy"),
					     before, &volume, err);
		} else if (before) {
			volume.slot = before->slot;
			volume.path = xstrdup(before->path);
		} else {
			r = attach_disk(engine, container, row.name, &slots, &volume, err);
		}
		volume.mount = i;
		volume.journal = xstrdup(row.journal);
		VEC_PUSH(&launch->volumes, volume); /* what it has is released with launch */
		if (r < 0)
			return r;
	}
	return 0;
}
