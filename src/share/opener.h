/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who opens a shared file by its name. A single file that is shared follows its name: what editors
 * save is a new file that takes the old one's place. hull-share may not open it, since Landlock
 * knows files and not names: it would have to be let at all of the directory. So a process of its
 * own, which never hears of the guest, opens what is at these names, and nothing else.
 *
 * Over a stream socket: u16 index and u32 number, answered by the same with a descriptor, or
 * without one when there is no regular file at the name.
 */
#ifndef SHARE_OPENER_H
#define SHARE_OPENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shared_name {
	uint16_t share;
	int dir_fd;       /* O_PATH */
	const char *name; /* a single component; no link is followed */
	bool read_only;
};

/* Answers until the socket's other end is closed. */
void opener_serve(int sock, const struct shared_name *names, size_t count);
/* Asks. Opened for reading, and for writing where that is allowed; -ENOENT: there is none;
 * -ETIMEDOUT, -EPIPE, -EPROTO. */
int opener_ask(int sock, uint16_t share);

#endif
