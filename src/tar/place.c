/* SPDX-License-Identifier: Apache-2.0 */
#include "tar/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "tar/tar.h"

#define LINKS_MAX 40 /* as the kernel has it */

void place_release(struct place *place)
{
	if (place->dir_fd >= 0)
		close(place->dir_fd);
	free(place->name);
	*place = (struct place){ .dir_fd = -1 };
}

int place_open(int root_fd, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
				.resolve = resolve };
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The length of path without the slashes at its end; the root keeps one. */
static size_t trimmed(const char *path)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	return length;
}

/* Where the last component begins in path[0..length). */
static size_t last_component(const char *path, size_t length)
{
	while (length && path[length - 1] != '/')
		length--;
	return length;
}

static bool ends_in(const char *path, const char *component)
{
	size_t length = trimmed(path);
	size_t start = last_component(path, length);

	return length - start == strlen(component) &&
	       memcmp(path + start, component, length - start) == 0;
}

bool place_is_contents(const char *path)
{
	return ends_in(path, "") || ends_in(path, ".");
}

char *place_source_name(const char *path)
{
	size_t length = trimmed(path);
	size_t start = last_component(path, length);

	if (place_is_contents(path) || ends_in(path, ".."))
		return NULL;
	return xstrndup(path + start, length - start);
}

/* Splits at the last slash: the directory ("." or "/" if there is none) and the rest. */
static void split(const char *path, char **ret_directory, char **ret_leaf)
{
	size_t length = trimmed(path);
	size_t start = last_component(path, length);
	size_t end = start;

	while (end > 1 && path[end - 1] == '/')
		end--;
	*ret_directory = end ? xstrndup(path, end) : xstrdup(".");
	*ret_leaf = xstrndup(path + start, length - start);
}

/* The link's target as a path from root_fd on: relative ones begin in the link's directory. */
static char *link_target(const char *directory, const char *target)
{
	return target[0] == '/' ? xstrdup(target) : xasprintf("%s/%s", directory, target);
}

int place_resolve(int root_fd, uint64_t resolve, const char *path, bool follow, char **ret_leaf,
		  struct err *err)
{
	AUTO_FREE char *current = xstrdup(path);

	for (int i = 0; i < LINKS_MAX; i++) {
		AUTO_FREE char *directory = NULL;
		AUTO_FREE char *leaf = NULL;
		AUTO_CLOSE int fd = -1;
		char target[TAR_PATH_MAX + 1];
		size_t length = strlen(current);
		bool must_follow = follow || (length && current[length - 1] == '/');
		ssize_t n;

		if (place_is_contents(current) || ends_in(current, "..")) {
			fd = place_open(root_fd, current, O_PATH | O_DIRECTORY, resolve);
			if (fd < 0)
				return err_set(err, fd, "cannot open '%s': %m", path);
			*ret_leaf = xstrdup("");
			return TAKE_FD(fd);
		}
		split(current, &directory, &leaf);
		fd = place_open(root_fd, directory, O_PATH | O_DIRECTORY, resolve);
		if (fd < 0)
			return err_set(err, fd, "cannot open '%s': %m", path);
		n = must_follow ? readlinkat(fd, leaf, target, sizeof(target)) : -1;
		if (n < 0) {
			*ret_leaf = TAKE_PTR(leaf);
			return TAKE_FD(fd);
		}
		if ((size_t)n == sizeof(target))
			return err_set(err, -ENAMETOOLONG, "cannot open '%s': %m", path);
		target[n] = '\0';
		free(current);
		current = link_target(directory, target);
	}
	return err_set(err, -ELOOP, "cannot open '%s': %m", path);
}

void source_release(struct source *source)
{
	if (source->dir_fd >= 0)
		close(source->dir_fd);
	free(source->leaf);
	free(source->name);
	*source = (struct source){ .dir_fd = -1 };
}

int source_find(int root_fd, uint64_t resolve, const char *path, bool follow,
		struct source *ret_source, struct err *err)
{
	size_t length = strlen(path);
	AUTO_FREE char *leaf = NULL;
	AUTO_CLOSE int fd = place_resolve(root_fd, resolve, path, follow, &leaf, err);
	struct stat st;

	int r = fd < 0 ? fd : 0;

	if (r == 0 && fstatat(fd, leaf, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		r = err_set(err, -errno, "cannot open '%s': %m", path);
	if (r == -ENOENT)
		return err_set(err, r, "path '%s' does not exist", path);
	if (r < 0)
		return r;
	if (path[length - 1] == '/' && !S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "cannot open '%s': %m", path);
	*ret_source = (struct source){ .dir_fd = TAKE_FD(fd),
				       .leaf = TAKE_PTR(leaf),
				       .name = place_source_name(path),
				       .st = st };
	return 0;
}

int place_find(int root_fd, uint64_t resolve, const char *destination, const char *name,
	       struct place *ret_place, struct err *err)
{
	size_t length = strlen(destination);
	bool slash = length && destination[length - 1] == '/';
	AUTO_FREE char *leaf = NULL;
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int directory = place_resolve(root_fd, resolve, destination, true, &leaf, err);
	struct stat st;

	if (directory < 0)
		return directory;
	if (!*leaf) {
		*ret_place = (struct place){ .dir_fd = TAKE_FD(directory), .name = xstrdup(name) };
		return 0;
	}
	if (fstatat(directory, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_set(err, -errno, "cannot open '%s': %m", destination);
	} else if (S_ISDIR(st.st_mode)) {
		/* A mount on it is entered: not so by the descriptor of its directory alone. */
		fd = openat(directory, leaf, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_set(err, -errno, "cannot open '%s': %m", destination);
		*ret_place = (struct place){ .dir_fd = TAKE_FD(fd), .name = xstrdup(name) };
		return 0;
	} else if (slash) {
		return err_set(err, -ENOTDIR, "cannot open '%s': %m", destination);
	}
	*ret_place = (struct place){ .dir_fd = TAKE_FD(directory),
				     .name = TAKE_PTR(leaf),
				     .is_directory = slash };
	return 0;
}
