/* SPDX-License-Identifier: Apache-2.0 */
/* Shares that are single files, and what is at their names (share/opener.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "share/call.h"
#include "share/opener.h"

/* A file that is open stays so, and is the new one from now on: its pages are the guest's pages of
 * the one file that it knows. */
static void switch_handles(struct share *share, const struct node *root)
{
	VEC_EACH (&share->server->handles, it) {
		int fd;

		if (it->share != share || it->node != root || it->fd < 0)
			continue;
		fd = fcntl(share->root_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			continue;
		close(it->fd);
		it->fd = fd;
	}
}

/* Whatever is at the name is what is shared. While there is nothing, it is what was there. */
static void follow(struct share *share)
{
	struct node *root = node_find(&share->nodes, NODE_ROOT);
	AUTO_CLOSE int fd = opener_ask(share->server->opener, share->index);
	int watch = root->watch;
	struct stat st;
	bool same;

	share->is_late = fd == -ETIMEDOUT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	same = node_is(root, &st);
	close(share->root_fd);
	share->root_fd = TAKE_FD(fd);
	share->is_opened = true;
	if (same)
		return;
	root->device = st.st_dev;
	root->inode = st.st_ino;
	root->changed = (struct timespec){ 0 };
	switch_handles(share, root);
	node_set_watch(&share->nodes, root, -1);
	if (watch >= 0)
		fs_unwatch(share, watch);
	watch_add(share, root, share->root_fd);
	watch_root_replaced(share, root);
}

void share_server_set_opener(struct share_server *server, int sock)
{
	server->opener = sock;
}

int share_server_follow(struct share_server *server, int dir_fd, const char *name, struct err *err)
{
	struct share *share = &server->shares[server->share_count - 1];
	AUTO_CLOSE int dir = dir_fd;
	char path[64];

	if (server->places < 0)
		server->places = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	/* Without: as many are watched as may be. It is the file then that it was. */
	if (server->places < 0)
		return 0;
	share->place_watch = inotify_add_watch(server->places, fs_fd_path(dir, path),
					       IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	if (share->place_watch < 0 && (errno == ENOSPC || errno == EACCES))
		return 0;
	if (share->place_watch < 0)
		return err_set(err, -errno, "cannot watch the directory of '%s': %m", name);
	share->place_name = xstrdup(name);
	follow(share);
	return 0;
}

static void take_event(struct share_server *server, const struct inotify_event *event)
{
	for (size_t i = 0; i < server->share_count; i++) {
		struct share *share = &server->shares[i];

		if (!share->place_name)
			continue;
		if (event->mask & IN_Q_OVERFLOW || (event->wd == share->place_watch && event->len &&
						    str_eq(event->name, share->place_name)))
			share->is_late = true;
	}
}

void follow_drain(struct share_server *server)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	if (server->places < 0 || server->still)
		return;
	while ((n = read(server->places, buffer, sizeof(buffer))) > 0)
		for (const char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (const void *)at;

			at += sizeof(*event) + event->len;
			take_event(server, event);
		}
	for (size_t i = 0; i < server->share_count; i++)
		if (server->shares[i].is_late)
			follow(&server->shares[i]);
}
