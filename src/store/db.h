/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share: statements with bound arguments, and SQLite's results as
 * errno. Arguments are bound from left to right by a format: 't' text (const char *, NULL is SQL's
 * NULL), 'i' int64_t. Texts are borrowed until the statement is finalized.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/err.h"
#include "store/store.h"

struct store {
	sqlite3 *db;            /* owned */
	char *path;             /* owned; of hull.db */
	bool relaxed;           /* commits are not synced now */
	uint64_t busy_since_ms; /* when the wait for another writer began */
};

/* Whether the next single statement must outlive a power cut once it returned; no effect inside a
 * transaction, which always does. See docs/decisions/0003-durability-of-the-store.md. */
void db_set_durable(struct store *store, bool durable);

int db_prepare(struct store *store, sqlite3_stmt **ret_statement, struct err *err, const char *sql,
	       const char *format, ...);
/* 1 when there is a row, 0 at the end, or negative errno. -EEXIST (a uniqueness constraint) leaves
 * err alone: the caller says what is taken. */
int db_step(struct store *store, sqlite3_stmt *statement, struct err *err);
/* Runs one statement to its end. The number of rows changed, or as db_step. */
int db_change(struct store *store, struct err *err, const char *sql, const char *format, ...);
/* Runs a text of several statements without arguments. */
int db_script(struct store *store, const char *sql, struct err *err);
/* Sets err from SQLite's result and returns its errno. */
int db_error(struct store *store, int result, struct err *err);

/* A copy of a column's text (NULL of NULL), owned by the caller. */
char *db_text(sqlite3_stmt *statement, int column);

static inline void db_finalizep(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}
#define AUTO_STATEMENT CLEANUP(db_finalizep)

/* migrate.c: brings the schema to what this program knows, making the database if it is new. Fast
 * when there is nothing to do. */
int db_migrate(struct store *store, struct err *err);

#endif
