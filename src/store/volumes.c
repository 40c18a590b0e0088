/* SPDX-License-Identifier: Apache-2.0 */
#include "store/volumes.h"

#include <assert.h>
#include <errno.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/db.h"

#define VOLUME_COLUMNS "name, kind, size, journal, anonymous, created_at, options, labels"

const char *const volume_kind_names[VOLUME_KIND_COUNT] = {
	[VOLUME_DISK] = "ext4",
	[VOLUME_DIRECTORY] = "directory",
};
static_assert(ARRAY_SIZE(volume_kind_names) == VOLUME_KIND_COUNT, "a name for each kind");

void volume_release(struct volume *volume)
{
	free(volume->name);
	free(volume->journal);
	json_decref(volume->options);
	json_decref(volume->labels);
	*volume = (struct volume){ 0 };
}

void volume_list_release(struct volume_list *list)
{
	VEC_EACH (list, volume)
		volume_release(volume);
	VEC_FREE(list);
}

static json_t *read_object(sqlite3_stmt *statement, int column, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	json_t *json = NULL;

	if (!text || json_parse(text, strlen(text), "a volume's row", &json, err) < 0)
		return NULL;
	return json;
}

static int read_row(sqlite3_stmt *statement, struct volume *ret_volume, struct err *err)
{
	const char *kind = (const char *)sqlite3_column_text(statement, 1);
	CLEANUP(volume_release)
	struct volume volume = {
		.name = db_text(statement, 0),
		.size_bytes = (uint64_t)sqlite3_column_int64(statement, 2),
		.journal = db_text(statement, 3),
		.anonymous = sqlite3_column_int(statement, 4),
		.created_at = sqlite3_column_int64(statement, 5),
		.options = read_object(statement, 6, err),
		.labels = read_object(statement, 7, err),
	};

	while (volume.kind < VOLUME_KIND_COUNT && !str_eq(kind, volume_kind_names[volume.kind]))
		volume.kind++;
	if (volume.kind == VOLUME_KIND_COUNT || !volume.options || !volume.labels)
		return err_set(err, -EUCLEAN, "the row of volume '%s' cannot be read", volume.name);
	*ret_volume = volume;
	volume = (struct volume){ 0 };
	return 0;
}

static char *object_text(const json_t *object)
{
	return object ? json_text(object) : xstrdup("{}");
}

int volumes_insert(struct store *store, const struct volume *volume, struct err *err)
{
	AUTO_FREE char *options = object_text(volume->options);
	AUTO_FREE char *labels = object_text(volume->labels);
	int r;

	db_set_durable(store, true);
	r = db_change(store, err,
		      "INSERT INTO volumes (" VOLUME_COLUMNS
		      ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		      "ttitiitt", volume->name, volume_kind_names[volume->kind],
		      (int64_t)volume->size_bytes, volume->journal, (int64_t)volume->anonymous,
		      volume->created_at, options, labels);
	if (r == -EEXIST)
		return err_set(err, r, "volume already exists: %s", volume->name);
	return r < 0 ? r : 0;
}

int volumes_get(struct store *store, const char *name, struct volume *ret_volume, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " VOLUME_COLUMNS " FROM volumes WHERE name = ?1", "t", name);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "volume not found: %s", name);
	return read_row(statement, ret_volume, err);
}

int volumes_list(struct store *store, struct volume_list *ret_list, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	int r = db_prepare(store, &statement, err,
			   "SELECT " VOLUME_COLUMNS " FROM volumes ORDER BY name", "");

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0) {
		struct volume volume = { 0 };

		r = read_row(statement, &volume, err);
		if (r < 0)
			return r;
		VEC_PUSH(&list, volume);
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct volume_list){ 0 };
	return 0;
}

int volumes_delete(struct store *store, const char *name, struct err *err)
{
	int r;

	db_set_durable(store, true);
	r = db_change(store, err, "DELETE FROM volumes WHERE name = ?1", "t", name);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, -ENOENT, "volume not found: %s", name);
}
