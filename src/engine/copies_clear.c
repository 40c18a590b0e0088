/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever makes something big holds a lock on it, which is gone when he is. So what has no holder
 * is worth nothing, and is removed by the next who comes by: a start what is in its container's
 * directory, a fork or a snapshot what others left, and `system prune` all of it.
 */
#include "engine/copies.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/snapshot_files.h"
#include "shim/launch.h"

#define UNTAKEN_SECONDS 3600

static void remove_tree(const char *path, struct prune_result *result)
{
	uint64_t bytes = result ? path_disk_usage(path) : 0;

	if (path_remove_tree(path, NULL) == 0 && result)
		result->reclaimed_bytes += bytes;
}

/* A snapshot that was about to get its row, or has just lost it. */
static bool is_orphan(struct engine *engine, const char *name)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };

	return strlen(name) == HASH_UUID_LENGTH &&
	       snapshots_get(engine->store, name, &snapshot, NULL) == -ENOENT;
}

/* Its maker holds the lock of the name that it had before. */
static void clear_orphan(struct engine *engine, const char *parent, const char *name,
			 struct prune_result *result)
{
	AUTO_FREE char *path = path_join(parent, "%s", name);
	AUTO_FREE char *lock_path = path_join(parent, COPIES_UNFINISHED "%s.lock", name);
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL);

	if (lock < 0)
		return;
	if (is_orphan(engine, name))
		remove_tree(path, result);
	unlink(lock_path);
}

static void clear_unfinished(const char *parent, const char *name, struct prune_result *result)
{
	AUTO_FREE char *path = path_join(parent, "%s", name);
	AUTO_FREE char *lock_path = xasprintf("%s%s", path, str_ends(name, ".lock") ? "" : ".lock");
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL);

	if (lock < 0)
		return;
	remove_tree(path, result);
	unlink(lock_path);
}

/* Of a snapshot that stays: memory that was being put together. Its maker holds the snapshot's
 * lock. */
static void clear_half_made(const char *parent, const char *name, struct prune_result *result)
{
	AUTO_FREE char *path = path_join(parent, "%s/" SNAPSHOT_NEW_MEMORY, name);
	AUTO_FREE char *lock_path = path_join(parent, "%s.lock", name);
	AUTO_CLOSE int lock = -1;

	if (!path_exists(path))
		return;
	lock = lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL);
	if (lock >= 0)
		remove_tree(path, result);
}

void copies_clear_directories(struct engine *engine, struct prune_result *result)
{
	AUTO_FREE char *parent = path_join(engine->root, "snapshots");
	DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (str_starts(entry->d_name, COPIES_UNFINISHED))
			clear_unfinished(parent, entry->d_name, result);
		else if (is_orphan(engine, entry->d_name))
			clear_orphan(engine, parent, entry->d_name, result);
		else if (strlen(entry->d_name) == HASH_UUID_LENGTH)
			clear_half_made(parent, entry->d_name, result);
	}
	if (dir)
		closedir(dir);
}

/* Of a container that runs only what was saved for a command that did not take it. */
static bool is_left(const char *path, bool runs)
{
	const char *name = path_base(path);
	bool is_copy = str_starts(name, LAUNCH_COPY_PREFIX);
	struct stat st;

	if (runs)
		return is_copy && lstat(path, &st) == 0 &&
		       st.st_mtime < time(NULL) - UNTAKEN_SECONDS;
	return is_copy || str_eq(name, LAUNCH_SAVING) || str_eq(name, COPIES_NEW_DISK);
}

static void clear_container(struct engine *engine, const char *uuid, bool runs,
			    struct prune_result *result)
{
	AUTO_FREE char *parent = launch_container_dir(engine->root, uuid);
	DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = path_join(parent, "%s", entry->d_name);

		if (is_left(path, runs))
			remove_tree(path, result);
	}
	if (dir)
		closedir(dir);
}

void copies_clear_container(struct engine *engine, const char *uuid)
{
	clear_container(engine, uuid, false, NULL);
}

static void clear_all_containers(struct engine *engine, struct prune_result *result)
{
	AUTO_FREE char *parent = path_join(engine->root, "containers");
	DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *lock_path = launch_lock_path(engine->root, entry->d_name);
		AUTO_CLOSE int lock = -1;

		if (entry->d_name[0] == '.' || !path_exists(lock_path))
			continue;
		lock = lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL);
		clear_container(engine, entry->d_name, lock < 0, result);
	}
	if (dir)
		closedir(dir);
}

void copies_prune(struct engine *engine, struct prune_result *result)
{
	clear_all_containers(engine, result);
	copies_clear_directories(engine, result);
}
