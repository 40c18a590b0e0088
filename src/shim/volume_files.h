/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of volumes: $HULL_ROOT/volumes/<name>/ holds `disk.img`, or the directory `data`, and
 * `lock`. Whoever uses a disk holds its lock (exclusively to write, shared to read) as long as a
 * machine has it: the starter takes it, the shim inherits it, and with the shim it goes.
 *
 * Rows and directories are made and removed by holders of `volumes.lock` alone: a directory without
 * a row is a leftover then.
 */
#ifndef SHIM_VOLUME_FILES_H
#define SHIM_VOLUME_FILES_H

#include <stdbool.h>

#include "base/err.h"
#include "store/containers.h"
#include "store/volumes.h"

/* All owned by the caller. */
char *volume_dir(const char *root, const char *name);
char *volume_disk_path(const char *root, const char *name);
char *volume_data_path(const char *root, const char *name);

/* "volume names have …"; what no name of a file could be is refused here. */
int volume_check_name(const char *name, struct err *err);

/* The lock over all rows and directories. Blocks, for moments. */
int volumes_lock(const char *root, struct err *err);
/* The lock of one; -EAGAIN when somebody else's use does not go with it. */
int volume_lock(const char *root, const char *name, bool exclusive, struct err *err);

/* Whether a disk's file system was left without being unmounted: read-only it cannot be mounted
 * then. */
bool volume_needs_recovery(const char *root, const char *name);

/* By who alone holds its lock: 1: the directory was empty, or a copy into it was broken off, and
 * says now that one is under way (SHARE_FILLING, proto/share.h); 0: it holds something. */
int volume_mark_filling(const char *path, struct err *err);

/* Removes the row, then the files. The holder of volumes_lock calls it. -EBUSY when it is in use by
 * somebody who holds its lock. */
int volume_remove(struct store *store, const char *root, const char *name, struct err *err);
/* The id of a container that mounts it, owned by the caller; NULL: none. */
char *volume_user(const struct container_list *containers, const char *name);
/* Removes those of a container that is gone which nobody has named or mounts. Best effort. */
void volumes_remove_anonymous(struct store *store, const char *root,
			      const struct container_config *config);

#endif
