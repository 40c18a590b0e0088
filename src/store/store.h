/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: $HULL_ROOT/hull.db (SQLite, WAL, STRICT tables) is the only truth about names, states
 * and references. Any number of processes open it at once. A row that names a file is committed
 * after the file is there. What a row says of a live process is believed only while that process
 * holds its lock (see src/shim); the store itself never looks at processes.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct store;

/* Opens (and makes or migrates) the database in directory root, which exists. A database made by a
 * newer hull is refused (-ENOTSUP), a damaged one reported (-EUCLEAN). */
int store_open(const char *root, struct store **ret_store, struct err *err);
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

/* One writing transaction (BEGIN IMMEDIATE); waits for other writers up to 10 s, then -EBUSY. Once
 * committed it outlives a power cut; some single changes do not (see containers.h). */
int store_begin(struct store *store, struct err *err);
int store_commit(struct store *store, struct err *err);
void store_rollback(struct store *store); /* no-op outside a transaction */

/* Settings made by commands (`system kernel set` …). *ret_value is owned by the caller; NULL when
 * unset. */
int store_get_setting(struct store *store, const char *key, char **ret_value, struct err *err);
int store_set_setting(struct store *store, const char *key, const char *value, struct err *err);

#endif
