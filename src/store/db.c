/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every command opens the database anew, so opening is on the path of each
 * start of a container. What can be is a property of the file (WAL, set once when it is made) or a
 * call without SQL; the only query at open reads the schema's version. Closing does not checkpoint:
 * that would cost the last command two syncs; instead the log is folded back each WAL_PAGES_MAX
 * pages, which also bounds what a first opener reads again.
 *
 * Writers wait for each other in the busy handler, which sleeps in short, uneven steps: SQLite
 * offers no event to wait for, and its own handler's steps of up to 100 ms would show in a start.
 */
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"

#define BUSY_MAX_MS 10000
#define BUSY_STEP_MIN_US 200
#define BUSY_STEP_SPREAD_US 2000
#define WAL_PAGES_MAX 256

static int wait_for_writer(void *ctx, int times_called)
{
	struct store *store = ctx;
	uint64_t now_ms = clock_monotonic_ms();
	uint32_t spread;

	if (times_called == 0)
		store->busy_since_ms = now_ms;
	if (now_ms - store->busy_since_ms >= BUSY_MAX_MS)
		return 0;
	sqlite3_randomness(sizeof(spread), &spread);
	nanosleep(&(struct timespec){ .tv_nsec = 1000L * (BUSY_STEP_MIN_US +
							  spread % BUSY_STEP_SPREAD_US) },
		  NULL);
	return 1;
}

/* The errno behind a failed input or output; SQLite forgets it when a commit fails, its files do
 * not. */
static int system_errno(sqlite3 *db)
{
	sqlite3_file *log = NULL;
	int cause = sqlite3_system_errno(db);

	if (!cause)
		sqlite3_file_control(db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (log && log->pMethods)
		log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &cause);
	if (!cause)
		sqlite3_file_control(db, NULL, SQLITE_FCNTL_LAST_ERRNO, &cause);
	return cause ? cause : EIO;
}

int db_error(struct store *store, int result, struct err *err)
{

	switch (result & 0xff) {
	case SQLITE_NOMEM:
		return err_set(err, -ENOMEM, "cannot use the database '%s': %m", store->path);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return err_set(err, -EBUSY,
			       "the database '%s' is in use: other commands kept it for %d s",
			       store->path, BUSY_MAX_MS / 1000);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(err, -EUCLEAN,
			       "the database '%s' is damaged (%s): put back a copy of it, or move "
			       "it away to "
			       "start with an empty one",
			       store->path, sqlite3_errstr(result & 0xff));
	case SQLITE_FULL:
		return err_set(err, -ENOSPC, "cannot write the database '%s': %m", store->path);
	case SQLITE_READONLY:
		return err_set(err, -EROFS, "cannot write the database '%s': it is read-only here",
			       store->path);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return err_set(err, -system_errno(store->db), "cannot use the database '%s': %m",
			       store->path);
	default:
		return err_set(err, -EIO, "the database '%s' failed: %s (%d)", store->path,
			       sqlite3_errmsg(store->db), result);
	}
}

void db_set_durable(struct store *store, bool durable)
{
	if (store->relaxed == !durable || !sqlite3_get_autocommit(store->db))
		return;
	if (sqlite3_exec(store->db,
			 durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL,
			 NULL, NULL) == SQLITE_OK)
		store->relaxed = !durable;
}

static int bind(sqlite3_stmt *statement, const char *format, va_list args)
{
	int result = SQLITE_OK;

	for (int i = 1; format[i - 1] && result == SQLITE_OK; i++) {
		if (format[i - 1] == 't')
			result = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
						   SQLITE_STATIC);
		else
			result = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
	}
	return result;
}

static int prepare_args(struct store *store, sqlite3_stmt **ret_statement, struct err *err,
			const char *sql, const char *format, va_list args)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	if (result == SQLITE_OK)
		result = bind(statement, format, args);
	if (result != SQLITE_OK)
		return db_error(store, result, err);
	*ret_statement = TAKE_PTR(statement);
	return 0;
}

int db_prepare(struct store *store, sqlite3_stmt **ret_statement, struct err *err, const char *sql,
	       const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = prepare_args(store, ret_statement, err, sql, format, args);
	va_end(args);
	return r;
}

int db_step(struct store *store, sqlite3_stmt *statement, struct err *err)
{
	int result = sqlite3_step(statement);

	if (result == SQLITE_ROW)
		return 1;
	if (result == SQLITE_DONE)
		return 0;
	if (result == SQLITE_CONSTRAINT_UNIQUE || result == SQLITE_CONSTRAINT_PRIMARYKEY)
		return -EEXIST;
	return db_error(store, result, err);
}

int db_change(struct store *store, struct err *err, const char *sql, const char *format, ...)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = prepare_args(store, &statement, err, sql, format, args);
	va_end(args);
	if (r < 0)
		return r;
	r = db_step(store, statement, err);
	return r < 0 ? r : sqlite3_changes(store->db);
}

int db_script(struct store *store, const char *sql, struct err *err)
{
	int result = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : db_error(store, result, err);
}

char *db_text(sqlite3_stmt *statement, int column)
{
	return xstrdup((const char *)sqlite3_column_text(statement, column));
}

/* SQLite would make the file readable for others; its log and index files take over its mode. */
static int make_file(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set(err, -errno, "cannot make the database '%s': %m", path);
	if (file_sync_parent(path) < 0)
		return err_set(err, -EIO, "cannot make the database '%s': %m", path);
	return 0;
}

static int open_file(struct store *store, struct err *err)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int result;

	if (!path_exists(store->path)) {
		int r = make_file(store->path, err);

		if (r < 0)
			return r;
	}
	result = sqlite3_open_v2(store->path, &store->db, flags, NULL);
	if (result != SQLITE_OK)
		return store->db ? db_error(store, result, err)
				 : err_set(err, -ENOMEM, "cannot open the database '%s': %m",
					   store->path);
	sqlite3_busy_handler(store->db, wait_for_writer, store);
	sqlite3_wal_autocheckpoint(store->db, WAL_PAGES_MAX);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return 0;
}

int store_open(const char *root, struct store **ret_store, struct err *err)
{
	CLEANUP(store_closep) struct store *store = xcalloc(1, sizeof(*store));
	int r;

	store->path = path_join(root, "hull.db");
	r = open_file(store, err);
	if (r == 0)
		r = db_migrate(store, err);
	if (r < 0)
		return r;
	*ret_store = TAKE_PTR(store);
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	sqlite3_close(store->db); /* rolls back what is open */
	free(store->path);
	free(store);
}

int store_begin(struct store *store, struct err *err)
{
	db_set_durable(store, true);
	return db_script(store, "BEGIN IMMEDIATE", err);
}

int store_commit(struct store *store, struct err *err)
{
	return db_script(store, "COMMIT", err);
}

void store_rollback(struct store *store)
{
	if (!sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int store_get_setting(struct store *store, const char *key, char **ret_value, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err, "SELECT value FROM settings WHERE key = ?1", "t",
			   key);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	*ret_value = r ? db_text(statement, 0) : NULL;
	return 0;
}

int store_set_setting(struct store *store, const char *key, const char *value, struct err *err)
{
	int r;

	db_set_durable(store, true);
	if (value)
		r = db_change(store, err,
			      "INSERT INTO settings (key, value) VALUES (?1, ?2) "
			      "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			      "tt", key, value);
	else
		r = db_change(store, err, "DELETE FROM settings WHERE key = ?1", "t", key);
	return r < 0 ? r : 0;
}
