/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of snapshots. Their files are in $HULL_ROOT/snapshots/<uuid>. */
#ifndef STORE_SNAPSHOTS_H
#define STORE_SNAPSHOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "store/config.h"
#include "store/store.h"

struct snapshot {
	char uuid[40];
	char *name;
	char *container_uuid;           /* what it is of; may be gone */
	bool has_memory;                /* of one that ran; else the disk alone */
	int64_t created_at;             /* Unix seconds */
	struct container_config config; /* of the container then */
	json_t *parts;                  /* sizes and sums of its files: engine/snapshots.c */
};

void snapshot_release(struct snapshot *snapshot);

struct snapshot_list {
	struct snapshot *items; /* owned */
	size_t count, capacity;
};
void snapshot_list_release(struct snapshot_list *list);

/* Adds the row, for good once it returned. -EEXIST "snapshot already exists: X". */
int snapshots_insert(struct store *store, const struct snapshot *snapshot, struct err *err);
/* By name, uuid or the beginning of one uuid alone. -ENOENT "snapshot not found: X". */
int snapshots_get(struct store *store, const char *name, struct snapshot *ret_snapshot,
		  struct err *err);
/* All, newest first. */
int snapshots_list(struct store *store, struct snapshot_list *ret_list, struct err *err);
int snapshots_delete(struct store *store, const char *uuid, struct err *err);

#endif
