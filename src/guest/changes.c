/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "guest/sys.h"
#include "tar/pack.h"

#define OPAQUE "trusted.overlay.opaque"

struct list {
	const struct changes *changes; /* borrowed */
	tar_write_fn write;
	void *ctx;
	struct sbuf path; /* of the entry, from the root on, with a slash before it */
	size_t told;      /* the first bytes of path are of directories that were told */
};

/* --- places --- */

/* Whether a path of the session (absolute) is path, or below it. */
static bool leads_to(const char *absolute, const char *path)
{
	size_t length = strlen(path);

	while (*absolute == '/')
		absolute++;
	return strncmp(absolute, path, length) == 0 &&
	       (absolute[length] == '\0' || absolute[length] == '/');
}

static bool is_place(const struct changes *changes, const char *path, const struct stat *st)
{
	static const char *const kernels[] = { "proc", "sys", "dev" };

	if (!S_ISDIR(st->st_mode) && !(S_ISREG(st->st_mode) && st->st_size == 0))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (str_eq(path, kernels[i]))
			return true;
	for (size_t i = 0; i < changes->session->mount_count; i++)
		if (leads_to(changes->session->mounts[i].target, path))
			return true;
	for (size_t i = 0; i < changes->session->file_count; i++)
		if (leads_to(changes->session->files[i].path, path))
			return true;
	return false;
}

/* What the image has at path. False: nothing, as far as links do not lead there. */
static bool look_below(const struct changes *changes, const char *path, struct stat *ret_st)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	AUTO_CLOSE int fd = sys_open_no_links(changes->lower_fd, parent, O_PATH | O_DIRECTORY);

	return fd >= 0 && fstatat(fd, slash ? slash + 1 : path, ret_st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_empty(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0;

	if (!dir)
		return false;
	errno = 0;
	while (readdir(dir))
		count++;
	bool readable = errno == 0;
	closedir(dir);
	return readable && count <= 2; /* . and .. */
}

bool changes_skip(void *ctx, int dir_fd, const char *name, const char *path, const struct stat *st)
{
	const struct changes *changes = ctx;
	struct stat below;

	return *path && is_place(changes, path, st) && !look_below(changes, path, &below) &&
	       (!S_ISDIR(st->st_mode) || is_empty(dir_fd, name));
}

/* --- the list --- */

static int tell(struct list *list, char kind, struct err *err)
{
	int r = list->write(list->ctx, &kind, 1);

	if (r == 0)
		r = list->write(list->ctx, list->path.text, list->path.length + 1);
	return r < 0 ? err_set(err, r, "cannot write the list: %m") : 0;
}

/* Before the first change in a directory that is itself unchanged, that it is changed. */
static int tell_parents(struct list *list, struct err *err)
{
	char *text = list->path.text;
	size_t end = list->path.length;

	while (list->told < end) {
		const char *slash = strchr(text + list->told + 1, '/');
		int r;

		if (!slash)
			break;
		list->path.length = (size_t)(slash - text);
		text[list->path.length] = '\0';
		r = tell(list, 'C', err);
		text[list->path.length] = '/';
		list->told = list->path.length;
		list->path.length = end;
		if (r < 0)
			return r;
	}
	return 0;
}

static int change(struct list *list, char kind, struct err *err)
{
	int r = tell_parents(list, err);

	return r < 0 ? r : tell(list, kind, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted; owned by the caller. */
static int read_names(int dir_fd, char ***ret_names)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0;
	size_t capacity = 32;
	struct dirent *entry;

	if (!dir)
		return -errno;
	AUTO_STRV char **names = xcalloc(capacity, sizeof(*names));
	while (errno = 0, (entry = readdir(dir))) {
		if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
			continue;
		if (count + 1 == capacity) {
			capacity *= 2;
			names = xrealloc(names, capacity, sizeof(*names));
		}
		names[count++] = xstrdup(entry->d_name);
	}
	names[count] = NULL;
	int r = -errno; /* of a damaged disk */
	closedir(dir);
	if (r < 0)
		return r;
	qsort(names, count, sizeof(*names), by_name);
	*ret_names = TAKE_PTR(names);
	return 0;
}

static void push_name(struct list *list, const char *name)
{
	sbuf_addf(&list->path, "/%s", name);
}

static void pop_name(struct list *list, size_t length)
{
	list->path.length = length;
	if (list->path.text)
		list->path.text[length] = '\0';
	if (list->told > length)
		list->told = length;
}

static int list_directory(struct list *list, int dir_fd, bool in_image, int depth, struct err *err);

/* What the image has in an opaque directory is gone, but for names that are there again. */
static int list_hidden(struct list *list, int dir_fd, struct err *err)
{
	AUTO_CLOSE int lower = sys_open_no_links(list->changes->lower_fd, list->path.text + 1,
						 O_RDONLY | O_DIRECTORY);
	AUTO_STRV char **names = NULL;
	size_t length = list->path.length;
	int r = 0;

	if (lower < 0 || read_names(lower, &names) < 0)
		return 0; /* the image has no directory there */
	STRV_EACH (names, it) {
		struct stat st;

		if (r < 0 || fstatat(dir_fd, *it, &st, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		push_name(list, *it);
		r = change(list, 'D', err);
		pop_name(list, length);
	}
	return r;
}

static bool same_attributes(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid;
}

static int list_entry(struct list *list, int dir_fd, const char *name, bool in_image, int depth,
		      struct err *err)
{
	const char *path = list->path.text + 1;
	AUTO_CLOSE int fd = -1;
	struct stat st;
	struct stat below;
	char opaque = 0;
	int r = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_set(err, -errno, "cannot look at '%s': %m", path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0))
		return change(list, 'D', err);
	in_image = in_image && look_below(list->changes, path, &below);
	if (!S_ISDIR(st.st_mode))
		return !in_image && is_place(list->changes, path, &st)
			       ? 0
			       : change(list, in_image ? 'C' : 'A', err);
	/* A directory that is there only for what is in it is told with the first of that. */
	if (in_image ? !S_ISDIR(below.st_mode) || !same_attributes(&st, &below)
		     : !is_place(list->changes, path, &st)) {
		r = change(list, in_image ? 'C' : 'A', err);
		list->told = list->path.length;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = err_set(err, -errno, "cannot open '%s': %m", path);
	if (r < 0)
		return r;
	if (in_image && fgetxattr(fd, OPAQUE, &opaque, 1) == 1 && opaque == 'y')
		r = list_hidden(list, fd, err);
	return r < 0 ? r
		     : list_directory(list, fd, in_image && S_ISDIR(below.st_mode), depth + 1, err);
}

static int list_directory(struct list *list, int dir_fd, bool in_image, int depth, struct err *err)
{
	AUTO_STRV char **names = NULL;
	size_t length = list->path.length;
	int r = read_names(dir_fd, &names);

	if (r < 0)
		return err_set(err, r, "cannot read the directory '%s': %m",
			       str_or(list->path.text, "/"));
	if (depth > PACK_DEPTH_MAX)
		return err_set(err, -ELOOP, "directories nested more than %d deep", PACK_DEPTH_MAX);
	STRV_EACH (names, it) {
		if (r < 0)
			break;
		push_name(list, *it);
		r = list_entry(list, dir_fd, *it, in_image, depth, err);
		pop_name(list, length);
	}
	return r;
}

int changes_list(const struct changes *changes, int upper_fd, tar_write_fn write, void *ctx,
		 struct err *err)
{
	struct list list = { .changes = changes, .write = write, .ctx = ctx };
	int r = list_directory(&list, upper_fd, true, 0, err);

	sbuf_release(&list.path);
	return r;
}
