/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema as a list of steps: a database of version n has had the first n applied. Steps that
 * were released are never edited; a change is a new step at the end. All that are missing run in
 * one transaction, so that a database is of one version or of another, never between.
 */
#include "store/db.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/mem.h"

#define APPLICATION_ID 0x48554c4c /* "HULL" */

static const char *const migrations[] = {
	"CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

	"CREATE TABLE containers ("
	" seq INTEGER PRIMARY KEY,"
	" uuid TEXT NOT NULL UNIQUE,"
	" id TEXT NOT NULL UNIQUE,"
	" state TEXT NOT NULL,"
	" auto_remove INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" started_at INTEGER NOT NULL,"
	" finished_at INTEGER NOT NULL,"
	" exit_code INTEGER," /* NULL: none yet */
	" error TEXT,"
	" config TEXT NOT NULL"
	") STRICT;"

	"CREATE TABLE images ("
	" reference TEXT PRIMARY KEY,"
	" digest TEXT NOT NULL,"
	" media_type TEXT NOT NULL,"
	" size INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;",

	"CREATE TABLE networks ("
	" name TEXT PRIMARY KEY,"
	" internal INTEGER NOT NULL,"
	" subnet TEXT NOT NULL,"
	" subnet6 TEXT,"
	" labels TEXT NOT NULL,"
	" options TEXT NOT NULL,"
	" created_at INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE leases ("
	" network TEXT NOT NULL REFERENCES networks (name),"
	" uuid TEXT NOT NULL REFERENCES containers (uuid) ON DELETE CASCADE,"
	" host INTEGER NOT NULL," /* its number in the subnet */
	" mac TEXT NOT NULL,"
	" PRIMARY KEY (network, uuid),"
	" UNIQUE (network, host),"
	" UNIQUE (network, mac)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX leases_uuid ON leases (uuid);",

	"CREATE TABLE volumes ("
	" name TEXT PRIMARY KEY,"
	" kind TEXT NOT NULL,"
	" size INTEGER NOT NULL,"
	" journal TEXT," /* NULL: it is no disk */
	" anonymous INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" options TEXT NOT NULL,"
	" labels TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;",

	"CREATE TABLE snapshots ("
	" uuid TEXT PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE,"
	" container_uuid TEXT NOT NULL,"
	" has_memory INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" config TEXT NOT NULL,"
	" parts TEXT NOT NULL"
	") STRICT, WITHOUT ROWID;",

	"ALTER TABLE containers ADD COLUMN health TEXT;", /* NULL: none */
};

static int read_number(struct store *store, const char *sql, int64_t *ret_value, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err, sql, "");

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	*ret_value = r ? sqlite3_column_int64(statement, 0) : 0;
	return 0;
}

static int check_ours(struct store *store, int64_t version, struct err *err)
{
	int64_t application = 0;
	int64_t objects = 0;
	int r = read_number(store, "PRAGMA application_id", &application, err);

	if (r == 0)
		r = read_number(store, "SELECT count(*) FROM sqlite_schema", &objects, err);
	if (r < 0)
		return r;
	if (application != APPLICATION_ID && (application || version || objects))
		return err_set(err, -EUCLEAN, "'%s' is not a database of hull", store->path);
	if (version > (int64_t)ARRAY_SIZE(migrations))
		return err_set(err, -ENOTSUP,
			       "the database '%s' was made by a newer hull (schema %lld, known up "
			       "to %zu): "
			       "use that one",
			       store->path, (long long)version, ARRAY_SIZE(migrations));
	return 0;
}

static int apply(struct store *store, int64_t version, struct err *err)
{
	AUTO_FREE char *stamp = xasprintf("PRAGMA application_id = %d; PRAGMA user_version = %zu",
					  APPLICATION_ID, ARRAY_SIZE(migrations));
	int r = 0;

	for (size_t i = (size_t)version; i < ARRAY_SIZE(migrations) && r == 0; i++)
		r = db_script(store, migrations[i], err);
	if (r == 0)
		r = db_script(store, stamp, err);
	return r;
}

/* The lock is for the change to WAL, which fails at once, without waiting, when two attempt it. */
static int migrate_locked(struct store *store, struct err *err)
{
	AUTO_FREE char *lock_path = xasprintf("%s.lock", store->path);
	AUTO_CLOSE int lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	int64_t version = 0;
	int r;

	if (lock < 0)
		return lock;
	r = read_number(store, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = check_ours(store, version, err);
	if (r < 0 || version == (int64_t)ARRAY_SIZE(migrations))
		return r;
	r = db_script(store, "PRAGMA journal_mode = WAL", err);
	if (r == 0)
		r = store_begin(store, err);
	if (r == 0)
		r = apply(store, version, err);
	if (r == 0)
		r = store_commit(store, err);
	if (r < 0) {
		store_rollback(store);
		err_context(err, "cannot bring the database to schema %zu", ARRAY_SIZE(migrations));
	}
	return r;
}

int db_migrate(struct store *store, struct err *err)
{
	int64_t version = 0;
	int64_t application = 0;
	int r = read_number(store, "PRAGMA user_version", &version, err);

	if (r == 0)
		r = read_number(store, "PRAGMA application_id", &application, err);
	if (r < 0)
		return r;
	if (version == (int64_t)ARRAY_SIZE(migrations) && application == APPLICATION_ID)
		return 0;
	return migrate_locked(store, err);
}
