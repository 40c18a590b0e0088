/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/fill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "guest/sys.h"
#include "proto/share.h"

#define MARKER SHARE_FILLING
#define WAIT_MS 100
#define WAITS_MAX 1200
#define XATTRS_MAX 65536

/* A file with several names, copied under the first. */
struct link {
	dev_t device;
	ino_t inode;
	char *path; /* owned; below the volume */
};

struct filler {
	int volume_fd;          /* borrowed */
	VEC(struct link) links; /* owned */
	char failed[256];       /* what could not be copied */
};

static int copy_entry(struct filler *filler, int from_dir, int to_dir, const char *name,
		      const char *path);

static bool is_dots(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..");
}

static void copy_xattrs(int from, int to)
{
	AUTO_FREE char *names = xcalloc(1, XATTRS_MAX);
	ssize_t size = flistxattr(from, names, XATTRS_MAX);
	AUTO_FREE char *value = size > 0 ? xmalloc(XATTRS_MAX) : NULL;

	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t n = fgetxattr(from, names + at, value, XATTRS_MAX);

		if (n >= 0)
			fsetxattr(to, names + at, value, (size_t)n, 0);
	}
}

/* Owner first: a change of it takes set-id bits and capabilities away. */
static int copy_attributes(int from, int to, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	copy_xattrs(from, to);
	return futimens(to, times) < 0 ? -errno : 0;
}

static int copy_data(int from, int to, off_t size)
{
	while (size > 0) {
		ssize_t n = sendfile(to, from, NULL,
				     (size_t)size < (1u << 24) ? (size_t)size : (1u << 24));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		size -= n;
	}
	return 0;
}

static int copy_regular(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	AUTO_CLOSE int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_CLOSE int to =
		from < 0 ? -1 : openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = to < 0 ? -errno : copy_data(from, to, st->st_size);

	return r < 0 ? r : copy_attributes(from, to, st);
}

static int copy_link(int from_dir, int to_dir, const char *name)
{
	char target[4096];
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, to_dir, name) < 0 ? -errno : 0;
}

/* Those that cannot be opened: links, devices, pipes. */
static int copy_special(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r = S_ISLNK(st->st_mode) ? copy_link(from_dir, to_dir, name)
		: mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0 ? -errno
								      : 0;

	if (r == 0 &&
	    (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	     (!S_ISLNK(st->st_mode) && fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0) ||
	     utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0))
		r = -errno;
	return r;
}

static int copy_entries(struct filler *filler, int from, int to, const char *path)
{
	int listed = fcntl(from, F_DUPFD_CLOEXEC, 0);
	DIR *dir = listed < 0 ? NULL : fdopendir(listed);
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (listed >= 0)
			close(listed);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		AUTO_FREE char *below = xasprintf("%s%s%s", path, *path ? "/" : "", entry->d_name);

		if (!is_dots(entry->d_name))
			r = copy_entry(filler, from, to, entry->d_name, below);
	}
	if (r == 0)
		r = -errno; /* of a damaged disk */
	closedir(dir);
	return r;
}

static int copy_directory(struct filler *filler, int from_dir, int to_dir, const char *name,
			  const char *path, const struct stat *st)
{
	AUTO_CLOSE int from =
		openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_CLOSE int to = -1;
	int r;

	if (from < 0 || mkdirat(to_dir, name, 0700) < 0)
		return -errno;
	to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = to < 0 ? -errno : copy_entries(filler, from, to, path);
	return r < 0 ? r : copy_attributes(from, to, st);
}

/* -ENOENT: it has no other name that was copied. */
static int copy_hard_link(const struct filler *filler, int to_dir, const char *name,
			  const struct stat *st)
{
	VEC_EACH (&filler->links, it)
		if (it->inode == st->st_ino && it->device == st->st_dev)
			return linkat(filler->volume_fd, it->path, to_dir, name, 0) < 0 ? -errno
											: 0;
	return -ENOENT;
}

static int copy_entry(struct filler *filler, int from_dir, int to_dir, const char *name,
		      const char *path)
{
	struct stat st;
	int r = fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	bool several = r == 0 && st.st_nlink > 1 && !S_ISDIR(st.st_mode);

	if (r == 0 && S_ISDIR(st.st_mode))
		r = copy_directory(filler, from_dir, to_dir, name, path, &st);
	else if (r == 0 && (!several || (r = copy_hard_link(filler, to_dir, name, &st)) == -ENOENT))
		r = S_ISREG(st.st_mode) ? copy_regular(from_dir, to_dir, name, &st)
					: copy_special(from_dir, to_dir, name, &st);
	if (r == -EPERM && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
		return 0; /* there are none on a directory of the host */
	if (r == 0 && several)
		VEC_PUSH(&filler->links, ((struct link){ st.st_dev, st.st_ino, xstrdup(path) }));
	if (r < 0 && !filler->failed[0])
		snprintf(filler->failed, sizeof(filler->failed), "%s", path);
	return r;
}

static int remove_entries(int dir_fd);

static int remove_entry(int dir_fd, const char *name)
{
	AUTO_CLOSE int child = -1;
	int r;

	if (unlinkat(dir_fd, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return -errno;
	child = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = child < 0 ? -errno : remove_entries(child);
	if (r < 0)
		return r;
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* The marker stays until all else is gone. */
static int remove_entries(int dir_fd)
{
	int listed = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = listed < 0 ? NULL : fdopendir(listed);
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (listed >= 0)
			close(listed);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)))
		if (!is_dots(entry->d_name) && !str_eq(entry->d_name, MARKER) &&
		    !str_eq(entry->d_name, "lost+found"))
			r = remove_entry(dir_fd, entry->d_name);
	if (r == 0)
		r = -errno;
	closedir(dir);
	return r;
}

/* 1: nothing is in it, or the beginning of a copy; 0: something is; or negative errno. */
static int is_to_be_filled(int volume_fd)
{
	AUTO_CLOSE int marker = openat(volume_fd, MARKER, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int listed = fcntl(volume_fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = listed < 0 ? NULL : fdopendir(listed);
	const struct dirent *entry;
	bool empty = true;
	int r;

	if (!dir) {
		if (listed >= 0)
			close(listed);
		return -errno;
	}
	while (errno = 0, (entry = readdir(dir)))
		if (!is_dots(entry->d_name) && !str_eq(entry->d_name, "lost+found"))
			empty = false;
	r = -errno;
	closedir(dir);
	if (r < 0)
		return r; /* what cannot be read is not empty */
	lseek(volume_fd, 0, SEEK_SET);
	return empty || marker >= 0;
}

static int copy_all(struct filler *filler, int from)
{
	struct stat st = { 0 };
	int r = remove_entries(filler->volume_fd);

	if (r == 0 && mkdirat(filler->volume_fd, MARKER, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0)
		r = copy_entries(filler, from, filler->volume_fd, "");
	if (r == 0 && syncfs(filler->volume_fd) < 0)
		r = -errno;
	if (r == 0 && unlinkat(filler->volume_fd, MARKER, AT_REMOVEDIR) < 0)
		r = -errno;
	if (r == 0 && fstat(from, &st) < 0)
		r = -errno;
	return r < 0 ? r : copy_attributes(from, filler->volume_fd, &st);
}

int fill_volume(const char *root, const char *target, const char *volume, struct err *err)
{
	AUTO_CLOSE int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int volume_fd = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int from =
		root_fd < 0 ? -EBADF : sys_open_in_root(root_fd, target, O_RDONLY | O_DIRECTORY, 0);
	struct filler filler = { .volume_fd = volume_fd };
	int r = volume_fd < 0 ? -errno : is_to_be_filled(volume_fd);

	if (r == 0 || from == -ENOENT || from == -ENOTDIR)
		return 0;
	if (r > 0)
		r = from < 0 ? from : copy_all(&filler, from);
	VEC_EACH (&filler.links, it)
		free(it->path);
	VEC_FREE(&filler.links);
	return r < 0 ? err_set(err, r, "cannot copy '%s%s%s' of the image to its volume: %m",
			       target, filler.failed[0] ? "/" : "", filler.failed)
		     : 0;
}

void fill_end(const char *volume)
{
	AUTO_FREE char *marker = xasprintf("%s/%s", volume, MARKER);

	rmdir(marker);
}

int fill_wait(const char *target, const char *volume, struct err *err)
{
	AUTO_FREE char *marker = xasprintf("%s/%s", volume, MARKER);

	for (int i = 0; access(marker, F_OK) == 0; i++) {
		if (i == WAITS_MAX)
			return err_set(err, -ETIMEDOUT,
				       "the volume at '%s' is not filled yet by the container that "
				       "began it: stop all that use it, and start one",
				       target);
		poll(NULL, 0, WAIT_MS);
	}
	return 0;
}
