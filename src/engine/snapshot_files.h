/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a snapshot, $HULL_ROOT/snapshots/<uuid>/:
 *
 *	scratch.img	the container's disk
 *	volume-N.img	the volume of its mount N, if it is kept (volume_copies.h)
 *	saved.json	the machine (vm/saved.h); this and what follows: if it ran
 *	state		of its devices
 *	shares		what the server of its shares knew, if it has any
 *	memory, base …	what of its memory is kept (snapshot_memory.h)
 *	ram, ram.json	the memory as a machine can map it: a cache, good until the next boot of the
 *			host (ram.new while it is made; what a killed maker has left goes with the
 *			next snapshot or fork)
 *
 * Sizes and sums of them are in the row (struct snapshot, parts). All are checked before the first
 * use after a boot of the host; until the next it is their inodes and times of change that tell.
 */
#ifndef ENGINE_SNAPSHOT_FILES_H
#define ENGINE_SNAPSHOT_FILES_H

#include "engine/internal.h"
#include "store/snapshots.h"

/* The memory while it is put together. */
#define SNAPSHOT_NEW_MEMORY "ram.new"

/* snapshots/<uuid>; owned by the caller. */
char *snapshot_directory(const struct engine *engine, const char *uuid);
/* Makes of a directory with a saved machine and its disks (volumes: volume_copies.h) one of a
 * snapshot, synced. What the machine's memory is like: template, the memory of its template, and
 * parent, an earlier snapshot of it; both may be NULL. *ret_parts is a new reference. */
int snapshot_files_finish(struct engine *engine, const char *directory, const char *template,
			  const struct snapshot *parent, json_t *volumes, bool has_memory,
			  json_t **ret_parts, struct err *err);
/* Checks what is needed, and makes the cache. -EBADMSG: damaged. */
int snapshot_files_prepare(struct engine *engine, const struct snapshot *snapshot, bool with_memory,
			   struct err *err);
/* Removes bases that no snapshot has, and (all) the caches. */
void snapshot_files_prune(struct engine *engine, bool caches);

#endif
