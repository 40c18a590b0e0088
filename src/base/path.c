/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int r = type == FTW_DP || type == FTW_D ? rmdir(path) : unlink(path);

	(void)st;
	(void)ftw;
	return r < 0 && errno != ENOENT ? -1 : 0;
}

int path_remove_tree(const char *path, struct err *err)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot remove '%s': %m", path);
	return 0;
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
