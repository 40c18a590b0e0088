/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The truth about containers. A row that says a shim should be there is believed only while the
 * container's lock is held; otherwise the shim died (and the machine with it), and whoever notices
 * repairs the row, or removes what was to be removed.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/client.h"
#include "shim/launch.h"
#include "shim/volume_files.h"
#include "vm/saved.h"

#define LOCK_ATTEMPTS 100
#define EXIT_CODE_LOST 137 /* the supervisor was killed, and the machine with it */

bool container_is_active(const struct container *container)
{
	return container->state == CONTAINER_RUNNING || container->state == CONTAINER_PAUSED ||
	       container->state == CONTAINER_STOPPING;
}

/* Whoever removes a container removes its lock with it: what was locked has to be what has the name
 * still. */
static bool is_at(int fd, const char *path)
{
	struct stat locked;
	struct stat named;

	return fstat(fd, &locked) == 0 && stat(path, &named) == 0 &&
	       locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

int container_lock_uuid(struct engine *engine, const char *uuid, int *ret_fd, struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, uuid);
	AUTO_FREE char *run_dir = launch_run_dir(engine->run, uuid);
	AUTO_FREE char *path = launch_lock_path(engine->root, uuid);
	int r = -EAGAIN;

	for (int i = 0; i < LOCK_ATTEMPTS; i++) {
		AUTO_CLOSE int fd = -1;

		r = path_make_dirs(dir, 0700, err);
		if (r < 0)
			return r;
		r = fd = lock_take(path, LOCK_EXCLUSIVE, false, err);
		if (fd < 0 && fd != -ENOENT)
			return fd;
		if (fd < 0 || !is_at(fd, path))
			continue;
		r = path_make_dirs(run_dir, 0700, err);
		if (r < 0)
			return r;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	return r < 0 ? r : err_set(err, -EAGAIN, "the lock '%s' does not stay", path);
}

int container_lock(struct engine *engine, const struct container *container, int *ret_fd,
		   struct err *err)
{
	int r = container_lock_uuid(engine, container->uuid, ret_fd, err);

	return r == -EAGAIN ? err_set(err, -EBUSY, "container %s is already running",
				      container->config.id)
			    : r;
}

void container_remove_files(struct engine *engine, const char *uuid)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, uuid);
	AUTO_FREE char *run_dir = launch_run_dir(engine->run, uuid);

	path_remove_tree(run_dir, NULL);
	path_remove_tree(dir, NULL);
}

int container_remove(struct engine *engine, const struct container *container, struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_FREE char *run_dir = launch_run_dir(engine->run, container->uuid);
	int r = containers_delete(engine->store, container->uuid, err);

	if (r == -ENOSPC) {
		/* On a full disk, what is deleted has to make the room for saying so. */
		r = path_remove_tree(dir, err);
		if (r == 0)
			r = containers_delete(engine->store, container->uuid, err);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (container->config.auto_remove)
		volumes_remove_anonymous(engine->store, engine->root, &container->config);
	r = path_remove_tree(run_dir, err);
	return r < 0 ? r : path_remove_tree(dir, err);
}

static bool is_saved(const struct engine *engine, const struct container *container)
{
	AUTO_FREE char *directory = launch_saved_path(engine->root, container->uuid);

	return saved_exists(directory);
}

/* Whether the row may be wrong, should nobody hold the lock. A suspended container whose saved
 * machine is gone was about to go on when its supervisor was killed. */
static bool may_be_wrong(const struct engine *engine, const struct container *container)
{
	return container_is_active(container) ||
	       (container->state == CONTAINER_SUSPENDED && !is_saved(engine, container));
}

/* Holding the lock: nobody else starts, stops or removes it meanwhile. */
static int repair(struct engine *engine, struct container *container, struct err *err)
{
	CLEANUP(container_freep) struct container *fresh = NULL;
	int r = containers_get_uuid(engine->store, container->uuid, &fresh, err);

	if (r < 0)
		return r;
	if (container_is_active(fresh) && is_saved(engine, fresh)) {
		/* Its machine was saved, and its supervisor killed before it could say so. */
		fresh->state = CONTAINER_SUSPENDED;
		fresh->health = HEALTH_NONE;
		r = containers_update(engine->store, fresh, err);
		if (r < 0 && r != -ENOSPC)
			return r;
	} else if (may_be_wrong(engine, fresh)) {
		if (fresh->config.auto_remove) {
			r = container_remove(engine, fresh, err);
			return r < 0 ? r
				     : err_set(err, -ENOENT, "container not found: %s",
					       container->config.id);
		}
		fresh->state = CONTAINER_STOPPED;
		fresh->health = HEALTH_NONE;
		fresh->has_exit_code = true;
		fresh->exit_code = EXIT_CODE_LOST;
		fresh->finished_at = time(NULL);
		free(fresh->error);
		fresh->error = xstrdup("its supervisor was killed");
		r = containers_update(engine->store, fresh, err);
		if (r < 0 && r != -ENOSPC) /* true all the same; recorded once there is room */
			return r;
	}
	struct container swapped = *container;

	*container = *fresh;
	*fresh = swapped;
	return 0;
}

/* The disk that is full may be the one with the row. */
static void note_held(const struct engine *engine, struct container *container)
{
	AUTO_FREE char *path = launch_held_path(engine->root, container->uuid);

	container->held =
		(container->state == CONTAINER_RUNNING || container->state == CONTAINER_PAUSED) &&
		access(path, F_OK) == 0;
	if (container->held)
		container->state = CONTAINER_PAUSED;
}

int container_truth(struct engine *engine, struct container *container, struct err *err)
{
	AUTO_FREE char *path = launch_lock_path(engine->root, container->uuid);
	AUTO_CLOSE int fd = -1;

	if (!may_be_wrong(engine, container))
		return 0;
	if (lock_is_held(path)) {
		note_held(engine, container);
		return 0;
	}
	if (container_lock(engine, container, &fd, NULL) < 0)
		return 0; /* somebody else just took it: starting it, or repairing it */
	int r = repair(engine, container, err);

	if (r == -ENOENT) /* removed before we had its lock, which then made its directories anew */
		container_remove_files(engine, container->uuid);
	return r;
}

/* A shim that ends listens for as long as it holds the lock. One that cannot be connected to has
 * ended since the row was read, then, or is out of reach: looking again tells. */
int container_connect(struct engine *engine, const struct container *container, int *ret_fd,
		      struct err *err)
{
	for (int attempt = 0;; attempt++) {
		CLEANUP(container_freep) struct container *now = NULL;
		struct err reason = { 0 };
		int fd = client_connect(engine->root, container->uuid, &reason);
		int r;

		if (fd >= 0) {
			*ret_fd = fd;
			return 0;
		}
		r = containers_get_uuid(engine->store, container->uuid, &now, err);
		if (r == 0)
			r = container_truth(engine, now, err);
		if (r < 0)
			return r;
		if (!container_is_active(now))
			return err_set(err, -EINVAL, "container %s is not running",
				       container->config.id);
		if (attempt)
			return err_set(err, -EHOSTUNREACH,
				       "container %s is running, but its supervisor cannot be "
				       "reached: %s",
				       container->config.id, reason.message);
	}
}

int engine_get(struct engine *engine, const char *id, struct container **ret_container,
	       struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = containers_get(engine->store, id, &container, err);

	if (r == 0)
		r = container_truth(engine, container, err);
	if (r < 0)
		return r;
	*ret_container = TAKE_PTR(container);
	return 0;
}

int engine_list(struct engine *engine, struct container_list *ret_list, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = containers_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count;) {
		struct err gone = { 0 };
		int t = container_truth(engine, list.items[i], &gone);

		if (t == -ENOENT) {
			container_free(list.items[i]);
			VEC_REMOVE(&list, i);
			continue;
		}
		if (t < 0)
			return err_set(err, t, "%s", gone.message);
		i++;
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct container_list){ 0 };
	return 0;
}
