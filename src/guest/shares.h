/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and files of the host. Each is a FUSE mount whose server is on the host (hull-share):
 * a process beside hull-init carries what the kernel asks and what it is answered between
 * /dev/fuse and the "files" port (proto/share.h), and repeats what happens on the host, so that
 * programs which watch for changes see it.
 */
#ifndef GUEST_SHARES_H
#define GUEST_SHARES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "proto/msg.h"

/* Mounts share number `share` at place, a directory or (is_file) a file. Nothing in it can be
 * reached before shares_serve. */
int shares_mount(const char *share, const char *place, bool is_file, struct err *err);
/* Before the machine is saved, its container being frozen: what was asked for is answered, and
 * nothing is under way any more. -ETIMEDOUT, -EIO: the host does not answer; shares_go then, too.
 */
int shares_stop(struct err *err);
/* They can be used again. elsewhere: the machine was brought back; waits until what is cached and
 * may have changed is forgotten. */
void shares_go(bool elsewhere);
/* Starts serving what was mounted, if anything was. root_fd: of the container, whose user the files
 * belong to. */
int shares_serve(int root_fd, const struct msg_process *process, struct err *err);

#endif
