/* SPDX-License-Identifier: Apache-2.0 */
/* Owners, modes, times and sizes. */
#include "share/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define OWNER_XATTR "user.hull.owner"
#define NOBODY 65534

/* What the guest calls the owner of a file. fd (O_PATH or open) is it; -1: nothing is there. */
static void show_owner(const struct share_server *server, int fd, const struct stat *st,
		       uint32_t *ret_uid, uint32_t *ret_gid)
{
	char path[64];
	char text[32];
	ssize_t n;

	*ret_uid = st->st_uid;
	*ret_gid = st->st_gid;
	if (!server->maps)
		return;
	*ret_uid = st->st_uid == server->own_uid ? server->guest_uid : NOBODY;
	*ret_gid = st->st_gid == server->own_gid ? server->guest_gid : NOBODY;
	if (fd < 0 || st->st_uid != server->own_uid ||
	    !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
		return;
	n = getxattr(fs_fd_path(fd, path), OWNER_XATTR, text, sizeof(text) - 1);
	if (n <= 0)
		return;
	text[n] = '\0';
	AUTO_STRV char **parts = str_split(text, ':', 2);
	uint32_t uid = 0;
	uint32_t gid = 0;

	if (parts[1] && str_parse_u32(parts[0], &uid) == 0 && str_parse_u32(parts[1], &gid) == 0) {
		*ret_uid = uid;
		*ret_gid = gid;
	}
}

int attr_set_owner(const struct share_server *server, int fd, uint32_t uid, uint32_t gid)
{
	char path[64];
	char text[32];
	uint32_t now_uid;
	uint32_t now_gid;
	struct stat st = { 0 };

	fs_fd_path(fd, path);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!server->maps)
		return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	show_owner(server, fd, &st, &now_uid, &now_gid);
	uid = uid == UINT32_MAX ? now_uid : uid;
	gid = gid == UINT32_MAX ? now_gid : gid;
	if (uid == now_uid && gid == now_gid)
		return 0;
	if (S_ISLNK(st.st_mode))
		return st.st_uid == server->own_uid ? 0 : -EPERM; /* nothing is kept with it */
	if (st.st_uid != server->own_uid || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		return -EPERM;
	if (uid == server->guest_uid && gid == server->guest_gid)
		return removexattr(path, OWNER_XATTR) < 0 ? -errno : 0;
	snprintf(text, sizeof(text), "%u:%u", uid, gid);
	if (setxattr(path, OWNER_XATTR, text, strlen(text), 0) < 0)
		return errno == ENOTSUP ? -EPERM : -errno;
	return 0;
}

mode_t attr_host_mode(mode_t mode, bool is_dir)
{
	return mode & (is_dir ? 07777u : 01777u);
}

void attr_fill(const struct share *share, int fd, const struct stat *st, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.blksize = (uint32_t)st->st_blksize,
	};
	if (!S_ISBLK(st->st_mode) && !S_ISCHR(st->st_mode))
		show_owner(share->server, fd, st, &attr->uid, &attr->gid);
	else
		attr->uid = attr->gid = NOBODY;
}

/* A name outside that is the same file could be used to change it. */
uint64_t attr_validity(const struct node *node, const struct stat *st)
{
	const struct node *watched = node->is_dir || !node->parent ? node : node->parent;

	if (watched->watch < 0 || (!node->is_dir && st->st_nlink > 1))
		return 0;
	return VALID_SECONDS;
}

void attr_remember(struct node *node, const struct stat *st)
{
	node->changed = st->st_ctim;
	node->size = (uint64_t)st->st_size;
}

static int reply_attr(struct call *call, struct node *node, int fd, const struct stat *st)
{
	struct fuse_attr_out *out = (void *)call->out;

	*out = (struct fuse_attr_out){ .attr_valid = attr_validity(node, st) };
	attr_fill(call->share, fd, st, &out->attr);
	attr_remember(node, st);
	call->out_size = sizeof(*out);
	return 0;
}

int op_getattr(struct call *call)
{
	const struct fuse_getattr_in *arg = call->fixed;
	const struct handle *handle =
		arg->getattr_flags & FUSE_GETATTR_FH ? handle_get(call, arg->fh) : NULL;
	AUTO_CLOSE int opened = -1;
	struct stat st = { 0 };
	int fd = handle ? handle->fd : -1;

	if (fd < 0) {
		fd = opened = fs_open_node(call->share, call->node, &st);
		if (fd < 0)
			return fd;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	return reply_attr(call, call->node, fd, &st);
}

static int set_size(const struct share *share, const struct handle *handle, int path_fd,
		    uint64_t size)
{
	AUTO_CLOSE int opened = -1;
	int fd = handle ? handle->fd : -1;

	if (fd < 0) {
		struct stat st = { 0 };

		/* A device does something when it is opened. */
		if (fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
			return -EINVAL;
		fd = opened = fs_open_again(share, path_fd, O_WRONLY);
	}
	if (fd < 0)
		return fd;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds,
			       uint32_t ns)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (!(valid & set))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	return (struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = (long)ns };
}

static int apply_attr(struct call *call, const struct fuse_setattr_in *arg, int fd,
		      const struct handle *handle, bool is_dir)
{
	struct timespec times[2] = {
		time_of(arg->valid, FATTR_ATIME, FATTR_ATIME_NOW, arg->atime, arg->atimensec),
		time_of(arg->valid, FATTR_MTIME, FATTR_MTIME_NOW, arg->mtime, arg->mtimensec),
	};
	char path[64];
	int r = 0;

	fs_fd_path(fd, path);
	if (arg->valid & (FATTR_UID | FATTR_GID))
		r = attr_set_owner(call->server, fd, arg->valid & FATTR_UID ? arg->uid : UINT32_MAX,
				   arg->valid & FATTR_GID ? arg->gid : UINT32_MAX);
	if (r == 0 && arg->valid & FATTR_MODE && chmod(path, attr_host_mode(arg->mode, is_dir)) < 0)
		r = -errno;
	if (r == 0 && arg->valid & FATTR_SIZE)
		r = set_size(call->share, handle, fd, arg->size);
	if (r == 0 && arg->valid & (FATTR_ATIME | FATTR_MTIME) &&
	    utimensat(AT_FDCWD, path, times, 0) < 0)
		r = -errno;
	return r;
}

int op_setattr(struct call *call)
{
	const struct fuse_setattr_in *arg = call->fixed;
	const struct handle *handle = arg->valid & FATTR_FH ? handle_get(call, arg->fh) : NULL;
	AUTO_CLOSE int opened = -1;
	struct stat st = { 0 };
	int fd = handle ? handle->fd : -1;
	int r = 0;

	if (fd < 0)
		fd = opened = fs_open_node(call->share, call->node, &st);
	if (fd < 0)
		return fd;
	if (!call->echo) {
		own_node(call, call->node);
		own_begin(call);
		r = apply_attr(call, arg, fd, handle, call->node->is_dir);
		own_end(call);
	}
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	return r < 0 ? r : reply_attr(call, call->node, fd, &st);
}

int op_statfs(struct call *call)
{
	struct fuse_statfs_out *out = (void *)call->out;
	struct statvfs st;

	if (fstatvfs(call->share->root_fd, &st) < 0)
		return -errno;
	*out = (struct fuse_statfs_out){
		.st = { .blocks = st.f_blocks,
			.bfree = st.f_bfree,
			.bavail = st.f_bavail,
			.files = st.f_files,
			.ffree = st.f_ffree,
			.bsize = (uint32_t)st.f_bsize,
			.namelen = (uint32_t)st.f_namemax,
			.frsize = (uint32_t)st.f_frsize },
	};
	call->out_size = sizeof(*out);
	return 0;
}
