/* SPDX-License-Identifier: Apache-2.0 */
/* New containers that begin as copies of a saved machine. */
#ifndef ENGINE_COPIES_H
#define ENGINE_COPIES_H

#include "engine/internal.h"
#include "shim/ctl.h"

struct copies {
	const struct container_config *config; /* of what was saved; borrowed */
	const char *directory;                 /* of the saved machine, with its scratch.img */
	const char *origin;                    /* the name of what was saved */
	const json_t *volumes;                 /* of directory (volume_copies.h); borrowed */
	uint32_t count;
	const char *name; /* as of struct fork_options */
	uint32_t signal;
	bool remove;      /* each is removed when it has ended */
	bool keeps_ports; /* those that were asked for; else each gets free ones */
};

/* Makes and starts them, at the same time. *ret_ids: those that run, also when others failed. */
int copies_start(struct engine *engine, const struct copies *copies, char ***ret_ids,
		 struct err *err);
/* Makes one that does not run. *ret_id is owned by the caller. */
int copies_make_stopped(struct engine *engine, const struct copies *copies, char **ret_id,
			struct err *err);
/* Sets a container back to the disks in directory (volumes: of it) and, if it has the devices of a
 * saved machine, starts that; NULL: it is stopped. What runs of it is killed. */
int copies_replace(struct engine *engine, const struct container *container, const char *directory,
		   const json_t *volumes, const struct machine_devices *devices, struct err *err);
/* A directory of our own below snapshots/, which nobody removes while the lock is held. Both are
 * the caller's. */
int copies_make_directory(struct engine *engine, char **ret_directory, int *ret_lock,
			  struct err *err);
/* What tells it from others; borrowed from directory. */
const char *copies_directory_uuid(const char *directory);
/* Has the shim of a running container save it to a directory of copies_make_directory. */
int copies_save(struct engine *engine, const struct container *container, const char *directory,
		struct ctl_saved *ret_saved, struct err *err);
/* warm.c: an image that goes on from the snapshot; owned by the caller. NULL: none does. */
char *warm_user(struct engine *engine, const char *uuid);
/* snapshots.c: engine_fork of a snapshot. */
int snapshots_fork(struct engine *engine, const struct fork_options *options, uint32_t signal,
		   char ***ret_ids, struct err *err);
/* copies_clear.c: what commands and shims that were killed have left. */
#define COPIES_UNFINISHED ".making-" /* before the name of a directory of copies_make_directory */
#define COPIES_NEW_DISK                                                          \
	"scratch.new" /* in a container's directory, before it replaces its disk \
		       */
/* Directories whose makers are gone, and snapshots without a row. result may be NULL. */
void copies_clear_directories(struct engine *engine, struct prune_result *result);
/* What was being saved or restored in a container's directory; its lock is held. */
void copies_clear_container(struct engine *engine, const char *uuid);
/* Both, of all containers; of those that run only what is old. */
void copies_prune(struct engine *engine, struct prune_result *result);

#endif
