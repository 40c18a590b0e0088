/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes of containers that are copied. What can be written to is copied with the machine, into
 * volume-N.img of the saved directory (shim/saved_disks.h), and each new container gets disks of
 * its own of that. What is only read is shared; a saved machine that remembers it can go on only
 * while it is as it was. Directories of the host are no disks and not handled here.
 *
 * A description says which: an array of {mount, volume, size, journal, options, labels} for those
 * that are kept, {mount, volume, identity} for those that are read.
 */
#ifndef ENGINE_VOLUME_COPIES_H
#define ENGINE_VOLUME_COPIES_H

#include "base/json.h"
#include "engine/internal.h"

/* The volume that the container can write to, borrowed from config; NULL: none. */
const char *volume_copies_written(struct engine *engine, const struct container_config *config);
/* Describes what directory holds, and what is read; a new reference. */
int volume_copies_describe(struct engine *engine, const struct container_config *config,
			   const char *directory, json_t **ret_volumes, struct err *err);
/* Copies the volumes of a container that does not run into directory, locked meanwhile. -EBUSY:
 * another one has them. */
int volume_copies_save(struct engine *engine, const struct container *container,
		       const char *directory, struct err *err);
/* Makes new, anonymous volumes for a new container, whose lock the caller holds, and inserts its
 * row, which names them. *made: those to discard should the container come to nothing; the
 * caller's, even on failure. */
int volume_copies_insert(struct engine *engine, const json_t *volumes, const char *directory,
			 struct container *container, char ***made, struct err *err);
void volume_copies_discard(struct engine *engine, char *const *made);
/* -ESTALE: a volume that the saved machine reads is not as it was. launch has them locked. */
int volume_copies_check(const json_t *volumes, const struct launch *launch, struct err *err);
/* Gives volumes back the content that directory holds. launch has them locked. */
int volume_copies_put_back(const json_t *volumes, const char *directory,
			   const struct launch *launch, struct err *err);

#endif
