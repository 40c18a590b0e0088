/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of hull-share have in common. */
#ifndef SHARE_INTERNAL_H
#define SHARE_INTERNAL_H

#include <linux/fuse.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/vec.h"
#include "proto/share.h"
#include "share/node.h"
#include "share/server.h"

#define HANDLES_MAX 65536
#define NOTES_MAX 1024     /* that wait for the guest or are with it */
#define NOTES_SENT_MAX 128 /* with the guest */
/* Directories that are watched: the host's user has so many of them for all that he runs. */
#define WATCHES_MAX 16384

struct share {
	struct share_server *server;
	uint16_t index;
	int root_fd; /* owned, O_PATH */
	bool read_only;
	char *place_name; /* owned; of a file that follows its name (follow.c); NULL: it does not */
	int place_watch;
	bool is_late;   /* another one may be there */
	bool is_opened; /* root_fd is open for reading, and for writing if that is allowed */
	struct node_table nodes;
};

struct handle {
	struct share *share; /* NULL: free */
	struct node *node;   /* used */
	int fd;              /* owned; -1: of an echo */
	bool appends;        /* wherever the file ends on the host, though fd may not say so */
};

/* Something to tell the guest that it handles in its own time. */
struct note {
	uint8_t op;          /* enum share_echo_op; 0: forget the pages of node */
	struct share *share; /* whose */
	struct node *dir;    /* used; NULL: node is meant by itself */
	char *name;          /* owned; in dir */
	struct node *node;   /* used; may be NULL */
	struct stat st;      /* what was or is there */
};

struct share_server {
	int channel; /* owned */
	int events;  /* owned: inotify; -1 there are no more of it */
	int places;  /* owned: inotify of the directories of single files; -1 */
	int opener;  /* owned: socket; -1 */
	size_t watch_count;
	struct node_budget nodes;
	struct share shares[SHARE_COUNT_MAX];
	size_t share_count;
	bool has_hello;
	bool quiet;       /* no notes */
	bool quiet_asked; /* and the guest waits to hear that none is under way */
	bool still;       /* nothing is sent at all */
	bool restored;    /* what the guest knows may have changed since */
	int state_fd;     /* owned; -1 */
	bool maps;        /* owners: not as root */
	uid_t own_uid;
	gid_t own_gid;
	uid_t guest_uid;
	gid_t guest_gid;
	uint32_t echo_task;
	VEC(struct handle) handles;
	size_t handle_hint;
	struct note notes[NOTES_MAX]; /* a ring */
	size_t note_first, note_count, note_sent;
	uint8_t *in; /* owned */
	size_t in_start, in_end;
	uint8_t *out;    /* owned: one frame */
	uint8_t *unsent; /* owned: frames that are not yet on their way */
	size_t unsent_size;
	uint8_t *blocks; /* mapped: SHARE_BLOCKS; NULL: there are none. The guest's, too */
};

/* fs.c */

/* Carries out one request of the guest and answers it. -EPROTO when it is none. block is what the
 * guest has lent; NULL: nothing. */
int fs_request(struct share *share, const uint8_t *data, size_t size,
	       const struct share_block *block);

/* call.c */

/* An O_PATH descriptor of what a node is, and its state. -ESTALE when something else is there. */
int fs_open_node(const struct share *share, const struct node *node, struct stat *ret_stat);
void fs_unwatch(void *share, int watch);
void fs_use(struct node *node);
void fs_unuse(struct share *share, struct node *node);

/* watch.c */

/* What the server itself is about to do: changes that the guest knows of. */
struct watch_own {
	const struct share *share;
	struct {
		int watch;
		const char *name; /* "": the directory itself */
	} places[4];
	size_t count;
};
/* Watches a directory, or the file that is the root, known by an O_PATH descriptor. */
void watch_add(struct share *share, struct node *node, int path_fd);
/* Takes all that has happened; what own (or NULL) names is the server's own doing. */
void watch_drain(struct share_server *server, const struct watch_own *own);
/* Sends notes, as many as the guest may have. */
void watch_send_notes(struct share_server *server);
/* The guest has handled so many. -EPROTO when it never had them. */
int watch_done(struct share_server *server, uint32_t count);
/* The note about a name that has the operation and is under way; NULL: none. */
struct note *watch_find_note(struct share_server *server, uint8_t op, const struct node *dir,
			     const char *name);
void watch_drop_notes(struct share_server *server);
/* Another file is in the place of the one that is the root. */
void watch_root_replaced(struct share *share, struct node *root);
/* All attributes are asked for again. */
void watch_forget_all(struct share_server *server);

/* follow.c */

/* Looks whether other files are at the names of those that are shared by themselves. */
void follow_drain(struct share_server *server);

/* state.c */

/* Leaves what the guest knows, and has open, in server->state_fd. */
int state_write(struct share_server *server);
/* Takes over what is there. -EBADMSG: it is none, or not of these shares. */
int state_read(struct share_server *server);

/* server.c */

/* Sends server->out, of whose payload size bytes are filled in; at the latest with server_flush. */
int server_send(struct share_server *server, uint16_t share, uint16_t type, size_t size);
int server_flush(struct share_server *server);

#endif
