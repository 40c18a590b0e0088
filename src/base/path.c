/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#define REMOVE_DEPTH 64 /* that many directories are open at once */

char *path_join(const char *dir, const char *format, ...)
{
	AUTO_FREE char *rest = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&rest, format, args);
	va_end(args);
	if (n < 0)
		abort();
	return xasprintf("%s/%s", dir, rest);
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

char *path_of_self(void)
{
	char target[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", target, sizeof(target) - 1);
	char *slash;

	if (n < 0)
		return xstrdup(".");
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (slash)
		*slash = '\0';
	return xstrdup(target);
}

bool path_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int path_make_dirs(const char *path, mode_t mode, struct err *err)
{
	AUTO_FREE char *copy = xstrdup(path);
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	for (char *c = copy + 1;; c++) {
		char keep = *c;

		if (keep != '/' && keep != '\0')
			continue;
		*c = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST && errno != EISDIR && errno != EROFS)
			return err_set(err, -errno, "cannot create directory '%s': %m", copy);
		*c = keep;
		if (keep == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot create directory '%s': %m", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "cannot create directory '%s': %m", path);
	return 0;
}

/*
 * A tree may be a container's: deeper than a path can be long, or a stack deep, and with
 * directories that even their owner may not change. Directories below REMOVE_DEPTH are moved to the
 * top, which is gone through until it is empty.
 */
struct removal {
	dev_t device;
	int top_fd; /* borrowed; -1: there is none yet */
	unsigned moved;
};

static int remove_entry(struct removal *removal, int dir_fd, const char *name, unsigned depth);

static int remove_children(struct removal *removal, DIR *dir, unsigned depth)
{
	struct dirent *entry;
	bool any;
	int r = 0;

	do {
		any = false;
		rewinddir(dir);
		while (r == 0 && (entry = readdir(dir))) {
			if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
				continue;
			r = remove_entry(removal, dirfd(dir), entry->d_name, depth + 1);
			any |= r == 0;
			r = r == -ENOENT ? 0 : r;
		}
	} while (any && r == 0);
	return r;
}

/* Its owner may not have given himself the right to change it. */
static void allow_changes(int dir_fd, const char *name, const struct stat *st)
{
	AUTO_CLOSE int fd = -1;
	char path[64];

	if ((st->st_mode & 0700) == 0700)
		return;
	fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0)
		(void)!chmod(path, 0700);
}

static int move_to_top(struct removal *removal, int dir_fd, const char *name)
{
	char to[32];
	int r;

	do {
		snprintf(to, sizeof(to), ".removed-%u", removal->moved++);
		r = (int)syscall(SYS_renameat2, dir_fd, name, removal->top_fd, to,
				 RENAME_NOREPLACE);
	} while (r < 0 && errno == EEXIST);
	return r < 0 ? -errno : 0;
}

static int remove_directory(struct removal *removal, int dir_fd, const char *name,
			    const struct stat *st, unsigned depth)
{
	bool is_top = removal->top_fd < 0;
	DIR *dir;
	int fd;
	int r;

	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	allow_changes(dir_fd, name, st);
	if (depth > REMOVE_DEPTH)
		return move_to_top(removal, dir_fd, name);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	if (is_top)
		removal->top_fd = fd;
	r = remove_children(removal, dir, depth);
	if (is_top)
		removal->top_fd = -1;
	closedir(dir);
	if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int remove_entry(struct removal *removal, int dir_fd, const char *name, unsigned depth)
{
	struct stat st;
	int r = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	else if (removal->top_fd >= 0 && st.st_dev != removal->device)
		r = -EBUSY; /* a mount */
	else if (!S_ISDIR(st.st_mode))
		r = unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
	else {
		removal->device = st.st_dev;
		r = remove_directory(removal, dir_fd, name, &st, depth);
	}
	return r;
}

int path_remove_tree(const char *path, struct err *err)
{
	struct removal removal = { .top_fd = -1 };
	int r = remove_entry(&removal, AT_FDCWD, path, 0);

	return r < 0 && r != -ENOENT ? err_set(err, r, "cannot remove '%s': %m", path) : 0;
}

static uint64_t usage_at(int dir_fd, const char *name, unsigned depth)
{
	struct stat st;
	uint64_t total;
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	total = (uint64_t)st.st_blocks * 512;
	if (!S_ISDIR(st.st_mode) || depth > 32)
		return total;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return total;
	}
	while ((entry = readdir(dir)))
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
			total += usage_at(fd, entry->d_name, depth + 1);
	closedir(dir);
	return total;
}

uint64_t path_disk_usage(const char *path)
{
	return usage_at(AT_FDCWD, path, 0);
}
