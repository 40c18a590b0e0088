/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/volume_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "base/vec.h"
#include "proto/share.h"

/* Linux: Documentation/filesystems/ext4/super.rst */
#define EXT4_INCOMPAT_OFFSET (1024 + 0x60)
#define EXT4_INCOMPAT_RECOVER 0x4u

char *volume_dir(const char *root, const char *name)
{
	return path_join(root, "volumes/%s", name);
}

char *volume_disk_path(const char *root, const char *name)
{
	return path_join(root, "volumes/%s/disk.img", name);
}

char *volume_data_path(const char *root, const char *name)
{
	return path_join(root, "volumes/%s/data", name);
}

int volume_check_name(const char *name, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t length = strlen(name);

	if (!length || length > VOLUME_NAME_MAX || strspn(name, letters) != length ||
	    strchr("_.-", name[0]))
		return err_set(err, -EINVAL,
			       "invalid volume name '%s': 1 to %d of letters, digits, '_', '.' and "
			       "'-', the first a letter or digit",
			       name, VOLUME_NAME_MAX);
	return 0;
}

int volumes_lock(const char *root, struct err *err)
{
	AUTO_FREE char *path = path_join(root, "volumes.lock");

	return lock_take(path, LOCK_EXCLUSIVE, true, err);
}

int volume_lock(const char *root, const char *name, bool exclusive, struct err *err)
{
	AUTO_FREE char *path = path_join(root, "volumes/%s/lock", name);

	return lock_take(path, exclusive ? LOCK_EXCLUSIVE : LOCK_SHARED, false, err);
}

bool volume_needs_recovery(const char *root, const char *name)
{
	AUTO_FREE char *path = volume_disk_path(root, name);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint32_t incompat = 0;

	return fd >= 0 &&
	       fd_pread_exact(fd, &incompat, sizeof(incompat), EXT4_INCOMPAT_OFFSET) == 0 &&
	       incompat & EXT4_INCOMPAT_RECOVER;
}

int volume_mark_filling(const char *path, struct err *err)
{
	AUTO_FREE char *marker = path_join(path, SHARE_FILLING);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	size_t count = 0;
	bool begun = false;

	if (!dir)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	while (!begun && (entry = readdir(dir))) {
		count++;
		begun = str_eq(entry->d_name, SHARE_FILLING);
	}
	closedir(dir);
	if (!begun && count > 2) /* "." and ".." */
		return 0;
	if (mkdir(marker, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make '%s': %m", marker);
	return 1;
}

int volume_remove(struct store *store, const char *root, const char *name, struct err *err)
{
	AUTO_FREE char *dir = volume_dir(root, name);
	AUTO_CLOSE int lock = volume_lock(root, name, true, NULL);
	int r;

	if (lock == -EAGAIN)
		return err_set(err, -EBUSY, "volume '%s' is in use", name);
	r = volumes_delete(store, name, err);
	/* On a full disk, what is deleted has to make the room for saying so. */
	if (r == -ENOSPC && path_remove_tree(dir, NULL) == 0)
		r = volumes_delete(store, name, err);
	return r < 0 ? r : path_remove_tree(dir, err);
}

static bool mounts_volume(const struct container_config *config, const char *name)
{
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, "volume") && str_eq(it->source, name))
			return true;
	return false;
}

char *volume_user(const struct container_list *containers, const char *name)
{
	for (size_t i = 0; i < containers->count; i++)
		if (mounts_volume(&containers->items[i]->config, name))
			return xstrdup(containers->items[i]->config.id);
	return NULL;
}

static bool is_forsaken(struct store *store, const struct container_list *containers,
			const char *name)
{
	CLEANUP(volume_release) struct volume volume = { 0 };
	AUTO_FREE char *user = volume_user(containers, name);

	return !user && volumes_get(store, name, &volume, NULL) == 0 && volume.anonymous;
}

void volumes_remove_anonymous(struct store *store, const char *root,
			      const struct container_config *config)
{
	CLEANUP(container_list_release) struct container_list containers = { 0 };
	AUTO_CLOSE int lock = -1;
	bool any = false;

	VEC_EACH (&config->mounts, it)
		any |= str_eq(it->type, "volume");
	if (!any)
		return;
	lock = volumes_lock(root, NULL);
	if (lock < 0 || containers_list(store, &containers, NULL) < 0)
		return;
	VEC_EACH (&config->mounts, it)
		if (str_eq(it->type, "volume") && is_forsaken(store, &containers, it->source))
			volume_remove(store, root, it->source, NULL);
}
