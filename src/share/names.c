/* SPDX-License-Identifier: Apache-2.0 */
/* What a directory is changed by. */
#include "share/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

int entry_open(int dir_fd, const char *name, struct stat *ret_st)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, ret_st) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int entry_fill(struct call *call, const char *name, int fd, const struct stat *st,
	       struct fuse_entry_out *out)
{
	struct node *node = node_get(&call->share->nodes, call->node, name, st);

	if (!node)
		return -ENFILE;
	if (node->is_dir && node->watch < 0)
		watch_add(call->share, node, fd);
	node->lookups++;
	*out = (struct fuse_entry_out){
		.nodeid = node->id,
		.entry_valid = call->node->watch >= 0 ? VALID_SECONDS : 0,
		.attr_valid = attr_validity(node, st),
	};
	attr_fill(call->share, fd, st, &out->attr);
	attr_remember(node, st);
	return 0;
}

static int entry_reply(struct call *call, int dir_fd, const char *name)
{
	struct stat st = { 0 };
	AUTO_CLOSE int fd = entry_open(dir_fd, name, &st);
	int r;

	if (fd < 0)
		return fd;
	r = entry_fill(call, name, fd, &st, (void *)call->out);
	if (r == 0)
		call->out_size = sizeof(struct fuse_entry_out);
	return r;
}

/* The echoing task finds what it needs to find, so that it can do what was done. */
static int echo_lookup(struct call *call)
{
	struct fuse_entry_out *out = (void *)call->out;
	const struct note *note =
		watch_find_note(call->server, SHARE_ECHO_DELETE, call->node, call->name);

	if (note) {
		note->node->lookups++;
		*out = (struct fuse_entry_out){ .nodeid = note->node->id };
		attr_fill(call->share, -1, &note->st, &out->attr);
		call->out_size = sizeof(*out);
		return 0;
	}
	if (watch_find_note(call->server, SHARE_ECHO_CREATE, call->node, call->name))
		return -ENOENT;
	return CALL_NO_REPLY;
}

int op_lookup(struct call *call)
{
	AUTO_CLOSE int dir = fs_open_node(call->share, call->node, NULL);
	int r = call->echo ? echo_lookup(call) : CALL_NO_REPLY;

	if (r != CALL_NO_REPLY)
		return r;
	if (dir < 0)
		return dir;
	r = entry_reply(call, dir, call->name);
	if (r == -ENOENT && call->node->watch >= 0) {
		/* That there is none is known as long as anything else is. */
		*(struct fuse_entry_out *)(void *)call->out =
			(struct fuse_entry_out){ .entry_valid = VALID_SECONDS };
		call->out_size = sizeof(struct fuse_entry_out);
		return 0;
	}
	return r;
}

void entry_give(struct call *call, int dir_fd, const char *name)
{
	struct stat st = { 0 };
	AUTO_CLOSE int fd = entry_open(dir_fd, name, &st);
	uint32_t gid = call->in->gid;

	if (fd < 0)
		return;
	if (fstat(dir_fd, &st) == 0 && st.st_mode & S_ISGID)
		gid = UINT32_MAX;
	attr_set_owner(call->server, fd, call->in->uid, gid);
}

static int entry_made(struct call *call, int dir_fd, int result)
{
	int error = errno;

	if (result == 0)
		entry_give(call, dir_fd, call->name);
	own_end(call);
	return result < 0 ? -error : entry_reply(call, dir_fd, call->name);
}

int entry_begin(struct call *call)
{
	int dir = fs_open_node(call->share, call->node, NULL);

	own_place(call, call->node, call->name);
	own_begin(call);
	return dir;
}

/* Of what the guest could not be told nothing is made. */
int entry_begin_new(struct call *call)
{
	const struct node_budget *nodes = &call->server->nodes;

	return nodes->count < nodes->max ? entry_begin(call) : -ENFILE;
}

int op_mknod(struct call *call)
{
	const struct fuse_mknod_in *arg = call->fixed;
	mode_t type = arg->mode & S_IFMT;
	AUTO_CLOSE int dir = entry_begin_new(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return entry_reply(call, dir, call->name);
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM; /* a device of the guest is none of the host's */
	return entry_made(call, dir,
			  mknodat(dir, call->name, type | attr_host_mode(arg->mode, false), 0));
}

int op_mkdir(struct call *call)
{
	const struct fuse_mkdir_in *arg = call->fixed;
	AUTO_CLOSE int dir = entry_begin_new(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return entry_reply(call, dir, call->name);
	return entry_made(call, dir, mkdirat(dir, call->name, attr_host_mode(arg->mode, true)));
}

int op_symlink(struct call *call)
{
	AUTO_CLOSE int dir = entry_begin_new(call);

	if (dir < 0)
		return dir;
	if (call->echo)
		return entry_reply(call, dir, call->name);
	return entry_made(call, dir, symlinkat(call->name2, dir, call->name));
}

int op_readlink(struct call *call)
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

static int link_to(struct call *call, const struct node *old)
{
	AUTO_CLOSE int from = fs_open_node(call->share, old, NULL);
	AUTO_CLOSE int dir = entry_begin_new(call);
	char path[64];
	int r;

	if (from < 0 || dir < 0)
		return from < 0 ? from : dir;
	own_node(call, old);
	r = linkat(AT_FDCWD, fs_fd_path(from, path), dir, call->name, AT_SYMLINK_FOLLOW);
	if (r < 0)
		r = -errno;
	own_end(call);
	return r < 0 ? r : entry_reply(call, dir, call->name);
}

/* The second node of a request is used, too: what others do is taken in between, and drops nodes.
 */
int op_link(struct call *call)
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
	dir = entry_begin(call);
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

int op_unlink(struct call *call)
{
	return remove_name(call, 0);
}

int op_rmdir(struct call *call)
{
	return remove_name(call, AT_REMOVEDIR);
}

static int rename_in(struct call *call, struct node *to, unsigned flags)
{
	struct node_table *nodes = &call->share->nodes;
	AUTO_CLOSE int from_fd = entry_begin(call);
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

int op_rename(struct call *call)
{
	const struct fuse_rename_in *arg = call->fixed;

	return rename_to(call, arg->newdir, 0);
}

int op_rename2(struct call *call)
{
	const struct fuse_rename2_in *arg = call->fixed;

	if (arg->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return rename_to(call, arg->newdir, arg->flags);
}
