/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of volumes. Their files are in $HULL_ROOT/volumes (shim/volume_files.h). */
#ifndef STORE_VOLUMES_H
#define STORE_VOLUMES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

#define VOLUME_NAME_MAX 255

enum volume_kind {
	VOLUME_DISK,      /* an ext4 disk: one writer, or many readers */
	VOLUME_DIRECTORY, /* a directory of the host: as many of both as like */
	VOLUME_KIND_COUNT
};
extern const char *const volume_kind_names[VOLUME_KIND_COUNT]; /* "ext4", "directory" */

struct volume {
	char *name;
	enum volume_kind kind;
	uint64_t size_bytes; /* of a disk */
	char *journal;       /* of a disk: "ordered", "writeback", "journal" */
	bool anonymous;      /* nobody has named it: it goes with what it was made for */
	int64_t created_at;  /* Unix seconds */
	json_t *options;     /* as given: object of strings */
	json_t *labels;      /* object of strings */
};

void volume_release(struct volume *volume);

struct volume_list {
	struct volume *items; /* owned */
	size_t count, capacity;
};
void volume_list_release(struct volume_list *list);

/* Adds the row, for good once it returned. -EEXIST "volume already exists: X". */
int volumes_insert(struct store *store, const struct volume *volume, struct err *err);
/* -ENOENT "volume not found: X". */
int volumes_get(struct store *store, const char *name, struct volume *ret_volume, struct err *err);
int volumes_list(struct store *store, struct volume_list *ret_list, struct err *err); /* by name */
int volumes_delete(struct store *store, const char *name, struct err *err);

#endif
