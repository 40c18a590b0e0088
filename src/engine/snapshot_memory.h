/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of snapshots. What is kept is a difference (vm/ram_delta.h): to the memory of an
 *earlier snapshot of the same run, if there is one, else to that of a template, else to nothing.
 *The files of what it is a difference to are hard links, so that any of them can be deleted:
 *
 *	memory		the difference to
 *	memory.1	that of the parent, to memory.2 … at most SNAPSHOT_CHAIN_MAX of them
 *	base		what the last of these is a difference to: a template's memory
 */
#ifndef ENGINE_SNAPSHOT_MEMORY_H
#define ENGINE_SNAPSHOT_MEMORY_H

#include "engine/internal.h"
#include "store/snapshots.h"

#define SNAPSHOT_CHAIN_MAX 8

/* A file of a directory, -O_NOFOLLOW; a descriptor. */
int snapshot_open(const char *directory, const char *name, int flags, struct err *err);
/* Makes of the memory in the file ram of the directory, which goes, what is kept, synced, and says
 * so in parts: "memory", "base", "parent". parent: the snapshot that it resembles; parent_ram: its
 * memory as it was; all three may be NULL. */
int snapshot_memory_write(struct engine *engine, const char *directory, uint64_t bytes,
			  const char *template, const struct snapshot *parent,
			  const char *parent_ram, json_t *parts, struct err *err);
/* Makes the memory again, in the file ram. -EBADMSG: what is kept is damaged. */
int snapshot_memory_make(const char *directory, const json_t *parts, struct err *err);
/* Removes bases that no snapshot has. */
void snapshot_memory_prune(struct engine *engine);

#endif
