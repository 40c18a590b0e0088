/* SPDX-License-Identifier: Apache-2.0 */
/* The content of files. */
#include "share/call.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"

#define PUSH_MAX 16384
#define COPY_MAX (64 << 20) /* of one COPY_FILE_RANGE: others wait meanwhile */

int file_open(int path_fd, uint32_t flags, const struct share *share)
{
	struct stat st = { 0 };
	int fd;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES; /* what is not is opened in the guest alone */
	if (share->read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	fd = fs_open_again(share, path_fd, (int)(flags & OPEN_FLAGS));
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
		attr_remember(node, &st);
	return same;
}

/* What a small file holds goes before the answer, so that it need not be asked for. Only while the
 * guest has it open nowhere else: it takes this with the page locked, and a page that waits for
 * what was asked for, of which the answer is behind this, is locked. It takes nothing if it
 * believes the file to be larger. */
static void push_content(struct call *call, const struct node *node, int fd)
{
	struct share_server *server = call->server;
	struct {
		struct fuse_out_header header;
		struct fuse_notify_store_out body;
	} message = {
		.header = { .len = (uint32_t)(sizeof(message) + node->size),
			    .error = FUSE_NOTIFY_STORE },
		.body = { .nodeid = node->id, .size = (uint32_t)node->size },
	};
	uint8_t *at = server->out + SHARE_HEADER_SIZE;

	if (pread(fd, at + sizeof(message), node->size, 0) != (ssize_t)node->size)
		return;
	memcpy(at, &message, sizeof(message));
	server_send(server, call->share->index, SHARE_FUSE, message.header.len);
}

static bool is_worth_pushing(const struct node *node, uint32_t flags)
{
	return !node->is_cached && !node->opens && (flags & O_ACCMODE) != O_WRONLY &&
	       !(flags & O_TRUNC) && node->size && node->size <= PUSH_MAX;
}

int op_open(struct call *call)
{
	const struct fuse_open_in *arg = call->fixed;
	struct fuse_open_out *out = (void *)call->out;
	AUTO_CLOSE int path_fd = -1;
	bool same;
	int fd;
	int r;

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
	fd = file_open(path_fd, arg->flags, call->share);
	own_end(call);
	if (fd < 0)
		return fd;
	same = is_unchanged(call->node, fd);
	call->node->is_cached &= same;
	if (same && is_worth_pushing(call->node, arg->flags))
		push_content(call, call->node, fd);
	call->node->is_cached = true;
	call->out_size = sizeof(*out);
	r = reply_open(call, call->node, fd, same, out);
	if (r == 0 && arg->flags & O_APPEND)
		call->server->handles.items[out->fh].appends = true;
	return r;
}

/* Creates it, or opens what somebody else has created meanwhile. */
static int create_or_open(struct call *call, const struct fuse_create_in *arg, int dir_fd)
{
	int fd = openat(dir_fd, call->name,
			(int)(arg->flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
				O_NOCTTY,
			attr_host_mode(arg->mode, false));
	AUTO_CLOSE int path_fd = -1;

	if (fd >= 0) {
		entry_give(call, dir_fd, call->name);
		return fd;
	}
	if (errno != EEXIST || arg->flags & O_EXCL)
		return -errno;
	path_fd = openat(dir_fd, call->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return path_fd < 0 ? -errno : file_open(path_fd, arg->flags, call->share);
}

int op_create(struct call *call)
{
	const struct fuse_create_in *arg = call->fixed;
	struct fuse_entry_out *entry = (void *)call->out;
	AUTO_CLOSE int dir = entry_begin_new(call);
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
	r = entry_fill(call, call->name, fd, &st, entry);
	if (r < 0)
		return r;
	node = node_find(&call->share->nodes, entry->nodeid);
	node->is_cached = true;
	r = reply_open(call, node, TAKE_FD(fd), true, (void *)(call->out + sizeof(*entry)));
	if (r < 0)
		fs_forget(call->share, entry->nodeid, 1);
	call->out_size = sizeof(*entry) + sizeof(struct fuse_open_out);
	return r;
}

int op_read(struct call *call)
{
	const struct fuse_read_in *arg = call->fixed;
	const struct handle *handle = handle_get(call, arg->fh);
	size_t size = arg->size < SHARE_WRITE_MAX ? arg->size : SHARE_WRITE_MAX;
	ssize_t n;

	if (!handle)
		return -EBADF;
	n = pread(handle->fd, call->block ? call->block : call->out, size, (off_t)arg->offset);
	if (n < 0)
		return -errno;
	call->node->is_cached = true;
	if (call->block)
		call->block_size = (size_t)n;
	else
		call->out_size = (size_t)n;
	return 0;
}

int op_write(struct call *call)
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
	call->node->is_cached = true;
	own_node(call, call->node);
	own_begin(call);
	while (done < call->data_size) {
		struct iovec part = { (uint8_t *)call->data + done, call->data_size - done };

		n = pwritev2(handle->fd, &part, 1, (off_t)(arg->offset + done),
			     handle->appends ? RWF_APPEND : 0);
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

int op_release(struct call *call)
{
	const struct fuse_release_in *arg = call->fixed;
	struct handle *handle = handle_get(call, arg->fh);

	if (!handle)
		return CALL_NO_REPLY;
	own_node(call, call->node);
	own_begin(call);
	if (handle->fd >= 0)
		close(handle->fd);
	if (arg->fh < call->server->handle_hint)
		call->server->handle_hint = arg->fh;
	*handle = (struct handle){ 0 };
	own_end(call);
	call->node->opens--;
	call->node->uses--; /* dropped by whoever forgets it; the guest still knows it */
	node_drop(&call->share->nodes, call->node, fs_unwatch, call->share);
	return CALL_NO_REPLY;
}

int op_fsync(struct call *call)
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

int op_fallocate(struct call *call)
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

int op_lseek(struct call *call)
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

int op_copy_file_range(struct call *call)
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
