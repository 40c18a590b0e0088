/* SPDX-License-Identifier: Apache-2.0 */
#include "share/call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"

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

void fs_forget(struct share *share, uint64_t id, uint64_t count)
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

const char *fs_fd_path(int fd, char out[64])
{
	snprintf(out, 64, "/proc/self/fd/%d", fd);
	return out;
}

int fs_reopen(int path_fd, int flags)
{
	char path[64];
	int fd = open(fs_fd_path(path_fd, path), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* What took the place of the file that Landlock knows can only be used as it was opened. */
int fs_open_again(const struct share *share, int path_fd, int flags)
{
	int fd = fs_reopen(path_fd, flags);
	int opened = share->is_opened ? fcntl(path_fd, F_GETFL) : -1;

	if (fd != -EACCES || opened < 0)
		return fd;
	if ((flags & O_ACCMODE) != O_RDONLY && (opened & O_ACCMODE) != O_RDWR)
		return fd;
	fd = fcntl(path_fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

struct handle *handle_get(struct call *call, uint64_t fh)
{
	struct handle *handle =
		fh < call->server->handles.count ? &call->server->handles.items[fh] : NULL;

	return handle && handle->share == call->share && handle->node == call->node ? handle : NULL;
}

int handle_new(struct call *call, struct node *node, int fd, uint64_t *ret_fh)
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
	node->opens++;
	*ret_fh = i;
	return 0;
}

void own_place(struct call *call, const struct node *dir, const char *name)
{
	struct watch_own *own = &call->own;

	if (!dir || dir->watch < 0 || own->count == ARRAY_SIZE(own->places))
		return;
	own->share = call->share;
	own->places[own->count].watch = dir->watch;
	own->places[own->count++].name = name;
}

void own_node(struct call *call, const struct node *node)
{
	own_place(call, node->parent, node->name);
	if (node->is_dir || !node->parent)
		own_place(call, node, "");
}

void own_begin(struct call *call)
{
	watch_drain(call->server, NULL);
}

void own_end(struct call *call)
{
	watch_drain(call->server, &call->own);
}
