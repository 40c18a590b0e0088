/* SPDX-License-Identifier: Apache-2.0 */
/* The use cases around volumes; see engine.h. */
#ifndef ENGINE_VOLUME_H
#define ENGINE_VOLUME_H

#include "engine/engine.h"
#include "store/volumes.h"

struct volume_options {
	const char *name;     /* NULL: generated, and anonymous */
	uint64_t size_bytes;  /* 0: the default, or what options say */
	char *const *options; /* size=S, journal=ordered|writeback|journal[:SIZE],
				 type=disk|directory */
	json_t *labels;       /* borrowed; may be NULL */
};
/* *ret_name is owned by the caller. -EEXIST "volume already exists: X". */
int engine_volume_create(struct engine *engine, const struct volume_options *options,
			 char **ret_name, struct err *err);
/* -EBUSY when a container has it. */
int engine_volume_delete(struct engine *engine, const char *name, struct err *err);
/* What is released by the caller. */
int engine_volume_get(struct engine *engine, const char *name, struct volume *ret_volume,
		      struct err *err);
int engine_volume_list(struct engine *engine, struct volume_list *ret_list, struct err *err);
/* All that no container has, or of those the anonymous ones only. */
int engine_volume_prune(struct engine *engine, bool anonymous_only, struct prune_result *ret_result,
			struct err *err);
/* Where its data is: a disk's file, or a directory; owned by the caller. */
char *engine_volume_source(const struct engine *engine, const struct volume *volume);

#endif
