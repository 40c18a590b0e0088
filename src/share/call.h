/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the guest, while it is carried out: what fs.c has checked of it, and what the
 * operations (attributes.c, names.c, files.c, directories.c) have in common. Operations return 0,
 * with the answer in out, a negative errno, or CALL_NO_REPLY.
 */
#ifndef SHARE_CALL_H
#define SHARE_CALL_H

#include "share/internal.h"

#define CALL_NO_REPLY 1
/* Of what is watched; changes are told at once but by mmap or from afar. */
#define VALID_SECONDS 10
#define NAME_LENGTH_MAX 255
#define TARGET_MAX 4095
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)

struct call {
	struct share *share;
	struct share_server *server;
	const struct fuse_in_header *in;
	struct node *node;
	const void *fixed; /* aligned copy of the fixed part */
	const char *name;  /* of the operations that have names */
	const char *name2;
	const uint8_t *data; /* of WRITE and BATCH_FORGET; the guest may be writing to it */
	size_t data_size;
	uint8_t *out; /* room for SHARE_WRITE_MAX bytes and more */
	size_t out_size;
	uint8_t *block;    /* what the guest has lent: SHARE_BLOCK_SIZE; NULL: nothing */
	size_t block_size; /* of it is the answer's end */
	bool echo;         /* the task that repeats what happened here: nothing is done for it */
	struct watch_own own;
};

/* --- call.c: nodes, descriptors, changes of our own --- */

/* The guest knows the node so many times less. */
void fs_forget(struct share *share, uint64_t id, uint64_t count);
/* The path of what a descriptor is, for calls that know no O_PATH. */
const char *fs_fd_path(int fd, char out[64]);
/* Opens what an O_PATH descriptor is: nothing can come in its place. */
int fs_reopen(int path_fd, int flags);
/* The same in a share whose file may have been opened by another process. */
int fs_open_again(const struct share *share, int path_fd, int flags);
/* The handle that the guest has of call->node; NULL: it has no such. */
struct handle *handle_get(struct call *call, uint64_t fh);
/* Takes fd on success. */
int handle_new(struct call *call, struct node *node, int fd, uint64_t *ret_fh);
/* What is about to be changed by ourselves: a name in a directory, or a node. */
void own_place(struct call *call, const struct node *dir, const char *name);
void own_node(struct call *call, const struct node *node);
/* Around the change. What others have done so far is told as theirs. */
void own_begin(struct call *call);
void own_end(struct call *call);

/* --- attributes.c: a descriptor is O_PATH or open --- */

/* Makes it the guest's uid and gid ((uint32_t)-1: as it is). */
int attr_set_owner(const struct share_server *server, int fd, uint32_t uid, uint32_t gid);
/* Of the mode that is asked for, what may be on the host: nobody gets there rights of another. */
mode_t attr_host_mode(mode_t mode, bool is_dir);
/* fd: of what st tells; -1: it is gone. */
void attr_fill(const struct share *share, int fd, const struct stat *st, struct fuse_attr *attr);
/* How long, in seconds, the guest may keep what it is told of a node. */
uint64_t attr_validity(const struct node *node, const struct stat *st);
/* So the guest was told. */
void attr_remember(struct node *node, const struct stat *st);
int op_getattr(struct call *call);
int op_setattr(struct call *call);
int op_statfs(struct call *call);

/* --- names.c --- */

/* An O_PATH descriptor of what a name is, and its state. */
int entry_open(int dir_fd, const char *name, struct stat *ret_st);
/* Fills in what the guest is told of a name in call->node and counts that it was. fd is it. */
int entry_fill(struct call *call, const char *name, int fd, const struct stat *st,
	       struct fuse_entry_out *out);
/* Who makes something owns it. */
void entry_give(struct call *call, int dir_fd, const char *name);
/* Before call->name is made or removed: a descriptor of call->node, the directory. */
int entry_begin(struct call *call);
int entry_begin_new(struct call *call); /* -ENFILE when the guest knows as many names as it may */
int op_lookup(struct call *call);
int op_mknod(struct call *call);
int op_mkdir(struct call *call);
int op_symlink(struct call *call);
int op_readlink(struct call *call);
int op_link(struct call *call);
int op_unlink(struct call *call);
int op_rmdir(struct call *call);
int op_rename(struct call *call);
int op_rename2(struct call *call);

/* --- files.c --- */

/* Opens a regular file by what an O_PATH descriptor says it is. */
int file_open(int path_fd, uint32_t flags, const struct share *share);
int op_open(struct call *call);
int op_create(struct call *call);
int op_read(struct call *call);
int op_write(struct call *call);
int op_release(struct call *call);
int op_fsync(struct call *call);
int op_fallocate(struct call *call);
int op_lseek(struct call *call);
int op_copy_file_range(struct call *call);

/* --- directories.c --- */

int op_readdir(struct call *call);
int op_readdirplus(struct call *call);
int op_fsyncdir(struct call *call);

#endif
