/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of images: which reference names which content. The content itself is in src/image. */
#ifndef STORE_IMAGES_H
#define STORE_IMAGES_H

#include "store/store.h"

struct image_row {
	char *reference; /* normalised: registry/repository:tag, or …@digest */
	char *digest;    /* of the index or manifest it names */
	char *media_type;
	uint64_t size;      /* of that document */
	int64_t created_at; /* when the row was last set; Unix seconds */
};

void image_row_release(struct image_row *row);

struct image_rows {
	struct image_row *items; /* owned */
	size_t count, capacity;
};
void image_rows_release(struct image_rows *rows);

/* Points the reference at the content, replacing what it named before. */
int images_set(struct store *store, const struct image_row *row, struct err *err);
/* By normalised reference. -ENOENT "image not found: X". */
int images_get(struct store *store, const char *reference, struct image_row *ret_row,
	       struct err *err);
int images_list(struct store *store, struct image_rows *ret_rows,
		struct err *err); /* by reference */
int images_delete(struct store *store, const char *reference, struct err *err);

#endif
