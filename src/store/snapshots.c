/* SPDX-License-Identifier: Apache-2.0 */
#include "store/snapshots.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "store/db.h"

#define COLUMNS "uuid, name, container_uuid, has_memory, created_at, config, parts"

void snapshot_release(struct snapshot *snapshot)
{
	free(snapshot->name);
	free(snapshot->container_uuid);
	container_config_release(&snapshot->config);
	json_decref(snapshot->parts);
	*snapshot = (struct snapshot){ 0 };
}

void snapshot_list_release(struct snapshot_list *list)
{
	VEC_EACH (list, it)
		snapshot_release(it);
	VEC_FREE(list);
}

static int read_json(sqlite3_stmt *statement, int column, json_t **ret_json, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return json_parse(text, strlen(text), "a snapshot's row", ret_json, err);
}

static int read_row(sqlite3_stmt *statement, struct snapshot *ret_snapshot, struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_JSON json_t *config = NULL;
	int r = read_json(statement, 5, &config, err);

	container_config_init(&snapshot.config);
	if (r == 0)
		r = container_config_from_json(config, &snapshot.config, err);
	if (r == 0)
		r = read_json(statement, 6, &snapshot.parts, err);
	if (r < 0)
		return r;
	snprintf(snapshot.uuid, sizeof(snapshot.uuid), "%s",
		 (const char *)sqlite3_column_text(statement, 0));
	snapshot.name = db_text(statement, 1);
	snapshot.container_uuid = db_text(statement, 2);
	snapshot.has_memory = sqlite3_column_int(statement, 3);
	snapshot.created_at = sqlite3_column_int64(statement, 4);
	*ret_snapshot = snapshot;
	snapshot = (struct snapshot){ 0 };
	return 0;
}

int snapshots_insert(struct store *store, const struct snapshot *snapshot, struct err *err)
{
	AUTO_JSON json_t *config = container_config_to_json(&snapshot->config);
	AUTO_FREE char *config_text = config ? json_text(config) : NULL;
	AUTO_FREE char *parts = json_text(snapshot->parts);
	int r;

	db_set_durable(store, true);
	r = db_change(store, err,
		      "INSERT INTO snapshots (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		      "tttiitt", snapshot->uuid, snapshot->name, snapshot->container_uuid,
		      (int64_t)snapshot->has_memory, snapshot->created_at,
		      str_or(config_text, "{}"), parts);
	if (r == -EEXIST)
		return err_set(err, r, "snapshot already exists: %s", snapshot->name);
	return r < 0 ? r : 0;
}

int snapshots_get(struct store *store, const char *name, struct snapshot *ret_snapshot,
		  struct err *err)
{
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " COLUMNS " FROM snapshots WHERE name = ?1 OR uuid = ?1"
			   " OR (uuid >= ?1 AND uuid < ?1 || char(127))"
			   " ORDER BY name = ?1 DESC, uuid = ?1 DESC LIMIT 2",
			   "t", name);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r == 0 || !*name)
		return err_set(err, -ENOENT, "snapshot not found: %s", name);
	r = read_row(statement, &snapshot, err);
	if (r < 0)
		return r;
	if (!str_eq(snapshot.name, name) && !str_eq(snapshot.uuid, name) &&
	    db_step(store, statement, err) > 0)
		return err_set(err, -EINVAL, "snapshot id '%s' is ambiguous", name);
	*ret_snapshot = snapshot;
	snapshot = (struct snapshot){ 0 };
	return 0;
}

int snapshots_list(struct store *store, struct snapshot_list *ret_list, struct err *err)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " COLUMNS " FROM snapshots ORDER BY created_at DESC, name", "");

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0) {
		struct snapshot snapshot = { 0 };

		r = read_row(statement, &snapshot, err);
		if (r < 0)
			return r;
		VEC_PUSH(&list, snapshot);
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct snapshot_list){ 0 };
	return 0;
}

int snapshots_delete(struct store *store, const char *uuid, struct err *err)
{
	int r;

	db_set_durable(store, true);
	r = db_change(store, err, "DELETE FROM snapshots WHERE uuid = ?1", "t", uuid);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, -ENOENT, "snapshot not found: %s", uuid);
}
