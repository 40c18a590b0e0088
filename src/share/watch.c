/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that others make on the host, and what the guest is told of them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "share/internal.h"

#define WATCHED_OF_FILE (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE)
#define WATCHED \
	(WATCHED_OF_FILE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_EXCL_UNLINK)

static bool is_watched(const struct share_server *server, int watch)
{
	for (size_t i = 0; i < server->share_count; i++)
		if (node_find_watch(&server->shares[i].nodes, watch))
			return true;
	return false;
}

void watch_add(struct share *share, struct node *node, int path_fd)
{
	struct share_server *server = share->server;
	struct node *other;
	char path[64];
	int watch;

	if (server->events < 0 || server->watch_count >= WATCHES_MAX)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	watch = inotify_add_watch(server->events, path,
				  node->is_dir ? WATCHED | IN_ONLYDIR : WATCHED_OF_FILE);
	if (watch < 0)
		return; /* not allowed, or too many: the guest does not cache it then */
	if (!is_watched(server, watch))
		server->watch_count++;
	other = node_find_watch(&share->nodes, watch);
	if (other && other != node)
		node_set_watch(&share->nodes, other, -1);
	node_set_watch(&share->nodes, node, watch);
}

/* --- notes --- */

static struct note *note_at(struct share_server *server, size_t i)
{
	return &server->notes[(server->note_first + i) % NOTES_MAX];
}

static void note_release(struct note *note)
{
	if (note->node) {
		note->node->echoes &= ~(1u << note->op);
		fs_unuse(note->share, note->node);
	}
	if (note->dir)
		fs_unuse(note->share, note->dir);
	free(note->name);
	*note = (struct note){ 0 };
}

void watch_drop_notes(struct share_server *server)
{
	for (; server->note_count; server->note_count--) {
		note_release(note_at(server, 0));
		server->note_first = (server->note_first + 1) % NOTES_MAX;
	}
	server->note_sent = 0;
}

int watch_done(struct share_server *server, uint32_t count)
{
	if (count > server->note_sent)
		return -EPROTO;
	for (; count; count--) {
		note_release(note_at(server, 0));
		server->note_first = (server->note_first + 1) % NOTES_MAX;
		server->note_count--;
		server->note_sent--;
	}
	return 0;
}

struct note *watch_find_note(struct share_server *server, uint8_t op, const struct node *dir,
			     const char *name)
{
	for (size_t i = 0; i < server->note_count; i++) {
		struct note *note = note_at(server, i);

		if (note->op == op && note->dir == dir && str_eq(note->name, name))
			return note;
	}
	return NULL;
}

/* What there is no room for is not told; the guest finds it when what it knows gets too old. */
static void note_add(struct share *share, uint8_t op, struct node *dir, const char *name,
		     struct node *node, const struct stat *st)
{
	struct share_server *server = share->server;

	if (node && !op)
		node->is_cached = false;
	if (server->note_count == NOTES_MAX || !server->has_hello)
		return;
	if (node && node->echoes & (1u << op))
		return; /* one is under way */
	if (node) {
		node->echoes |= 1u << op;
		fs_use(node);
	}
	if (dir)
		fs_use(dir);
	*note_at(server, server->note_count++) = (struct note){
		.op = op,
		.share = share,
		.dir = dir,
		.name = xstrdup(name),
		.node = node,
		.st = st ? *st : (struct stat){ 0 },
	};
}

/* --- sending --- */

/* Into server->out behind the frame's header; returns its size. */
static size_t put_inval_inode(struct share_server *server, uint64_t id, int64_t offset)
{
	struct {
		struct fuse_out_header header;
		struct fuse_notify_inval_inode_out body;
	} message = {
		.header = { .len = sizeof(message), .error = FUSE_NOTIFY_INVAL_INODE },
		.body = { .ino = id, .off = offset },
	};

	memcpy(server->out + SHARE_HEADER_SIZE, &message, sizeof(message));
	return sizeof(message);
}

static size_t put_inval_entry(struct share_server *server, uint64_t id, const char *name)
{
	size_t length = strlen(name);
	struct {
		struct fuse_out_header header;
		struct fuse_notify_inval_entry_out body;
	} message = {
		.header = { .len = (uint32_t)(sizeof(message) + length + 1),
			    .error = FUSE_NOTIFY_INVAL_ENTRY },
		.body = { .parent = id, .namelen = (uint32_t)length },
	};

	memcpy(server->out + SHARE_HEADER_SIZE, &message, sizeof(message));
	memcpy(server->out + SHARE_HEADER_SIZE + sizeof(message), name, length + 1);
	return sizeof(message) + length + 1;
}

/* Its attributes are stale: the guest asks again when it needs them. Never waits in the guest. */
static void forget_attributes(struct share *share, const struct node *node)
{
	struct share_server *server = share->server;

	if (server->has_hello)
		server_send(server, share->index, SHARE_FUSE,
			    put_inval_inode(server, node->id, -1));
}

/* 0 when there is no path to it any more. */
static size_t put_echo(struct share_server *server, const struct note *note)
{
	uint8_t *out = server->out + SHARE_HEADER_SIZE;
	char *path = (char *)out + SHARE_ECHO_FIXED;
	size_t name = note->dir ? strlen(note->name) : 0;
	size_t length;

	out[0] = note->op;
	le_put32(out + 1, note->st.st_mode & S_IFMT);
	if (node_path(note->dir ? note->dir : note->node, path, PATH_MAX) < 0)
		return 0;
	length = strlen(path);
	if (length + name + 2 > PATH_MAX)
		return 0;
	if (note->dir) {
		if (length)
			path[length++] = '/';
		memcpy(path + length, note->name, name + 1);
	}
	return SHARE_ECHO_FIXED + length + name + 1;
}

static void send_note(struct share_server *server, const struct note *note)
{
	uint16_t share = note->share->index;
	size_t size = note->op ? put_echo(server, note) : 0;

	if (size)
		server_send(server, share, SHARE_ECHO, size);
	else if (note->dir)
		server_send(server, share, SHARE_NOTIFY,
			    put_inval_entry(server, note->dir->id, note->name));
	else
		server_send(server, share, SHARE_NOTIFY,
			    put_inval_inode(server, note->node->id, 0));
}

void watch_send_notes(struct share_server *server)
{
	while (!server->quiet && server->note_sent < server->note_count &&
	       server->note_sent < NOTES_SENT_MAX)
		send_note(server, note_at(server, server->note_sent++));
}

/* --- events --- */

static void on_changed(struct share *share, struct node *dir, const char *name, uint8_t op)
{
	struct node *node = node_find_child(&share->nodes, dir, name);
	struct stat st = { .st_mode = S_IFREG };

	if (node) {
		forget_attributes(share, node);
		if (op == SHARE_ECHO_MODIFY)
			note_add(share, 0, NULL, NULL, node, NULL);
		if (node->is_dir)
			st.st_mode = S_IFDIR;
	}
	note_add(share, op, dir, name, node, &st);
}

static void on_gone(struct share *share, struct node *dir, const char *name, bool is_dir)
{
	static uint64_t strangers;
	struct node *node = node_find_child(&share->nodes, dir, name);
	struct stat st = { .st_mode = is_dir ? S_IFDIR | 0755 : S_IFREG | 0644, .st_nlink = 1 };

	forget_attributes(share, dir);
	if (node && node->is_dir != is_dir) {
		node_detach(&share->nodes, node);
		node = NULL;
	}
	if (!node) {
		/* The guest never knew it; it gets to know it in order to lose it. */
		st.st_ino = ++strangers;
		node = node_get(&share->nodes, dir, name, &st);
	} else {
		st.st_ino = node->inode;
		st.st_size = (off_t)node->size;
	}
	if (!node)
		return;
	fs_use(node);
	node_detach(&share->nodes, node);
	if (!watch_find_note(share->server, SHARE_ECHO_DELETE, dir, name))
		note_add(share, SHARE_ECHO_DELETE, dir, name, node, &st);
	fs_unuse(share, node);
}

static void on_new(struct share *share, struct node *dir, const char *name, bool moved)
{
	AUTO_CLOSE int fd = fs_open_node(share, dir, NULL);
	struct node *node = node_find_child(&share->nodes, dir, name);
	struct stat st;

	forget_attributes(share, dir);
	if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* gone again */
	if (node && node_is(node, &st))
		return; /* the guest has found it already */
	if (node)
		on_gone(share, dir, name, node->is_dir);
	else /* that there is none may be known, too */
		note_add(share, 0, dir, name, NULL, NULL);
	if (!watch_find_note(share->server, SHARE_ECHO_CREATE, dir, name))
		note_add(share, SHARE_ECHO_CREATE, dir, name, NULL, &st);
	if (moved && S_ISREG(st.st_mode))
		note_add(share, SHARE_ECHO_CLOSE, dir, name, NULL, &st);
}

/* A share that is a single file. */
static void on_root_changed(struct share *share, struct node *root, uint8_t op)
{
	forget_attributes(share, root);
	if (op == SHARE_ECHO_MODIFY)
		note_add(share, 0, NULL, NULL, root, NULL);
	note_add(share, op, NULL, NULL, root, NULL);
}

/* For those who watch, as if it had been written anew. */
void watch_root_replaced(struct share *share, struct node *root)
{
	on_root_changed(share, root, SHARE_ECHO_MODIFY);
	on_root_changed(share, root, SHARE_ECHO_CLOSE);
}

static uint8_t change_of(uint32_t mask)
{
	return mask & IN_MODIFY        ? SHARE_ECHO_MODIFY
	       : mask & IN_CLOSE_WRITE ? SHARE_ECHO_CLOSE
				       : SHARE_ECHO_ATTRIB;
}

static bool is_own(const struct watch_own *own, const struct share *share,
		   const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";

	if (!own || own->share != share)
		return false;
	for (size_t i = 0; i < own->count; i++)
		if (own->places[i].watch == event->wd && str_eq(own->places[i].name, name))
			return true;
	return false;
}

static void take_event(struct share *share, struct node *dir, const struct inotify_event *event)
{
	if (event->mask & IN_IGNORED) {
		node_set_watch(&share->nodes, dir, -1);
	} else if (!dir->is_dir) {
		on_root_changed(share, dir, change_of(event->mask));
	} else if (!event->len) {
		if (event->mask & IN_ATTRIB)
			forget_attributes(share, dir);
	} else if (event->mask & (IN_DELETE | IN_MOVED_FROM)) {
		on_gone(share, dir, event->name, event->mask & IN_ISDIR);
	} else if (event->mask & (IN_CREATE | IN_MOVED_TO)) {
		on_new(share, dir, event->name, event->mask & IN_MOVED_TO);
	} else {
		on_changed(share, dir, event->name, change_of(event->mask));
	}
}

void watch_forget_all(struct share_server *server)
{
	for (size_t i = 0; i < server->share_count; i++) {
		const struct node_table *nodes = &server->shares[i].nodes;

		for (size_t j = 0; j < nodes->bucket_count; j++)
			for (const struct node *node = nodes->buckets[NODE_BY_ID][j]; node;
			     node = node->next[NODE_BY_ID])
				forget_attributes(&server->shares[i], node);
	}
}

void watch_drain(struct share_server *server, const struct watch_own *own)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	follow_drain(server);
	while (server->events >= 0 && (n = read(server->events, buffer, sizeof(buffer))) > 0) {
		for (const char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (const void *)at;

			at += sizeof(*event) + event->len;
			if (event->mask & IN_Q_OVERFLOW)
				watch_forget_all(server); /* nobody knows what changed */
			if (event->mask & IN_IGNORED && server->watch_count)
				server->watch_count--; /* however it ended */
			for (size_t i = 0; i < server->share_count; i++) {
				struct share *share = &server->shares[i];
				struct node *dir = node_find_watch(&share->nodes, event->wd);

				if (!dir || is_own(own, share, event))
					continue;
				fs_use(dir);
				take_event(share, dir, event);
				fs_unuse(share, dir);
			}
		}
	}
}
