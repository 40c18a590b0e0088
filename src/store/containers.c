/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that can be told only by a power cut: what a container that removes itself goes through, and
 * that one runs. They are not synced; all others are. A program that removes files after a change
 * (resume, delete) is safe: removals of rows are synced unless the whole container is transient,
 * and a change inside store_begin() always is.
 */
#include "store/containers.h"

#include <assert.h>
#include <errno.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/db.h"

#define CONTAINER_COLUMNS                                                      \
	"uuid, state, started_at, finished_at, exit_code, error, config, id, " \
	"health"
#define AMBIGUOUS_SHOWN 4
#define BY_PREFIX "(id >= ?1 AND id < ?1 || char(127)) OR (uuid >= ?1 AND uuid < ?1 || char(127))"

const char *const container_state_names[CONTAINER_STATE_COUNT] = {
	[CONTAINER_CREATED] = "created", [CONTAINER_RUNNING] = "running",
	[CONTAINER_PAUSED] = "paused",   [CONTAINER_STOPPING] = "stopping",
	[CONTAINER_STOPPED] = "stopped", [CONTAINER_SUSPENDED] = "suspended",
};
static_assert(ARRAY_SIZE(container_state_names) == CONTAINER_STATE_COUNT, "a name for each state");

const char *const container_health_names[CONTAINER_HEALTH_COUNT] = {
	[HEALTH_NONE] = "none",
	[HEALTH_STARTING] = "starting",
	[HEALTH_HEALTHY] = "healthy",
	[HEALTH_UNHEALTHY] = "unhealthy",
};
static_assert(ARRAY_SIZE(container_health_names) == CONTAINER_HEALTH_COUNT, "a name for each");

void container_free(struct container *container)
{
	if (!container)
		return;
	container_config_release(&container->config);
	free(container->error);
	free(container);
}

void container_list_release(struct container_list *list)
{
	VEC_EACH (list, container)
		container_free(*container);
	VEC_FREE(list);
}

static int state_parse(const char *name, enum container_state *ret_state)
{
	for (size_t i = 0; name && i < CONTAINER_STATE_COUNT; i++) {
		if (str_eq(name, container_state_names[i])) {
			*ret_state = (enum container_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* NULL, or what another hull wrote: none. */
static enum container_health health_parse(const char *name)
{
	size_t i = CONTAINER_HEALTH_COUNT - 1;

	while (i > HEALTH_NONE && !str_eq(name, container_health_names[i]))
		i--;
	return (enum container_health)i;
}

static bool is_durable(const struct container *container)
{
	if (container->state == CONTAINER_SUSPENDED)
		return true;
	return !container->config.auto_remove && container->state != CONTAINER_RUNNING &&
	       container->state != CONTAINER_PAUSED && container->state != CONTAINER_STOPPING;
}

/* The texts of the configuration as they go into a row. */
static int config_text(const struct container *container, char **ret_text, struct err *err)
{
	AUTO_JSON json_t *json = container_config_to_json(&container->config);

	if (!json)
		return err_set(err, -EINVAL,
			       "cannot store the configuration of container '%s': a text in it is "
			       "not UTF-8",
			       container->config.id);
	*ret_text = json_text(json);
	return 0;
}

static int read_config(const char *text, struct container_config *config, struct err *err)
{
	AUTO_JSON json_t *json = NULL;
	int r = json_parse(text, strlen(text), "its configuration", &json, err);

	return r < 0 ? r : container_config_from_json(json, config, err);
}

static int read_row(sqlite3_stmt *statement, struct container **ret_container, struct err *err)
{
	CLEANUP(container_freep) struct container *container = xcalloc(1, sizeof(*container));
	const char *id = (const char *)sqlite3_column_text(statement, 7);
	int r;

	snprintf(container->uuid, sizeof(container->uuid), "%s",
		 (const char *)sqlite3_column_text(statement, 0));
	if (state_parse((const char *)sqlite3_column_text(statement, 1), &container->state) < 0)
		return err_set(err, -EUCLEAN, "container '%s' has a state that is not known", id);
	container->started_at = sqlite3_column_int64(statement, 2);
	container->finished_at = sqlite3_column_int64(statement, 3);
	container->has_exit_code = sqlite3_column_type(statement, 4) != SQLITE_NULL;
	container->exit_code = sqlite3_column_int(statement, 4);
	container->health = health_parse((const char *)sqlite3_column_text(statement, 8));
	container->error = db_text(statement, 5);
	r = read_config((const char *)sqlite3_column_text(statement, 6), &container->config, err);
	if (r < 0) {
		err_context(err, "container '%s'", id);
		return r;
	}
	*ret_container = TAKE_PTR(container);
	return 0;
}

int containers_insert(struct store *store, const struct container *container, struct err *err)
{
	const struct container_config *config = &container->config;
	AUTO_FREE char *text = NULL;
	int r = config_text(container, &text, err);

	if (r < 0)
		return r;
	db_set_durable(store, !config->auto_remove);
	r = db_change(
		store, err,
		"INSERT INTO containers (uuid, id, state, auto_remove, created_at, started_at,"
		" finished_at, config) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6)",
		"tttiit", container->uuid, config->id, container_state_names[CONTAINER_CREATED],
		(int64_t)config->auto_remove, config->created_at, text);
	if (r == -EEXIST)
		return err_set(err, r, "container with id %s already exists", config->id);
	return r < 0 ? r : 0;
}

static int get_exact(struct store *store, const char *sql, const char *key,
		     struct container **ret_container, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err, sql, "t", key);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	return r ? read_row(statement, ret_container, err) : -ENOENT;
}

static int ambiguous(struct store *store, const char *prefix, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	AUTO_SBUF struct sbuf ids = { 0 };
	int shown = 0;
	int r = db_prepare(store, &statement, err,
			   "SELECT id FROM containers WHERE " BY_PREFIX " ORDER BY id", "t",
			   prefix);

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0 && shown++ < AMBIGUOUS_SHOWN)
		sbuf_addf(&ids, "%s%s", shown > 1 ? ", " : "",
			  (const char *)sqlite3_column_text(statement, 0));
	if (r < 0)
		return r;
	return err_set(err, -EINVAL, "container id '%s' is ambiguous: it begins %s%s", prefix,
		       str_or(ids.text, ""), r > 0 ? ", …" : "");
}

static int get_by_prefix(struct store *store, const char *prefix, struct container **ret_container,
			 struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(container_freep) struct container *container = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " CONTAINER_COLUMNS " FROM containers WHERE " BY_PREFIX
			   " LIMIT 2",
			   "t", prefix);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	r = read_row(statement, &container, err);
	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r > 0)
		return ambiguous(store, prefix, err);
	*ret_container = TAKE_PTR(container);
	return 0;
}

int containers_get(struct store *store, const char *id, struct container **ret_container,
		   struct err *err)
{
	int r = get_exact(store, "SELECT " CONTAINER_COLUMNS " FROM containers WHERE id = ?1", id,
			  ret_container, err);

	if (r == -ENOENT)
		r = get_exact(store, "SELECT " CONTAINER_COLUMNS " FROM containers WHERE uuid = ?1",
			      id, ret_container, err);
	if (r == -ENOENT && *id)
		r = get_by_prefix(store, id, ret_container, err);
	if (r == -ENOENT)
		return err_set(err, r, "container not found: %s", id);
	return r;
}

int containers_get_uuid(struct store *store, const char *uuid, struct container **ret_container,
			struct err *err)
{
	int r = get_exact(store, "SELECT " CONTAINER_COLUMNS " FROM containers WHERE uuid = ?1",
			  uuid, ret_container, err);

	return r == -ENOENT ? err_set(err, r, "container not found: %s", uuid) : r;
}

int containers_list(struct store *store, struct container_list *ret_list, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = db_prepare(store, &statement, err,
			   "SELECT " CONTAINER_COLUMNS
			   " FROM containers ORDER BY created_at DESC, seq DESC",
			   "");

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0) {
		struct container *container = NULL;

		r = read_row(statement, &container, err);
		if (r < 0)
			return r;
		VEC_PUSH(&list, container);
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct container_list){ 0 };
	return 0;
}

static int changed_one(int changes, const char *id, struct err *err)
{
	if (changes < 0)
		return changes;
	return changes ? 0 : err_set(err, -ENOENT, "container not found: %s", id);
}

int containers_update(struct store *store, const struct container *container, struct err *err)
{
	int r;

	db_set_durable(store, is_durable(container));
	r = db_change(store, err,
		      "UPDATE containers SET state = ?2, started_at = ?3, finished_at = ?4,"
		      " exit_code = iif(?5, ?6, NULL), error = ?7, health = ?8"
		      " WHERE uuid = ?1",
		      "ttiiiitt", container->uuid, container_state_names[container->state],
		      container->started_at, container->finished_at,
		      (int64_t)container->has_exit_code, (int64_t)container->exit_code,
		      container->error,
		      container->health ? container_health_names[container->health] : NULL);
	return changed_one(r, container->config.id, err);
}

int containers_update_config(struct store *store, const struct container *container,
			     struct err *err)
{
	const struct container_config *config = &container->config;
	AUTO_FREE char *text = NULL;
	int r = config_text(container, &text, err);

	if (r < 0)
		return r;
	db_set_durable(store, true);
	r = db_change(
		store, err,
		"UPDATE containers SET id = ?2, auto_remove = ?3, created_at = ?4, config = ?5"
		" WHERE uuid = ?1",
		"ttiit", container->uuid, config->id, (int64_t)config->auto_remove,
		config->created_at, text);
	if (r == -EEXIST)
		return err_set(err, r, "container with id %s already exists", config->id);
	return changed_one(r, config->id, err);
}

int containers_change_config(struct store *store, const char *uuid, container_change_fn change,
			     void *ctx, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = store_begin(store, err);

	if (r < 0)
		return r;
	r = containers_get_uuid(store, uuid, &container, err);
	if (r == 0)
		r = change(ctx, container, err);
	if (r == 0)
		r = containers_update_config(store, container, err);
	if (r == 0)
		r = store_commit(store, err);
	if (r < 0)
		store_rollback(store);
	return r;
}

static int is_transient(struct store *store, const char *uuid, bool *ret_transient, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT auto_remove FROM containers WHERE uuid = ?1", "t", uuid);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	*ret_transient = r > 0 && sqlite3_column_int(statement, 0);
	return 0;
}

int containers_delete(struct store *store, const char *uuid, struct err *err)
{
	bool transient = false;
	int r = is_transient(store, uuid, &transient, err);

	if (r < 0)
		return r;
	db_set_durable(store, !transient);
	return changed_one(
		db_change(store, err, "DELETE FROM containers WHERE uuid = ?1", "t", uuid), uuid,
		err);
}
