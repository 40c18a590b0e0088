/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hull-share: the file server of one container's shared directories.
 *
 * Theory of operation. The guest mounts each share as FUSE; hull-init passes what its kernel asks
 * through the "files" port (proto/share.h) to this process, which answers from the host's files.
 * The guest is hostile: whatever it sends, this process reaches only what lies below the shares'
 * roots. It opens by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), names have no slash, links are
 * handed to the guest as text, and Landlock (set by the shim) holds even if this process is taken
 * over.
 *
 * The guest caches names, attributes and pages. It may, because each directory that it knows is
 * watched (inotify): what others change here is told to it. What the guest itself does causes such
 * events too; they are taken out of the queue around each change (struct watch_own). Attributes are
 * told to be stale at once, in order with the answers; all else is a note that the guest handles by
 * the side, since it may have to wait for what is being answered. A note that is an echo makes the
 * guest repeat what happened, so that programs which watch for changes see it there; this process
 * answers the echoing task without doing anything.
 *
 * State. What a machine's kernel knows of a share is in its memory, and goes where that goes. So
 * when the machine is about to be saved both sides fall silent (SHARE_QUIET, SHARE_LAST), and this
 * process leaves its side of it (state.c): which node is which place, and what is open. Whoever
 * serves the machine when it is brought back takes that over, and finds things by name again: what
 * is no longer there, or is something else, is stale.
 *
 * Owners. For an ordinary user all files that he owns are the container's user's; files of others
 * are nobody's. Other owners that the container gives are kept in the attribute user.hull.owner.
 * Run by root, owners are what they are.
 */
#ifndef SHARE_SERVER_H
#define SHARE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Descriptors of the program: the channel, the state, the memory of proto/bulk.h, who opens files
 * by name (no socket: nobody), then the roots (O_PATH) in order, that of a file with a name
 * followed by the directory which that is in. */
#define SHARE_FD_CHANNEL 3
#define SHARE_FD_STATE 4
#define SHARE_FD_BULK 5
#define SHARE_FD_OPENER 6
#define SHARE_FD_ROOT 7

struct share_server;

/* channel is taken. */
struct share_server *share_server_new(int channel);
struct share_server *share_server_free(struct share_server *server);
/* How many names, of all shares together, the guest may know at a time (NODE_COUNT_MAX if not
 * said). What would be one more is answered with ENFILE. */
void share_server_limit(struct share_server *server, size_t names);
/* fd, borrowed: the memory of proto/bulk.h, whose size does not change. */
int share_server_set_bulk(struct share_server *server, int fd, struct err *err);
/* Takes root_fd: a directory or a file. */
int share_server_add(struct share_server *server, int root_fd, bool read_only, struct err *err);
/* Takes the socket of who opens files by name (share/opener.h). */
void share_server_set_opener(struct share_server *server, int sock);
/* The share that was added last is a file, and from now on whatever is at that name in dir_fd
 * (O_PATH; taken). */
int share_server_follow(struct share_server *server, int dir_fd, const char *name, struct err *err);
/* Takes fd, a file: the state that another server has left there is taken over, if it is not
 * empty; and whenever the guest stands still to be saved, this one's is left there. After the last
 * share_server_add. -EBADMSG: it cannot be used. */
int share_server_set_state(struct share_server *server, int fd, struct err *err);
/* Handles what has come on the channel and from the host, waiting for it first (timeout_ms as of
 * poll). 1 to go on, 0 at the end of the channel, or negative errno: -EPROTO the guest broke the
 * protocol. */
int share_server_turn(struct share_server *server, int timeout_ms);

static inline void share_server_freep(struct share_server **server)
{
	if (*server)
		share_server_free(*server);
}

#endif
