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
/* Where the file of that path lies: its directory (O_PATH; the caller's), links being followed, and
 * its own name there. -ENOENT, or -EINVAL: it is a directory. */
int shares_locate_file(const char *path, char **ret_name);

/* A server that runs; all 0: there is none. */
struct shares {
	pid_t pid;
	int channel; /* owned: the guest's end of its channel, until the machine has it */
	int state;   /* owned: a file that holds the server's state while the guest stands still */
};

/* Starts the server for the shares of a container, confined to them; it goes on with what was saved
 * if launch names a saved machine. bulk: the memory that much data passes through. opener: the
 * socket of shim/single_files.h; 0: none. *ret_shares is left alone when there are no shares. Its
 * messages are appended to the file log_path. */
int shares_start(const struct launch *launch, const struct container_config *config, int bulk,
		 int opener, const char *log_path, struct shares *ret_shares, struct err *err);
/* Keeps the state in directory: the guest stands still. */
int shares_save(int state_fd, const char *directory, struct err *err);
/* Ends it, when nothing can come from the guest any more. */
void shares_end(struct shares *shares);

#endif
