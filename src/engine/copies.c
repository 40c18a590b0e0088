/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/copies.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/scratch.h"
#include "engine/networks.h"
#include "engine/volume_copies.h"
#include "shim/client.h"
#include "shim/launch.h"
#include "shim/socket_relays.h"

#define LOCK_ATTEMPTS 10

/* One that is on its way. */
struct copy {
	struct container *container; /* owned */
	char **volumes;              /* owned: the names of those that were made for it */
	int client;                  /* owned; -1: it is not */
};

static void copy_release(struct copy *copy)
{
	if (copy->container)
		container_free(copy->container);
	strv_free(copy->volumes);
	if (copy->client >= 0)
		close(copy->client);
}

/* The lock has to be what has the name still: who clears up removes both. */
static int lock_directory(const char *path, int *ret_lock, struct err *err)
{
	AUTO_CLOSE int lock = lock_take(path, LOCK_EXCLUSIVE, false, err);
	struct stat locked;
	struct stat named;

	if (lock < 0)
		return lock;
	if (fstat(lock, &locked) < 0 || stat(path, &named) < 0 || locked.st_ino != named.st_ino)
		return err_set(err, -EAGAIN, "the lock '%s' does not stay", path);
	*ret_lock = TAKE_FD(lock);
	return 0;
}

int copies_make_directory(struct engine *engine, char **ret_directory, int *ret_lock,
			  struct err *err)
{
	AUTO_FREE char *parent = path_join(engine->root, "snapshots");
	int r = path_make_dirs(parent, 0700, err);

	if (r < 0)
		return r;
	copies_clear_directories(engine, NULL);
	for (int i = 0; i < LOCK_ATTEMPTS; i++) {
		char uuid[HASH_UUID_LENGTH + 1];

		hash_uuid(uuid);
		AUTO_FREE char *directory = path_join(parent, COPIES_UNFINISHED "%s", uuid);
		AUTO_FREE char *lock_path = xasprintf("%s.lock", directory);
		AUTO_CLOSE int lock = -1;

		r = lock_directory(lock_path, &lock, err);
		if (r == -EAGAIN)
			continue;
		if (r == 0 && mkdir(directory, 0700) < 0)
			r = err_set(err, -errno, "cannot create '%s': %m", directory);
		if (r < 0)
			return r;
		*ret_lock = TAKE_FD(lock);
		*ret_directory = TAKE_PTR(directory);
		return 0;
	}
	return r;
}

const char *copies_directory_uuid(const char *directory)
{
	return str_after(path_base(directory), COPIES_UNFINISHED);
}

/* The shim may write in the container's own directory alone: from there it is moved. */
int copies_save(struct engine *engine, const struct container *container, const char *directory,
		struct ctl_saved *ret_saved, struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_SBUF struct sbuf payload = { 0 };
	struct client_reply reply = { 0 };
	char uuid[HASH_UUID_LENGTH + 1];
	int fd = -1;
	int r;

	hash_uuid(uuid);
	AUTO_FREE char *name = xasprintf(LAUNCH_COPY_PREFIX "%s", uuid);
	AUTO_FREE char *path = path_join(dir, "%s", name);
	ctl_string_encode(name, &payload);
	r = container_connect(engine, container, &fd, err);
	if (r == 0)
		r = client_request(fd, CTL_SAVE, &payload, &reply, err);
	if (r < 0)
		return r;
	if (rename(path, directory) < 0) {
		r = err_set(err, -errno, "cannot rename '%s' to '%s': %m", path, directory);
		path_remove_tree(path, NULL);
		return r;
	}
	log_debug("stood still for %.1f ms, its machine for %.1f ms; %llu pages of memory changed",
		  (double)reply.saved.frozen_us / 1e3, (double)reply.saved.stopped_us / 1e3,
		  (unsigned long long)reply.saved.changed_pages);
	*ret_saved = reply.saved;
	return 0;
}

/* A name on the host is one container's, unless it has the container's in it. */
static void drop_published_sockets(struct container_config *config)
{
	for (size_t i = config->sockets.count; i > 0; i--) {
		struct socket_config *socket = &config->sockets.items[i - 1];

		if (strstr(socket->host_path, SOCKET_NAME_WORD))
			continue;
		free(socket->host_path);
		free(socket->container_path);
		VEC_REMOVE(&config->sockets, i - 1);
	}
}

/* Everything that is not the other's alone. */
static int copy_config(const struct copies *copies, uint32_t index, const char *uuid,
		       struct container_config *config, struct err *err)
{
	AUTO_JSON json_t *json = container_config_to_json(copies->config);
	int r = json ? container_config_from_json(json, config, err) : -EINVAL;

	if (r < 0)
		return r;
	free(config->id);
	if (!copies->name)
		config->id = xstrdup(uuid);
	else if (copies->count == 1)
		config->id = xstrdup(copies->name);
	else
		config->id = xasprintf("%s-%u", copies->name, index);
	free(config->hostname);
	config->hostname = NULL;
	free(config->origin);
	config->origin = xstrdup(copies->origin);
	config->auto_remove |= copies->remove;
	config->generation++;
	config->fork_index = index;
	config->created_at = time(NULL);
	VEC_EACH (&config->networks, it) {
		free(it->mac_address);
		it->mac_address = NULL;
		free(it->address);
		it->address = NULL;
		free(it->hostname);
		it->hostname = NULL;
	}
	drop_published_sockets(config);
	if (!copies->keeps_ports)
		networks_separate_ports(config);
	return container_check_id(config->id, err);
}

static int copy_disk(struct engine *engine, const struct copies *copies, const char *uuid,
		     struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, uuid);
	AUTO_FREE char *from = path_join(copies->directory, "scratch.img");
	AUTO_FREE char *to = path_join(dir, "scratch.img");

	return scratch_copy(from, to, err);
}

static void remove_copy(struct engine *engine, const struct copy *copy)
{
	container_remove(engine, copy->container, NULL);
	volume_copies_discard(engine, copy->volumes);
}

/* Row, disk and addresses of one. What was made goes again when it fails. */
static int make_one(struct engine *engine, const struct copies *copies, uint32_t index,
		    struct copy *copy, int *ret_lock, struct err *err)
{
	AUTO_CLOSE int lock_fd = -1;
	int r;

	copy->container = xcalloc(1, sizeof(*copy->container));
	container_config_init(&copy->container->config);
	hash_uuid(copy->container->uuid);
	r = copy_config(copies, index, copy->container->uuid, &copy->container->config, err);
	if (r == 0)
		r = container_lock(engine, copy->container, &lock_fd, err);
	if (r < 0)
		return r;
	r = volume_copies_insert(engine, copies->volumes, copies->directory, copy->container,
				 &copy->volumes, err);
	if (r < 0) {
		container_remove_files(engine, copy->container->uuid);
		volume_copies_discard(engine, copy->volumes);
		return r;
	}
	r = networks_take_leases(engine, copy->container, err);
	if (r == 0)
		r = copy_disk(engine, copies, copy->container->uuid, err);
	if (r < 0)
		remove_copy(engine, copy);
	else
		*ret_lock = TAKE_FD(lock_fd);
	return r;
}

static int start_one(struct engine *engine, const struct copies *copies, uint32_t index,
		     struct copy *copy, struct err *err)
{
	const struct copy_start start = { copies->directory, copies->count, copies->signal,
					  copies->volumes, NULL };
	AUTO_CLOSE int lock_fd = -1;
	int r = make_one(engine, copies, index, copy, &lock_fd, err);

	if (r < 0)
		return r;
	r = launch_copy(engine, copy->container, lock_fd, &start, &copy->client, err);
	if (r < 0)
		remove_copy(engine, copy);
	return r;
}

int copies_make_stopped(struct engine *engine, const struct copies *copies, char **ret_id,
			struct err *err)
{
	CLEANUP(copy_release) struct copy copy = { .client = -1 };
	AUTO_CLOSE int lock_fd = -1;
	int r = make_one(engine, copies, 1, &copy, &lock_fd, err);

	if (r == 0)
		*ret_id = xstrdup(copy.container->config.id);
	return r;
}

/* The new disk has the old one's name at once. */
static int replace_disk(struct engine *engine, const char *uuid, const char *directory,
			struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, uuid);
	AUTO_FREE char *from = path_join(directory, "scratch.img");
	AUTO_FREE char *fresh = path_join(dir, COPIES_NEW_DISK);
	AUTO_FREE char *to = path_join(dir, "scratch.img");
	int r;

	unlink(fresh);
	r = scratch_copy(from, fresh, err);
	if (r == 0 && rename(fresh, to) < 0)
		r = err_set(err, -errno, "cannot replace '%s': %m", to);
	return r;
}

/* The volumes stay locked from before the first disk is replaced until the machine has them. */
int copies_replace(struct engine *engine, const struct container *container, const char *directory,
		   const json_t *volumes, const struct machine_devices *devices, struct err *err)
{
	CLEANUP(launch_release)
	struct launch launch = { .devices = devices ? *devices : machine_devices_extended };
	const struct copy_start start = { directory, 1, 0, volumes, &launch };
	AUTO_CLOSE int lock_fd = -1;
	int client = -1;
	int r = 0;

	if (container_is_active(container) || container->state == CONTAINER_SUSPENDED)
		r = engine_stop(engine, container->uuid, "KILL", 0, err);
	if (r == 0)
		r = container_lock(engine, container, &lock_fd, err);
	if (r == 0)
		r = container_attach_volumes(engine, container, &launch, err);
	if (r == 0 && devices)
		r = volume_copies_check(volumes, &launch, err);
	if (r == 0)
		r = networks_take_leases(engine, container, err);
	if (r == 0)
		r = replace_disk(engine, container->uuid, directory, err);
	if (r == 0)
		r = volume_copies_put_back(volumes, directory, &launch, err);
	if (r < 0 || !devices)
		return r;
	r = launch_copy(engine, container, lock_fd, &start, &client, err);
	return r < 0 ? r : await_start(engine, container, client, err);
}

/* A copy whose processes never ran is worth nothing. */
static void remove_failed(struct engine *engine, const struct copy *copy)
{
	AUTO_CLOSE int lock_fd = -1;

	if (container_lock(engine, copy->container, &lock_fd, NULL) == 0)
		remove_copy(engine, copy);
}

int copies_start(struct engine *engine, const struct copies *copies, char ***ret_ids,
		 struct err *err)
{
	struct copy *all = xcalloc(copies->count, sizeof(*all));
	int first = 0;

	for (uint32_t i = 0; i < copies->count; i++) {
		struct err one = { 0 };
		int r;

		all[i].client = -1;
		r = start_one(engine, copies, i + 1, &all[i], &one);
		if (r < 0 && !first)
			first = err_set(err, r, "%s", one.message);
	}
	for (uint32_t i = 0; i < copies->count; i++) {
		struct err one = { 0 };
		int r;

		if (all[i].client < 0)
			continue;
		r = await_start(engine, all[i].container, TAKE_FD(all[i].client), &one);
		if (r == 0)
			strv_push(ret_ids, all[i].container->config.id);
		else
			remove_failed(engine, &all[i]);
		if (r < 0 && !first)
			first = err_set(err, r, "%s", one.message);
	}
	for (uint32_t i = 0; i < copies->count; i++)
		copy_release(&all[i]);
	free(all);
	return first;
}
