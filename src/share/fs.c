/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of FUSE (linux/fuse.h, protocol 7.31 and later) on a share. A request has come
 * from a hostile kernel: its fixed part is copied before it is used, its names are checked here,
 * once, and its handles and nodes are looked up in this server's own tables.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "share/internal.h"

#define MINOR_MIN 31
#define MINOR 36
#define NO_REPLY 1
#define VALID_SECONDS                                                               \
	10 /* of what is watched; changes are told at once but by mmap or from afar \
	    */
#define NAME_LENGTH_MAX 255
#define TARGET_MAX 4095
#define OWNER_XATTR "user.hull.owner"
#define NOBODY 65534
#define COPY_MAX (64 << 20) /* of one COPY_FILE_RANGE: others wait meanwhile */
#define FIXED_MAX 128
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)

struct call {
	struct share *share;
	struct share_server *server;
	const struct fuse_in_header *in;
	struct node *node;
	const void *fixed; /* aligned copy of the fixed part */
	const char *name;  /* of the operations that have names */
	const char *name2;
	const uint8_t *data; /* of WRITE and BATCH_FORGET */
	size_t data_size;
	uint8_t *out; /* room for SHARE_WRITE_MAX bytes and more */
	size_t out_size;
	bool echo; /* the task that repeats what happened here: nothing is done for it */
	struct watch_own own;
};

/* --- nodes and descriptors --- */

void fs_unwatch(void *ctx, int watch)
{
	const struct share *share = ctx;
	const struct share_server *server = share->server;

	for (size_t i = 0; i < server->share_count; i++)
		if (node_find_watch(&server->shares[i].nodes, watch))
			return; /* the same directory, shared twice */
	inotify_rm_watch(server->events, watch);
}

void fs_use(struct node *node)
{
	node->uses++;
}

void fs_unuse(struct share *share, struct node *node)
{
	node->uses--;
	node_drop(&share->nodes, node, fs_unwatch, share);
}

static void forget(struct share *share, uint64_t id, uint64_t count)
{
	struct node *node = node_find(&share->nodes, id);

	if (!node || id == NODE_ROOT)
		return;
	node->lookups -= count < node->lookups ? count : node->lookups;
	node_drop(&share->nodes, node, fs_unwatch, share);
}

int fs_open_node(const struct share *share, const struct node *node, struct stat *ret_stat)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];
	struct stat st = { 0 };

	if (!node->parent) {
		fd = fcntl(share->root_fd, F_DUPFD_CLOEXEC, 0);
	} else {
		int r = node_path(node, path, sizeof(path));

		if (r < 0)
			return r;
		fd = (int)syscall(SYS_openat2, share->root_fd, path, &how, sizeof(how));
	}
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV
			       ? -ESTALE
			       : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!node_is(node, &st))
		return -ESTALE;
	if (ret_stat)
		*ret_stat = st;
	return TAKE_FD(fd);
}

static const char *fd_path(int fd, char out[64])
{
	snprintf(out, 64, "/proc/self/fd/%d", fd);
	return out;
}

/* Opens what an O_PATH descriptor is: nothing can come in its place. */
static int reopen(int path_fd, int flags)
{
	char path[64];
	int fd = open(fd_path(path_fd, path), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static struct handle *handle_get(struct call *call, uint64_t fh)
{
	struct handle *handle =
		fh < call->server->handles.count ? &call->server->handles.items[fh] : NULL;

	return handle && handle->share == call->share && handle->node == call->node ? handle : NULL;
}

static int handle_new(struct call *call, struct node *node, int fd, uint64_t *ret_fh)
{
	struct share_server *server = call->server;
	size_t i = server->handle_hint;

	while (i < server->handles.count && server->handles.items[i].share)
		i++;
	if (i == HANDLES_MAX)
		return -ENFILE;
	if (i == server->handles.count)
		VEC_PUSH(&server->handles, (struct handle){ 0 });
	server->handles.items[i] = (struct handle){ call->share, node, fd };
	server->handle_hint = i + 1;
	fs_use(node);
	*ret_fh = i;
	return 0;
}

/* --- changes of our own --- */

static void own_place(struct call *call, const struct node *dir, const char *name)
{
	struct watch_own *own = &call->own;

	if (!dir || dir->watch < 0 || own->count == ARRAY_SIZE(own->places))
		return;
	own->share = call->share;
	own->places[own->count].watch = dir->watch;
	own->places[own->count++].name = name;
}

static void own_node(struct call *call, const struct node *node)
{
	own_place(call, node->parent, node->name);
	if (node->is_dir || !node->parent)
		own_place(call, node, "");
}

/* What others have done so far is told as theirs. */
static void own_begin(struct call *call)
{
	watch_drain(call->server, NULL);
}

static void own_end(struct call *call)
{
	watch_drain(call->server, &call->own);
}

/* --- owners and attributes --- */

/* What the guest calls the owner of a file: path is one that reaches it without following it. */
static void show_owner(const struct share_server *server, const struct stat *st, const char *path,
		       uint32_t *ret_uid, uint32_t *ret_gid)
{
	char text[32];
	ssize_t n;

	*ret_uid = st->st_uid;
	*ret_gid = st->st_gid;
	if (!server->maps)
		return;
	*ret_uid = st->st_uid == server->own_uid ? server->guest_uid : NOBODY;
	*ret_gid = st->st_gid == server->own_gid ? server->guest_gid : NOBODY;
	if (st->st_uid != server->own_uid || !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)))
		return;
	n = getxattr(path, OWNER_XATTR, text, sizeof(text) - 1);
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

/* Makes it the guest's uid and gid ((uint32_t)-1: as it is). fd is O_PATH or open. */
static int set_owner(const struct share_server *server, int fd, uint32_t uid, uint32_t gid)
{
	char path[64];
	char text[32];
	uint32_t now_uid;
	uint32_t now_gid;
	struct stat st = { 0 };

	fd_path(fd, path);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!server->maps)
		return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	show_owner(server, &st, path, &now_uid, &now_gid);
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

static void fill_attr(const struct share *share, const struct stat *st, const char *path,
		      struct fuse_attr *attr)
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
		show_owner(share->server, st, path, &attr->uid, &attr->gid);
	else
		attr->uid = attr->gid = NOBODY;
}

/* How long the guest may keep what it is told of a node: a name outside that is the same file could
 * be used to change it. */
static uint64_t validity(const struct node *node, const struct stat *st)
{
	const struct node *watched = node->is_dir || !node->parent ? node : node->parent;

	if (watched->watch < 0 || (!node->is_dir && st->st_nlink > 1))
		return 0;
	return VALID_SECONDS;
}

static void remember(struct node *node, const struct stat *st)
{
	node->changed = st->st_ctim;
	node->size = (uint64_t)st->st_size;
}

static int reply_attr(struct call *call, struct node *node, int fd, const struct stat *st)
{
	struct fuse_attr_out *out = (void *)call->out;
	char path[64];

	*out = (struct fuse_attr_out){ .attr_valid = validity(node, st) };
	fill_attr(call->share, st, fd_path(fd, path), &out->attr);
	remember(node, st);
	call->out_size = sizeof(*out);
	return 0;
}

/* Fills in what the guest is told of a name and counts that it was. dir_fd: of the parent. */
static int fill_entry(struct call *call, struct node *dir, int dir_fd, const char *name,
		      const struct stat *st, struct fuse_entry_out *out)
{
	struct node *node = node_get(&call->share->nodes, dir, name, st);
	char path[64 + NAME_LENGTH_MAX + 1];

	if (!node)
		return -ENFILE;
	if (node->is_dir && node->watch < 0) {
		AUTO_CLOSE int fd =
			openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0)
			watch_add(call->share, node, fd);
	}
	node->lookups++;
	*out = (struct fuse_entry_out){
		.nodeid = node->id,
		.entry_valid = dir->watch >= 0 ? VALID_SECONDS : 0,
		.attr_valid = validity(node, st),
	};
	/* Owners are kept with files and directories alone: no link is followed here. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	fill_attr(call->share, st, path, &out->attr);
	remember(node, st);
	return 0;
}

static int reply_entry(struct call *call, int dir_fd, const char *name)
{
	struct stat st = { 0 };
	int r;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	r = fill_entry(call, call->node, dir_fd, name, &st, (void *)call->out);
	if (r == 0)
		call->out_size = sizeof(struct fuse_entry_out);
	return r;
}

/* --- operations on names --- */

/* The echoing task finds what it needs to find, so that it can do what was done. */
static int echo_lookup(struct call *call)
{
	struct fuse_entry_out *out = (void *)call->out;
	const struct note *note =
		watch_find_note(call->server, SHARE_ECHO_DELETE, call->node, call->name);

	if (note) {
		note->node->lookups++;
		*out = (struct fuse_entry_out){ .nodeid = note->node->id };
		fill_attr(call->share, &note->st, "", &out->attr);
		call->out_size = sizeof(*out);
		return 0;
	}
	if (watch_find_note(call->server, SHARE_ECHO_CREATE, call->node, call->name))
		return -ENOENT;
	return NO_REPLY;
}

static int op_lookup(struct call *call)
{
	AUTO_CLOSE int dir = fs_open_node(call->share, call->node, NULL);
	int r = call->echo ? echo_lookup(call) : NO_REPLY;

	if (r != NO_REPLY)
		return r;
	if (dir < 0)
		return dir;
	r = reply_entry(call, dir, call->name);
	if (r == -ENOENT && call->node->watch >= 0) {
		/* That there is none is known as long as anything else is. */
		*(struct fuse_entry_out *)(void *)call->out =
			(struct fuse_entry_out){ .entry_valid = VALID_SECONDS };
		call->out_size = sizeof(struct fuse_entry_out);
		return 0;
	}
	return r;
}

/* Who makes something owns it. */
static void give(struct call *call, int dir_fd, const char *name)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st = { 0 };
	uint32_t gid = call->in->gid;

	if (fd < 0)
		return;
	if (fstat(dir_fd, &st) == 0 && st.st_mode & S_ISGID)
		gid = UINT32_MAX;
	set_owner(call->server, fd, call->in->uid, gid);
}

/* Of the mode that is asked for, what may be on the host: nobody gets there rights of another. */
static mode_t host_mode(mode_t mode, bool is_dir)
{
	return mode & (is_dir ? 07777u : 01777u);
}

static int made(struct call *call, int dir_fd, int result)
{
	int error = errno;

	if (result == 0)
		give(call, dir_fd, call->name);
	own_end(call);
	return result < 0 ? -error : reply_entry(call, dir_fd, call->name);
}

static int begin_make(struct call *call)
{
	int dir = fs_open_node(call->share, call->node, NULL);

	own_place(call, call->node, call->name);
	own_begin(call);
	return dir;
}

static int op_mknod(struct call *call)
{
	const struct fuse_mknod_in *arg = call->fixed;
	mode_t type = arg->mode & S_IFMT;
	AUTO_CLOSE int dir = begin_make(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return reply_entry(call, dir, call->name);
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM; /* a device of the guest is none of the host's */
	return made(call, dir, mknodat(dir, call->name, type | host_mode(arg->mode, false), 0));
}

static int op_mkdir(struct call *call)
{
	const struct fuse_mkdir_in *arg = call->fixed;
	AUTO_CLOSE int dir = begin_make(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return reply_entry(call, dir, call->name);
	return made(call, dir, mkdirat(dir, call->name, host_mode(arg->mode, true)));
}

static int op_symlink(struct call *call)
{
	AUTO_CLOSE int dir = begin_make(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return reply_entry(call, dir, call->name);
	return made(call, dir, symlinkat(call->name2, dir, call->name));
}

static int link_to(struct call *call, const struct node *old)
{
	AUTO_CLOSE int from = fs_open_node(call->share, old, NULL);
	AUTO_CLOSE int dir = begin_make(call);
	char path[64];
	int r;

	if (from < 0 || dir < 0)
		return from < 0 ? from : dir;
	own_node(call, old);
	r = linkat(AT_FDCWD, fd_path(from, path), dir, call->name, AT_SYMLINK_FOLLOW);
	if (r < 0)
		r = -errno;
	own_end(call);
	return r < 0 ? r : reply_entry(call, dir, call->name);
}

/* The second node of a request is used, too: what others do is taken in between, and drops nodes.
 */
static int op_link(struct call *call)
{
	const struct fuse_link_in *arg = call->fixed;
	struct node *old = node_find(&call->share->nodes, arg->oldnodeid);
	int r;

	if (!old)
		return -ESTALE;
	fs_use(old);
	r = link_to(call, old);
	fs_unuse(call->share, old);
	return r;
}

static int remove_name(struct call *call, int flags)
{
	struct node *node;
	AUTO_CLOSE int dir = -1;
	int r;

	if (call->echo)
		return 0;
	dir = begin_make(call);
	if (dir < 0)
		return dir;
	r = unlinkat(dir, call->name, flags) < 0 ? -errno : 0;
	node = node_find_child(&call->share->nodes, call->node, call->name);
	if (r == 0 && node) {
		if (node->is_dir)
			own_place(call, node, "");
		node_detach(&call->share->nodes, node);
	}
	own_end(call);
	return r;
}

static int op_unlink(struct call *call)
{
	return remove_name(call, 0);
}

static int op_rmdir(struct call *call)
{
	return remove_name(call, AT_REMOVEDIR);
}

static int rename_in(struct call *call, struct node *to, unsigned flags)
{
	struct node_table *nodes = &call->share->nodes;
	AUTO_CLOSE int from_fd = begin_make(call);
	AUTO_CLOSE int to_fd = fs_open_node(call->share, to, NULL);
	struct node *node;
	struct node *other;

	if (from_fd < 0 || to_fd < 0)
		return from_fd < 0 ? from_fd : to_fd;
	own_place(call, to, call->name2);
	if (syscall(SYS_renameat2, from_fd, call->name, to_fd, call->name2, flags) < 0) {
		int error = errno;

		own_end(call);
		return -error;
	}
	node = node_find_child(nodes, call->node, call->name);
	other = node_find_child(nodes, to, call->name2);
	if (node && node == other) {
		own_end(call); /* two names of one file: nothing happens */
		return 0;
	}
	if (other && flags & RENAME_EXCHANGE) {
		node_detach(nodes, other);
		if (node)
			node_move(nodes, node, to, call->name2);
		node_move(nodes, other, call->node, call->name);
	} else if (node) {
		node_move(nodes, node, to, call->name2);
	} else if (other) {
		node_detach(nodes, other);
	}
	own_end(call);
	return 0;
}

static int rename_to(struct call *call, uint64_t new_dir, unsigned flags)
{
	struct node *to = node_find(&call->share->nodes, new_dir);
	int r;

	if (!to)
		return -ESTALE;
	fs_use(to);
	r = rename_in(call, to, flags);
	fs_unuse(call->share, to);
	return r;
}

static int op_rename(struct call *call)
{
	const struct fuse_rename_in *arg = call->fixed;

	return rename_to(call, arg->newdir, 0);
}

static int op_rename2(struct call *call)
{
	const struct fuse_rename2_in *arg = call->fixed;

	if (arg->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return rename_to(call, arg->newdir, arg->flags);
}

/* --- attributes --- */

static int op_getattr(struct call *call)
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

static int set_size(const struct handle *handle, int path_fd, uint64_t size)
{
	AUTO_CLOSE int opened = -1;
	int fd = handle ? handle->fd : -1;

	if (fd < 0) {
		struct stat st = { 0 };

		/* A device does something when it is opened. */
		if (fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
			return -EINVAL;
		fd = opened = reopen(path_fd, O_WRONLY);
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

	fd_path(fd, path);
	if (arg->valid & (FATTR_UID | FATTR_GID))
		r = set_owner(call->server, fd, arg->valid & FATTR_UID ? arg->uid : UINT32_MAX,
			      arg->valid & FATTR_GID ? arg->gid : UINT32_MAX);
	if (r == 0 && arg->valid & FATTR_MODE && chmod(path, host_mode(arg->mode, is_dir)) < 0)
		r = -errno;
	if (r == 0 && arg->valid & FATTR_SIZE)
		r = set_size(handle, fd, arg->size);
	if (r == 0 && arg->valid & (FATTR_ATIME | FATTR_MTIME) &&
	    utimensat(AT_FDCWD, path, times, 0) < 0)
		r = -errno;
	return r;
}

static int op_setattr(struct call *call)
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

static int op_readlink(struct call *call)
{
	AUTO_CLOSE int fd = fs_open_node(call->share, call->node, NULL);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", (char *)call->out, TARGET_MAX);
	if (n < 0)
		return -errno;
	call->out_size = (size_t)n;
	return 0;
}

static int op_statfs(struct call *call)
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

/* --- files --- */

/* Opens a regular file by what an O_PATH descriptor says it is. */
static int open_regular(int path_fd, uint32_t flags, const struct share *share)
{
	struct stat st = { 0 };
	int fd;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES; /* what is not is opened in the guest alone */
	if (share->read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	fd = reopen(path_fd, (int)(flags & OPEN_FLAGS));
	if (fd >= 0 && flags & O_TRUNC && ftruncate(fd, 0) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

static int reply_open(struct call *call, struct node *node, int fd, bool same,
		      struct fuse_open_out *out)
{
	int r;

	*out = (struct fuse_open_out){ .open_flags =
					       FOPEN_NOFLUSH | (same ? FOPEN_KEEP_CACHE : 0u) };
	r = handle_new(call, node, fd, &out->fh);
	if (r < 0 && fd >= 0)
		close(fd);
	return r;
}

/* The guest may keep the pages it has if nothing has changed since it was told of the file. */
static bool is_unchanged(struct node *node, int fd)
{
	struct stat st = { 0 };
	bool same = fstat(fd, &st) == 0 && st.st_nlink == 1 &&
		    st.st_ctim.tv_sec == node->changed.tv_sec &&
		    st.st_ctim.tv_nsec == node->changed.tv_nsec &&
		    (uint64_t)st.st_size == node->size;

	if (!same)
		remember(node, &st);
	return same;
}

static int op_open(struct call *call)
{
	const struct fuse_open_in *arg = call->fixed;
	AUTO_CLOSE int path_fd = -1;
	int fd;

	if (call->echo) {
		call->out_size = sizeof(struct fuse_open_out);
		return reply_open(call, call->node, -1, true, (void *)call->out);
	}
	/* What others have written by now is what is read. */
	own_node(call, call->node);
	own_begin(call);
	path_fd = fs_open_node(call->share, call->node, NULL);
	if (path_fd < 0)
		return path_fd;
	fd = open_regular(path_fd, arg->flags, call->share);
	own_end(call);
	if (fd < 0)
		return fd;
	call->out_size = sizeof(struct fuse_open_out);
	return reply_open(call, call->node, fd, is_unchanged(call->node, fd), (void *)call->out);
}

/* Creates it, or opens what somebody else has created meanwhile. */
static int create_or_open(struct call *call, const struct fuse_create_in *arg, int dir_fd)
{
	int fd = openat(dir_fd, call->name,
			(int)(arg->flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
				O_NOCTTY,
			host_mode(arg->mode, false));
	AUTO_CLOSE int path_fd = -1;

	if (fd >= 0) {
		give(call, dir_fd, call->name);
		return fd;
	}
	if (errno != EEXIST || arg->flags & O_EXCL)
		return -errno;
	path_fd = openat(dir_fd, call->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return path_fd < 0 ? -errno : open_regular(path_fd, arg->flags, call->share);
}

static int op_create(struct call *call)
{
	const struct fuse_create_in *arg = call->fixed;
	struct fuse_entry_out *entry = (void *)call->out;
	AUTO_CLOSE int dir = begin_make(call);
	AUTO_CLOSE int fd = -1;
	struct node *node;
	struct stat st = { 0 };
	int r;

	if (dir < 0)
		return dir;
	fd = create_or_open(call, arg, dir);
	own_end(call);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = fill_entry(call, call->node, dir, call->name, &st, entry);
	if (r < 0)
		return r;
	node = node_find(&call->share->nodes, entry->nodeid);
	r = reply_open(call, node, TAKE_FD(fd), true, (void *)(call->out + sizeof(*entry)));
	if (r < 0)
		forget(call->share, entry->nodeid, 1);
	call->out_size = sizeof(*entry) + sizeof(struct fuse_open_out);
	return r;
}

static int op_read(struct call *call)
{
	const struct fuse_read_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);
	size_t size = arg->size < SHARE_WRITE_MAX ? arg->size : SHARE_WRITE_MAX;
	ssize_t n;

	if (!handle)
		return -EBADF;
	n = pread(handle->fd, call->out, size, (off_t)arg->offset);
	if (n < 0)
		return -errno;
	call->out_size = (size_t)n;
	return 0;
}

static int op_write(struct call *call)
{
	const struct fuse_write_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);
	struct fuse_write_out *out = (void *)call->out;
	size_t done = 0;
	ssize_t n = 0;

	if (!handle)
		return -EBADF;
	if (arg->size != call->data_size)
		return -EINVAL;
	own_node(call, call->node);
	own_begin(call);
	while (done < call->data_size) {
		n = pwrite(handle->fd, call->data + done, call->data_size - done,
			   (off_t)(arg->offset + done));
		if (n < 0)
			break;
		done += (size_t)n;
	}
	int error = errno;

	own_end(call);
	if (n < 0 && done == 0)
		return -error;
	*out = (struct fuse_write_out){ .size = (uint32_t)done };
	call->out_size = sizeof(*out);
	return 0;
}

static int op_release(struct call *call)
{
	const struct fuse_release_in *arg = call->fixed;
	struct handle *handle = handle_get(call, arg->fh);

	if (!handle)
		return -EBADF;
	own_node(call, call->node);
	own_begin(call);
	if (handle->fd >= 0)
		close(handle->fd);
	if (arg->fh < call->server->handle_hint)
		call->server->handle_hint = arg->fh;
	*handle = (struct handle){ 0 };
	own_end(call);
	call->node->uses--; /* dropped by whoever forgets it; the guest still knows it */
	node_drop(&call->share->nodes, call->node, fs_unwatch, call->share);
	return 0;
}

static int op_fsync(struct call *call)
{
	const struct fuse_fsync_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);

	if (!handle)
		return -EBADF;
	if (handle->fd < 0)
		return 0;
	return (arg->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd)
							: fsync(handle->fd)) < 0
		       ? -errno
		       : 0;
}

static int op_fsyncdir(struct call *call)
{
	AUTO_CLOSE int path_fd = fs_open_node(call->share, call->node, NULL);
	AUTO_CLOSE int fd = path_fd < 0 ? path_fd : reopen(path_fd, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}

static int op_fallocate(struct call *call)
{
	const struct fuse_fallocate_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);
	int r;

	if (!handle)
		return -EBADF;
	own_node(call, call->node);
	own_begin(call);
	r = fallocate(handle->fd, (int)arg->mode, (off_t)arg->offset, (off_t)arg->length) < 0
		    ? -errno
		    : 0;
	own_end(call);
	return r;
}

static int op_lseek(struct call *call)
{
	const struct fuse_lseek_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);
	struct fuse_lseek_out *out = (void *)call->out;
	off_t offset;

	if (!handle)
		return -EBADF;
	if (arg->whence != SEEK_DATA && arg->whence != SEEK_HOLE)
		return -EINVAL;
	offset = lseek(handle->fd, (off_t)arg->offset, (int)arg->whence);
	if (offset < 0)
		return -errno;
	*out = (struct fuse_lseek_out){ .offset = (uint64_t)offset };
	call->out_size = sizeof(*out);
	return 0;
}

static int op_copy_file_range(struct call *call)
{
	const struct fuse_copy_file_range_in *arg = call->fixed;
	const struct handle *from = handle_get(call, arg->fh_in);
	struct node *to_node = node_find(&call->share->nodes, arg->nodeid_out);
	struct call to_call = { .server = call->server, .share = call->share, .node = to_node };
	const struct handle *to = to_node ? handle_get(&to_call, arg->fh_out) : NULL;
	struct fuse_write_out *out = (void *)call->out;
	off_t off_in = (off_t)arg->off_in;
	off_t off_out = (off_t)arg->off_out;
	size_t size = arg->len < COPY_MAX ? (size_t)arg->len : COPY_MAX;
	ssize_t n;

	if (!from || !to)
		return -EBADF;
	if (arg->flags)
		return -EINVAL;
	own_node(call, to_node);
	own_begin(call);
	n = copy_file_range(from->fd, &off_in, to->fd, &off_out, size, 0);
	int error = errno;

	own_end(call);
	if (n < 0)
		return -error;
	*out = (struct fuse_write_out){ .size = (uint32_t)n };
	call->out_size = sizeof(*out);
	return 0;
}

/* --- directories --- */

static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static void put_dirent(uint8_t *at, const struct dirent *entry, size_t length)
{
	struct fuse_dirent dirent = { .ino = entry->d_ino,
				      .off = (uint64_t)entry->d_off,
				      .namelen = (uint32_t)length,
				      .type = entry->d_type };
	size_t fixed = offsetof(struct fuse_dirent, name);

	memset(at, 0, aligned(fixed + length));
	memcpy(at, &dirent, fixed);
	memcpy(at + fixed, entry->d_name, length);
}

/* One entry behind what is there; 0 when it does not fit. */
static size_t put_entry(struct call *call, int dir_fd, const struct dirent *entry, bool plus,
			size_t room)
{
	size_t length = strlen(entry->d_name);
	size_t fixed =
		(plus ? sizeof(struct fuse_entry_out) : 0) + offsetof(struct fuse_dirent, name);
	struct fuse_entry_out out = { 0 };
	struct stat st = { 0 };

	if (aligned(fixed + length) > room)
		return 0;
	if (plus && !str_eq(entry->d_name, ".") && !str_eq(entry->d_name, "..") &&
	    fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fill_entry(call, call->node, dir_fd, entry->d_name, &st, &out);
	if (plus)
		memcpy(call->out + call->out_size, &out, sizeof(out));
	put_dirent(call->out + call->out_size + (plus ? sizeof(out) : 0), entry, length);
	return aligned(fixed + length);
}

static int read_dir(struct call *call, bool plus)
{
	const struct fuse_read_in *arg = call->fixed;
	size_t size = arg->size < SHARE_WRITE_MAX ? arg->size : SHARE_WRITE_MAX;
	AUTO_CLOSE int path_fd = fs_open_node(call->share, call->node, NULL);
	int fd = path_fd < 0 ? path_fd : reopen(path_fd, O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	if (arg->offset)
		seekdir(dir, (long)arg->offset);
	while ((entry = readdir(dir))) {
		size_t n = put_entry(call, path_fd, entry, plus, size - call->out_size);

		if (n == 0)
			break;
		call->out_size += n;
	}
	closedir(dir);
	return 0;
}

static int op_readdir(struct call *call)
{
	return read_dir(call, false);
}

static int op_readdirplus(struct call *call)
{
	return read_dir(call, true);
}

/* --- the connection --- */

static int op_init(struct call *call)
{
	const struct fuse_init_in *arg = call->fixed;
	struct fuse_init_out *out = (void *)call->out;

	if (arg->major != FUSE_KERNEL_VERSION || arg->minor < MINOR_MIN)
		return -EPROTO;
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = arg->minor < MINOR ? arg->minor : MINOR,
		.max_readahead =
			arg->max_readahead < SHARE_WRITE_MAX ? arg->max_readahead : SHARE_WRITE_MAX,
		.flags =
			arg->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC |
				      FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
				      FUSE_PARALLEL_DIROPS | FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES |
				      FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT),
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = SHARE_WRITE_MAX,
		.time_gran = 1,
		.max_pages = SHARE_WRITE_MAX / 4096,
	};
	call->out_size = sizeof(*out);
	return 0;
}

static int op_forget(struct call *call)
{
	const struct fuse_forget_in *arg = call->fixed;

	forget(call->share, call->in->nodeid, arg->nlookup);
	return NO_REPLY;
}

static int op_batch_forget(struct call *call)
{
	const struct fuse_batch_forget_in *arg = call->fixed;
	size_t count = call->data_size / sizeof(struct fuse_forget_one);

	for (size_t i = 0; i < count && i < arg->count; i++) {
		struct fuse_forget_one one;

		memcpy(&one, call->data + i * sizeof(one), sizeof(one));
		forget(call->share, one.nodeid, one.nlookup);
	}
	return NO_REPLY;
}

static int op_ignore(struct call *call)
{
	return NO_REPLY;
}

static int op_destroy(struct call *call)
{
	return 0;
}

enum op_flags {
	OP_NODE = 1 << 0,   /* works on a node */
	OP_DIR = 1 << 1,    /* which is a directory */
	OP_WRITES = 1 << 2, /* refused on a read-only share */
	OP_DATA = 1 << 3,   /* has data behind the fixed part */
	OP_TARGET = 1 << 4, /* the second name is the target of a link */
	OP_ECHO = 1 << 5,   /* does nothing for the echoing task, also where all is read-only */
};

static const struct {
	int (*run)(struct call *call);
	size_t fixed;
	unsigned names;
	unsigned flags;
} operations[] = {
	[FUSE_INIT] = { op_init, offsetof(struct fuse_init_in, flags2), 0, OP_DATA },
	[FUSE_LOOKUP] = { op_lookup, 0, 1, OP_DIR },
	[FUSE_FORGET] = { op_forget, sizeof(struct fuse_forget_in), 0, 0 },
	[FUSE_BATCH_FORGET] = { op_batch_forget, sizeof(struct fuse_batch_forget_in), 0, OP_DATA },
	[FUSE_GETATTR] = { op_getattr, sizeof(struct fuse_getattr_in), 0, OP_NODE },
	[FUSE_SETATTR] = { op_setattr, sizeof(struct fuse_setattr_in), 0,
			   OP_NODE | OP_WRITES | OP_ECHO },
	[FUSE_READLINK] = { op_readlink, 0, 0, OP_NODE },
	[FUSE_SYMLINK] = { op_symlink, 0, 2, OP_DIR | OP_WRITES | OP_TARGET | OP_ECHO },
	[FUSE_MKNOD] = { op_mknod, sizeof(struct fuse_mknod_in), 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_MKDIR] = { op_mkdir, sizeof(struct fuse_mkdir_in), 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_UNLINK] = { op_unlink, 0, 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_RMDIR] = { op_rmdir, 0, 1, OP_DIR | OP_WRITES | OP_ECHO },
	[FUSE_RENAME] = { op_rename, sizeof(struct fuse_rename_in), 2, OP_DIR | OP_WRITES },
	[FUSE_RENAME2] = { op_rename2, sizeof(struct fuse_rename2_in), 2, OP_DIR | OP_WRITES },
	[FUSE_LINK] = { op_link, sizeof(struct fuse_link_in), 1, OP_DIR | OP_WRITES },
	[FUSE_OPEN] = { op_open, sizeof(struct fuse_open_in), 0, OP_NODE },
	[FUSE_READ] = { op_read, sizeof(struct fuse_read_in), 0, OP_NODE },
	[FUSE_WRITE] = { op_write, sizeof(struct fuse_write_in), 0, OP_NODE | OP_WRITES | OP_DATA },
	[FUSE_STATFS] = { op_statfs, 0, 0, OP_NODE },
	[FUSE_RELEASE] = { op_release, sizeof(struct fuse_release_in), 0, OP_NODE },
	[FUSE_FSYNC] = { op_fsync, sizeof(struct fuse_fsync_in), 0, OP_NODE },
	[FUSE_READDIR] = { op_readdir, sizeof(struct fuse_read_in), 0, OP_DIR },
	[FUSE_READDIRPLUS] = { op_readdirplus, sizeof(struct fuse_read_in), 0, OP_DIR },
	[FUSE_FSYNCDIR] = { op_fsyncdir, sizeof(struct fuse_fsync_in), 0, OP_DIR },
	[FUSE_CREATE] = { op_create, sizeof(struct fuse_create_in), 1, OP_DIR | OP_WRITES },
	[FUSE_FALLOCATE] = { op_fallocate, sizeof(struct fuse_fallocate_in), 0,
			     OP_NODE | OP_WRITES },
	[FUSE_LSEEK] = { op_lseek, sizeof(struct fuse_lseek_in), 0, OP_NODE },
	[FUSE_COPY_FILE_RANGE] = { op_copy_file_range, sizeof(struct fuse_copy_file_range_in), 0,
				   OP_NODE | OP_WRITES },
	[FUSE_INTERRUPT] = { op_ignore, sizeof(struct fuse_interrupt_in), 0, 0 },
	[FUSE_DESTROY] = { op_destroy, 0, 0, 0 },
};

/* A name of one component, as the kernel makes them; *at moves behind it. NULL if it is none. */
static const char *take_name(const uint8_t **at, const uint8_t *end, size_t max, bool is_target)
{
	const uint8_t *nul = memchr(*at, '\0', (size_t)(end - *at));
	const char *name = (const char *)*at;

	if (!nul || nul == *at || (size_t)(nul - *at) > max)
		return NULL;
	*at = nul + 1;
	if (!is_target && (strchr(name, '/') || str_eq(name, ".") || str_eq(name, "..")))
		return NULL;
	return name;
}

/* Checks the request against its operation's line in the table. */
static int prepare(struct call *call, uint32_t opcode, const uint8_t *arg, size_t size,
		   uint64_t fixed[FIXED_MAX / 8])
{
	const __typeof__(operations[0]) *op = &operations[opcode];
	const uint8_t *end = arg + size;

	if (size < op->fixed)
		return -EINVAL;
	memcpy(fixed, arg, op->fixed);
	call->fixed = fixed;
	arg += op->fixed;
	if (op->names > 0 && !(call->name = take_name(&arg, end, NAME_LENGTH_MAX, false)))
		return -EINVAL;
	if (op->names > 1 &&
	    !(call->name2 =
		      take_name(&arg, end, op->flags & OP_TARGET ? TARGET_MAX : NAME_LENGTH_MAX,
				op->flags & OP_TARGET)))
		return -EINVAL;
	call->data = arg;
	call->data_size = (size_t)(end - arg);
	/* Which task echoes is what the guest says. */
	if (op->flags & OP_WRITES && call->share->read_only && !(op->flags & OP_ECHO && call->echo))
		return -EROFS;
	if (op->flags & (OP_NODE | OP_DIR)) {
		call->node = node_find(&call->share->nodes, call->in->nodeid);
		if (!call->node)
			return -ESTALE;
		if (op->flags & OP_DIR && !call->node->is_dir)
			return -ENOTDIR;
	}
	return 0;
}

static int reply(struct call *call, int result)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + (result < 0 ? 0 : call->out_size)),
		.error = result < 0 ? result : 0,
		.unique = call->in->unique,
	};

	memcpy(call->server->out + SHARE_HEADER_SIZE, &header, sizeof(header));
	return server_send(call->server, call->share->index, SHARE_FUSE, header.len);
}

int fs_request(struct share *share, const uint8_t *data, size_t size)
{
	uint64_t fixed[FIXED_MAX / 8];
	struct fuse_in_header in;
	struct node *node;
	struct call call = { .share = share, .server = share->server, .in = &in };
	int r;

	if (size < sizeof(in))
		return -EPROTO;
	memcpy(&in, data, sizeof(in));
	if (in.len != size)
		return -EPROTO;
	call.out = share->server->out + SHARE_HEADER_SIZE + sizeof(struct fuse_out_header);
	call.echo = in.pid == share->server->echo_task;
	if (in.opcode >= ARRAY_SIZE(operations) || !operations[in.opcode].run) {
		r = -ENOSYS; /* the kernel does without, and does not ask again */
	} else {
		r = prepare(&call, in.opcode, data + sizeof(in), size - sizeof(in), fixed);
		node = call.node;
		if (node)
			fs_use(node);
		if (r == 0)
			r = operations[in.opcode].run(&call);
		if (node)
			fs_unuse(share, node);
	}
	return r == NO_REPLY ? 0 : reply(&call, r);
}
