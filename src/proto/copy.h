/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in and out of a container: the message that begins it. As with a process, the host chooses
 * an id; what the guest makes flows as that process's stdout, what it is given as its stdin, and on
 * stderr come lines: 'E' and the reason why it failed, or 'W' and a warning. MSG_STARTED or
 * MSG_FAILED and MSG_EXITED (0 or 1) are those of a process. Encoded as messages are (msg.h).
 */
#ifndef PROTO_COPY_H
#define PROTO_COPY_H

#include <stdint.h>

#include "base/str.h"

#define MSG_COPY 40 /* host: msg_copy */

enum msg_copy_op {
	MSG_COPY_READ = 1,   /* path as an archive */
	MSG_COPY_WRITE = 2,  /* an archive into path */
	MSG_COPY_EXPORT = 3, /* the root file system without what is mounted in it, as an archive */
	MSG_COPY_LAYER = 4,  /* what was changed in it, as an archive of an image's layer */
	MSG_COPY_DIFF = 5,   /* the same as a list: 'A', 'C' or 'D', a path, NUL, for each */
	MSG_COPY_OP_COUNT
};

enum msg_copy_flags {
	MSG_COPY_FOLLOW = 1 << 0,     /* READ: a link at the end of the path is followed */
	MSG_COPY_KEEP_OWNER = 1 << 1, /* WRITE: of the archive's numbers; else all is root's */
	MSG_COPY_KEEP_NAMES = 1 << 2, /* WRITE: path is a directory, entries are below it; else the
					 archive has one top, which goes where cp would put it */
	MSG_COPY_FREEZE = 1 << 3,     /* the container's processes stand still meanwhile */
	MSG_COPY_FLAGS_ALL = (1 << 4) - 1,
};

struct msg_copy {
	uint32_t id;
	uint32_t op;      /* enum msg_copy_op */
	uint32_t flags;   /* enum msg_copy_flags */
	const char *path; /* in the container; a relative one begins at its root; "" for EXPORT,
			     LAYER, DIFF */
	const char *name; /* WRITE: of the archive's top; "": its contents are meant */
	/* The data passes through this lane (proto/bulk.h), counted from 1, and the streams say
	 * which part of it; 0: through the streams. The shim chooses it. */
	uint32_t lane;
};

void msg_copy_encode(const struct msg_copy *msg, struct sbuf *out);
/* 0 or -EPROTO; strings are borrowed from data. */
int msg_copy_decode(const uint8_t *data, size_t size, struct msg_copy *ret_msg);

#endif
