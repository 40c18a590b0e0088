/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shim gives up before it reads the first byte of its guest: nearly all of the file system
 * (Landlock; the database with it), and system calls that neither it nor its children need
 * (seccomp). Both hold for every process that it starts, whatever that process asks for: the table
 * in confine.c therefore lists what QEMU and the other children reach, too, who then restrict
 * themselves further.
 */
#ifndef SHIM_CONFINE_H
#define SHIM_CONFINE_H

#include "base/err.h"
#include "share/opener.h"
#include "shim/launch.h"
#include "store/config.h"

/* Once, for the calling process, after what it keeps open for its life (log, lock, sockets)
 * is open. 0 where this kernel has no Landlock or seccomp. */
int confine_shim(const struct launch *launch, const struct container_config *config,
		 struct err *err);
/* The same for its clerk (shim/clerk.h), whose database is open: that, the volumes if it may have
 * to remove some, and neither programs nor sockets. */
int confine_clerk(const char *root, bool removes_volumes, struct err *err);
/* The same for who starts processes of networks for a shim that may not: the database, and what
 * those processes need. *ret_networks: that without the database, for them (proc_spec.landlock_fd;
 * the caller's); 0 where this kernel has no Landlock. */
int confine_starter(const struct launch *launch, int *ret_networks, struct err *err);

/* The same for who opens shared files by name (shim/single_files.h): the directories that they are
 * in. */
int confine_opener(const struct shared_name *names, size_t count, struct err *err);

#endif
