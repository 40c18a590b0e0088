/* SPDX-License-Identifier: Apache-2.0 */
/* The host directories and files of a container: its file server (hull-share). */
#ifndef SHIM_SHARES_H
#define SHIM_SHARES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "shim/launch.h"
#include "store/config.h"

/* The path of the host that mount number i shares with the container (a directory of its own, or
 * a volume that is one), or NULL when the mount is of another kind. Shares are numbered in the
 * order of the mounts that have one. Borrowed. */
const char *shares_source(const struct launch *launch, const struct container_config *config,
			  size_t i);
bool shares_is_read_only(const struct mount_config *mount);

/* Starts the server for the shares of a container, confined to them.
 * *ret_fd, the guest's end of its channel (the caller's), and *ret_pid are left alone when there
 * are no shares. Its messages are appended to the file log_path. */
int shares_start(const struct launch *launch, const struct container_config *config,
		 const char *log_path, int *ret_fd, pid_t *ret_pid, struct err *err);
/* Ends it, when nothing can come from the guest any more. pid 0: there is none. */
void shares_end(pid_t pid);

#endif
