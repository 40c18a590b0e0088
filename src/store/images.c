/* SPDX-License-Identifier: Apache-2.0 */
#include "store/images.h"

#include <errno.h>
#include <time.h>

#include "base/str.h"
#include "base/vec.h"
#include "store/db.h"

#define IMAGE_COLUMNS "reference, digest, media_type, size, created_at"

void image_row_release(struct image_row *row)
{
	free(row->reference);
	free(row->digest);
	free(row->media_type);
	*row = (struct image_row){ 0 };
}

void image_rows_release(struct image_rows *rows)
{
	VEC_EACH (rows, row)
		image_row_release(row);
	VEC_FREE(rows);
}

static struct image_row read_row(sqlite3_stmt *statement)
{
	return (struct image_row){
		.reference = db_text(statement, 0),
		.digest = db_text(statement, 1),
		.media_type = db_text(statement, 2),
		.size = (uint64_t)sqlite3_column_int64(statement, 3),
		.created_at = sqlite3_column_int64(statement, 4),
	};
}

int images_set(struct store *store, const struct image_row *row, struct err *err)
{
	int64_t created_at = row->created_at ? row->created_at : time(NULL);
	int r;

	db_set_durable(store, true);
	r = db_change(store, err,
		      "INSERT OR REPLACE INTO images (" IMAGE_COLUMNS
		      ") VALUES (?1, ?2, ?3, ?4, ?5)",
		      "tttii", row->reference, row->digest, str_or(row->media_type, ""),
		      (int64_t)row->size, created_at);
	return r < 0 ? r : 0;
}

int images_get(struct store *store, const char *reference, struct image_row *ret_row,
	       struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " IMAGE_COLUMNS " FROM images WHERE reference = ?1", "t",
			   reference);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "image not found: %s", reference);
	*ret_row = read_row(statement);
	return 0;
}

int images_list(struct store *store, struct image_rows *ret_rows, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	int r = db_prepare(store, &statement, err,
			   "SELECT " IMAGE_COLUMNS " FROM images ORDER BY reference", "");

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0)
		VEC_PUSH(&rows, read_row(statement));
	if (r < 0)
		return r;
	*ret_rows = rows;
	rows = (struct image_rows){ 0 };
	return 0;
}

int images_delete(struct store *store, const char *reference, struct err *err)
{
	int r;

	db_set_durable(store, true);
	r = db_change(store, err, "DELETE FROM images WHERE reference = ?1", "t", reference);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, -ENOENT, "image not found: %s", reference);
}
