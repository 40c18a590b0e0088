/* SPDX-License-Identifier: Apache-2.0 */
/* The container's side of mounts.h: its root, seen only through its descriptor until it is "/". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/mounts.h"
#include "guest/sys.h"
#include "guest/timeline.h"
#include "guest/user.h"

#define LINKS_MAX 16
#define SYSCTLS "/proc/sys/"

#define SHM_BYTES_STAGED 67108864 /* the usual size of /dev/shm */
#define SHM_OPTIONS(bytes) SHM_OPTIONS_OF(bytes)
#define SHM_OPTIONS_OF(bytes) "mode=1777,size=" #bytes

/* Where staged things are; kept open by the staged process from the template on. */
#define STAGE_EMPTY MOUNTS_STAGE "/empty"
#define STAGE_NULL MOUNTS_STAGE "/dev/null"

static int make_device_nodes(struct err *err)
{
	static const struct {
		const char *name;
		unsigned major, minor;
	} nodes[] = { { "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
		      { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
	static const char *const links[][2] = {
		{ "/proc/self/fd", "fd" },       { "/proc/self/fd/0", "stdin" },
		{ "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
		{ "/proc/kcore", "core" },       { "pts/ptmx", "ptmx" },
	};
	static const char *const directories[] = { "pts", "shm", "mqueue" };
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(path, sizeof(path), MOUNTS_STAGE "/dev/%s", nodes[i].name);
		if (mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0 ||
		    chmod(path, 0666) < 0)
			return err_set(err, -errno, "cannot make '%s': %m", path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), MOUNTS_STAGE "/dev/%s", links[i][1]);
		if (symlink(links[i][0], path) < 0)
			return err_set(err, -errno, "cannot make '%s': %m", path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		snprintf(path, sizeof(path), MOUNTS_STAGE "/dev/%s", directories[i]);
		if (mkdir(path, 0755) < 0)
			return err_set(err, -errno, "cannot make '%s': %m", path);
	}
	return 0;
}

/* A default path that the kernel has is restricted where it is staged; it moves with its mount. */
static int restrict_staged(const char *path, bool mask_it, struct err *err)
{
	AUTO_FREE char *staged = xasprintf(MOUNTS_STAGE "%s", path);
	struct stat st;
	int r = 0;

	if (stat(staged, &st) < 0)
		return 0;
	if (mask_it) {
		const char *cover = S_ISDIR(st.st_mode) ? STAGE_EMPTY : STAGE_NULL;

		r = mount(cover, staged, NULL, MS_BIND, NULL);
	} else {
		r = mount(staged, staged, NULL, MS_BIND | MS_REC, NULL);
		if (r == 0)
			r = mount(NULL, staged, NULL,
				  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
					  MS_NOEXEC,
				  NULL);
	}
	return r < 0 ? err_set(err, -errno, "cannot restrict '%s': %m", path) : 0;
}

static int restrict_defaults(struct err *err)
{
	int r = 0;

	for (const char *const *it = msg_default_masked_paths; *it && r == 0; it++)
		r = restrict_staged(*it, true, err);
	for (const char *const *it = msg_default_read_only_paths; *it && r == 0; it++)
		r = restrict_staged(*it, false, err);
	return r;
}

/* For a container that wants to see them after all. */
static void unrestrict(const char *const *paths)
{
	for (const char *const *it = paths; *it; it++) {
		AUTO_FREE char *staged = xasprintf(MOUNTS_STAGE "%s", *it);

		umount2(staged, MNT_DETACH); /* those that are not there are not mounted */
	}
}

int mounts_stage(struct err *err)
{
	static const struct {
		const char *type, *target, *data;
		unsigned long flags;
	} mounts[] = {
		{ "tmpfs", "/empty", "mode=755,size=0",
		  MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", NULL, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "cgroup2", "/sys/fs/cgroup", NULL, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "tmpfs", "/dev", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME },
		{ "devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
		  MS_NOSUID | MS_NOEXEC },
		{ "mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "tmpfs", "/dev/shm", SHM_OPTIONS(SHM_BYTES_STAGED),
		  MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "tmpfs", "/files", "mode=755", MS_NOSUID | MS_NODEV | MS_NOEXEC },
	};
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		snprintf(path, sizeof(path), MOUNTS_STAGE "%s", mounts[i].target);
		mkdir(path, 0755); /* some are there */
		/* The flags are of the mount, not of the file system: others see that too. */
		if (mount(mounts[i].type, path, mounts[i].type, mounts[i].flags & ~MS_RDONLY,
			  mounts[i].data) < 0 ||
		    (mounts[i].flags & MS_RDONLY &&
		     mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | mounts[i].flags, NULL) < 0))
			return err_set(err, -errno, "cannot mount '%s': %m", path);
		if (str_eq(mounts[i].target, "/dev") && make_device_nodes(err) < 0)
			return err->code;
	}
	return restrict_defaults(err);
}

/* The parent of path as a new string, "/" at the top. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}

static int make_dirs(int root_fd, const char *path, mode_t mode, unsigned depth);

/* The last component is a link to what does not exist: its target is made, inside the root. */
static int make_link_target(int root_fd, int parent_fd, const char *parent, const char *name,
			    mode_t mode, unsigned depth)
{
	char target[4096];
	ssize_t n = readlinkat(parent_fd, name, target, sizeof(target) - 1);
	AUTO_FREE char *path = NULL;

	if (n < 0)
		return errno == EINVAL ? -ENOTDIR : -errno;
	target[n] = '\0';
	path = target[0] == '/' ? xstrdup(target) : xasprintf("%s/%s", parent, target);
	return make_dirs(root_fd, path, mode, depth + 1);
}

static int make_dirs(int root_fd, const char *path, mode_t mode, unsigned depth)
{
	int fd = sys_open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);

	if (fd != -ENOENT)
		return fd;
	if (depth > LINKS_MAX + strlen(path))
		return -ELOOP;
	AUTO_FREE char *copy = xstrdup(path);
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	AUTO_FREE char *parent = parent_of(copy);
	const char *name = strrchr(copy, '/') ? strrchr(copy, '/') + 1 : copy;
	AUTO_CLOSE int parent_fd =
		str_eq(parent, copy) ? -ENOENT : make_dirs(root_fd, parent, mode, depth + 1);
	if (parent_fd < 0)
		return parent_fd;
	if (mkdirat(parent_fd, name, mode) < 0) {
		if (errno != EEXIST)
			return -errno;
		return make_link_target(root_fd, parent_fd, parent, name, mode, depth);
	}
	return sys_open_in_root(parent_fd, name, O_PATH | O_DIRECTORY, 0);
}

int mounts_make_dirs(int root_fd, const char *path, mode_t mode)
{
	return make_dirs(root_fd, path, mode, 0);
}

/* Attaches what is mounted at a staged place to a directory of the root, which must not be a link:
 * the paths below are ours (masks, limits) and have to mean the same to everyone. */
static int attach_staged(int root_fd, const char *name, struct err *err)
{
	AUTO_FREE char *staged = xasprintf(MOUNTS_STAGE "/%s", name);
	AUTO_CLOSE int from = open(staged, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int to = sys_open_no_links(root_fd, name, O_PATH | O_DIRECTORY);
	int r;

	if (to == -ENOENT && mkdirat(root_fd, name, 0755) == 0)
		to = sys_open_no_links(root_fd, name, O_PATH | O_DIRECTORY);
	if (to < 0)
		return err_set(err, to, "cannot use '/%s' of the image: %m", name);
	r = from < 0 ? -errno : sys_move_mount(from, to);
	return r < 0 ? err_set(err, r, "cannot mount '/%s': %m", name) : 0;
}

/* mount() onto a place known by descriptor. */
static int mount_at(int fd, const char *source, const char *type, unsigned long flags,
		    const char *data)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return mount(source, path, type, flags, data) < 0 ? -errno : 0;
}

static int mount_tmpfs(int target, const struct msg_mount *message)
{
	AUTO_SBUF struct sbuf data = { 0 };
	unsigned long flags =
		mounts_flags(message->options, MS_NOSUID | MS_NODEV | MS_NOEXEC, &data);

	if (message->read_only)
		flags |= MS_RDONLY;
	return mount_at(target, "tmpfs", "tmpfs", flags, data.text);
}

static int attach_bind(int root_fd, const struct msg_mount *mount_message, struct err *err)
{
	AUTO_CLOSE int source = sys_open_in_root(root_fd, mount_message->source, O_PATH, 0);
	AUTO_CLOSE int tree = source < 0 ? source : sys_clone_tree(source, true);
	AUTO_CLOSE int target = -1;
	struct stat st;
	int r;

	if (tree < 0 || fstat(source, &st) < 0)
		return err_set(err, tree < 0 ? tree : -errno, "cannot bind '%s': %m",
			       mount_message->source);
	if (S_ISDIR(st.st_mode)) {
		target = mounts_make_dirs(root_fd, mount_message->target, 0755);
	} else {
		AUTO_FREE char *parent = parent_of(mount_message->target);
		AUTO_CLOSE int dir = mounts_make_dirs(root_fd, parent, 0755);
		int file = dir < 0 ? dir
				   : sys_open_in_root(root_fd, mount_message->target,
						      O_RDONLY | O_CREAT | O_NONBLOCK, 0644);

		if (file >= 0)
			close(file);
		target = sys_open_in_root(root_fd, mount_message->target, O_PATH, 0);
	}
	if (target < 0)
		return err_set(err, target, "cannot make '%s': %m", mount_message->target);
	r = mount_message->read_only ? sys_set_read_only(tree, true) : 0;
	if (r == 0)
		r = sys_move_mount(tree, target);
	return r < 0 ? err_set(err, r, "cannot bind '%s' to '%s': %m", mount_message->source,
			       mount_message->target)
		     : 0;
}

static int open_file_place(int root_fd, const char *path);

/* What is a file of the host has to be mounted on one. */
static int open_target(int root_fd, const struct msg_mount *mount_message, struct err *err)
{
	const char *path = mount_message->target;
	bool is_file =
		mount_message->type == MSG_MOUNT_SOCKET ||
		(mount_message->type == MSG_MOUNT_SHARE && str_eq(mount_message->options, "file"));
	int target =
		is_file ? open_file_place(root_fd, path) : mounts_make_dirs(root_fd, path, 0755);
	struct stat st;

	if (target == -ENOTDIR)
		return err_set(err, target, "cannot mount a directory on '%s', which is none",
			       path);
	if (target < 0)
		return err_set(err, target, "cannot make '%s': %m", path);
	if (is_file && fstat(target, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(target);
		return err_set(err, -EISDIR, "cannot mount a file on '%s', which is a directory",
			       path);
	}
	return target;
}

static int attach_mount(int root_fd, const struct msg_mount *mount_message, int tree,
			struct err *err)
{
	AUTO_CLOSE int target = -1;
	int r;

	if (mount_message->type == MSG_MOUNT_BIND)
		return attach_bind(root_fd, mount_message, err);
	target = open_target(root_fd, mount_message, err);
	if (target < 0)
		return target;
	if (mount_message->type == MSG_MOUNT_TMPFS) {
		r = mount_tmpfs(target, mount_message);
	} else {
		r = mount_message->read_only ? sys_set_read_only(tree, false) : 0;
		if (r == 0)
			r = sys_move_mount(tree, target);
	}
	return r < 0 ? err_set(err, r, "cannot mount '%s': %m", mount_message->target) : 0;
}

int mounts_attach_devices(const struct msg_session *session, struct err *err)
{
	AUTO_CLOSE int root_fd = open(MOUNTS_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root_fd < 0 ? err_set(err, -errno, "cannot open '%s': %m", MOUNTS_ROOT) : 0;

	for (size_t i = 0; i < session->mount_count && r == 0; i++) {
		AUTO_CLOSE int tree = -1;

		if (!mounts_is_device(session->mounts[i].type))
			continue;
		r = tree = mounts_device_copy(i, err);
		if (tree >= 0)
			r = attach_mount(root_fd, &session->mounts[i], tree, err);
	}
	return r < 0 ? r : 0;
}

/* A place for a file of ours: what the image has there (inside the root, wherever links lead), or
 * an empty file. */
static int open_file_place(int root_fd, const char *path)
{
	AUTO_FREE char *parent = parent_of(path);
	int fd = sys_open_in_root(root_fd, path, O_PATH, 0);
	AUTO_CLOSE int dir = -1;

	if (fd != -ENOENT)
		return fd;
	dir = mounts_make_dirs(root_fd, parent, 0755);
	if (dir < 0)
		return dir;
	/* A link that leads nowhere gives way. */
	unlinkat(dir, strrchr(path, '/') + 1, 0);
	AUTO_CLOSE int made =
		openat(dir, strrchr(path, '/') + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return made < 0 ? -errno : sys_open_in_root(root_fd, path, O_PATH, 0);
}

/* The file is kept in memory and bound over its place: the container's disk stays untouched. */
static int place_file(int root_fd, size_t index, const struct msg_file *file,
		      const struct user *user, struct err *err)
{
	char staged[64];
	AUTO_CLOSE int place = open_file_place(root_fd, file->path);
	struct stat st;
	int r;

	snprintf(staged, sizeof(staged), MOUNTS_STAGE "/files/%zu", index);
	if (place < 0 || fstat(place, &st) < 0)
		return err_set(err, place < 0 ? place : -errno, "cannot make '%s': %m", file->path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "cannot write '%s': %m", file->path);
	AUTO_CLOSE int fd = open(staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : fd_write_all(fd, file->content, file->size);
	if (r == 0 && file->for_user && fchown(fd, user->uid, user->gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, file->mode) < 0)
		r = -errno;
	if (r == 0)
		r = mount_at(place, staged, NULL, MS_BIND, NULL);
	return r < 0 ? err_set(err, r, "cannot write '%s': %m", file->path) : 0;
}

/* Through hull-init's proc, which is still here and not restricted; whose namespaces are meant is
 * told by who writes. */
static int set_sysctl(const char *setting, struct err *err)
{
	AUTO_STRV char **parts = str_split(setting, '=', 2);
	AUTO_FREE char *path = xasprintf(SYSCTLS "%s", parts[0]);
	int r = -EINVAL;

	for (char *c = path + strlen(SYSCTLS); *c; c++)
		if (*c == '.')
			*c = '/';
	if (parts[1] && !strstr(path, "//"))
		r = sys_write_file(path, parts[1]);
	return r < 0 ? err_set(err, r, "cannot set sysctl '%s': %m", setting) : 0;
}

static int mask(int root_fd, const char *path, struct err *err)
{
	AUTO_CLOSE int target = sys_open_in_root(root_fd, path, O_PATH, 0);
	struct stat st;
	int r;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return err_set(err, target < 0 ? target : -errno, "cannot mask '%s': %m", path);
	r = S_ISDIR(st.st_mode) ? mount_at(target, STAGE_EMPTY, NULL, MS_BIND, NULL)
				: mount_at(target, "/dev/null", NULL, MS_BIND, NULL);
	return r < 0 ? err_set(err, r, "cannot mask '%s': %m", path) : 0;
}

static int make_read_only(int root_fd, const char *path, struct err *err)
{
	AUTO_CLOSE int target = sys_open_in_root(root_fd, path, O_PATH, 0);
	AUTO_CLOSE int tree = target < 0 ? target : sys_clone_tree(target, true);
	int r;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	r = tree < 0 ? tree : sys_set_read_only(tree, true);
	if (r == 0)
		r = sys_move_mount(tree, target);
	return r < 0 ? err_set(err, r, "cannot make '%s' read-only: %m", path) : 0;
}

static int restrict_paths(int root_fd, const struct msg_session *session, struct err *err)
{
	int r = 0;

	for (char **it = session->masked_paths; it && *it && r == 0; it++)
		r = mask(root_fd, *it, err);
	for (char **it = session->read_only_paths; it && *it && r == 0; it++)
		r = make_read_only(root_fd, *it, err);
	return r;
}

static int attach_kernel(int root_fd, const struct msg_session *session, bool privileged,
			 struct err *err)
{
	char data[64];
	int r;

	snprintf(data, sizeof(data), "size=%llu", (unsigned long long)session->shm_bytes);
	if (session->shm_bytes != SHM_BYTES_STAGED &&
	    mount(NULL, MOUNTS_STAGE "/dev/shm", NULL,
		  MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, data) < 0)
		return err_set(err, -errno, "cannot set the size of '/dev/shm': %m");
	if (!session->default_masked)
		unrestrict(msg_default_masked_paths);
	if (!session->default_read_only)
		unrestrict(msg_default_read_only_paths);
	if (privileged) {
		unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;

		mount(NULL, MOUNTS_STAGE "/sys", NULL, flags, NULL);
		mount(NULL, MOUNTS_STAGE "/sys/fs/cgroup", NULL, flags, NULL);
	}
	r = attach_staged(root_fd, "proc", err);
	if (r == 0)
		r = attach_staged(root_fd, "sys", err);
	if (r == 0)
		r = attach_staged(root_fd, "dev", err);
	return r;
}

static int fill_root(int root_fd, const struct msg_session *session, bool privileged,
		     const int *trees, struct err *err)
{
	struct user user = { 0 };
	int r = 0;

	/* Before the root changes, with which the proc goes that they are written through. */
	for (char **it = session->sysctls; it && *it && r == 0; it++)
		r = set_sysctl(*it, err);
	if (r == 0)
		r = attach_kernel(root_fd, session, privileged, err);
	timeline_point("container: proc, sys, dev attached");
	for (size_t i = 0; i < session->mount_count && r == 0; i++)
		r = attach_mount(root_fd, &session->mounts[i], trees[i], err);
	if (r == 0)
		user_find_in(root_fd, session->process.user, &user);
	for (size_t i = 0; i < session->file_count && r == 0; i++)
		r = place_file(root_fd, i, &session->files[i], &user, err);
	timeline_point("container: mounts and files in place");
	if (r == 0 && !privileged)
		r = restrict_paths(root_fd, session, err);
	timeline_point("container: paths restricted");
	return r;
}

int mounts_enter(const struct msg_session *session, bool privileged, int root_tree,
		 const int *trees, struct err *err)
{
	AUTO_CLOSE int place = open(MOUNTS_NEW_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = place < 0 ? -errno : sys_move_mount(root_tree, place);

	if (r < 0)
		return err_set(err, r, "cannot attach the root file system: %m");
	r = fill_root(root_tree, session, privileged, trees, err);
	if (r < 0)
		return r;
	if (session->root_read_only)
		r = sys_set_read_only(root_tree, false);
	/* With the old root goes all that is hull-init's: nothing of it can be reached from here
	 * on. */
	if (r == 0 && fchdir(root_tree) < 0)
		r = -errno;
	if (r == 0)
		r = sys_pivot_root(".", ".");
	if (r == 0 && (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0))
		r = -errno;
	return r < 0 ? err_set(err, r, "cannot enter the root file system: %m") : 0;
}
