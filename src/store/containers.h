/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of containers. */
#ifndef STORE_CONTAINERS_H
#define STORE_CONTAINERS_H

#include "store/config.h"
#include "store/store.h"

enum container_state {
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPING,
	CONTAINER_STOPPED,
	CONTAINER_SUSPENDED,
	CONTAINER_STATE_COUNT
};
extern const char *const container_state_names[CONTAINER_STATE_COUNT];

/* What its health check says. */
enum container_health {
	HEALTH_NONE, /* it has none, or does not run */
	HEALTH_STARTING,
	HEALTH_HEALTHY,
	HEALTH_UNHEALTHY,
	CONTAINER_HEALTH_COUNT
};
extern const char *const container_health_names[CONTAINER_HEALTH_COUNT];

struct container {
	char uuid[40]; /* names its directories; never changes, unlike config.id */
	enum container_state state;
	struct container_config config;
	int64_t started_at;  /* Unix seconds; 0 never */
	int64_t finished_at; /* 0 never */
	bool has_exit_code;
	int32_t exit_code; /* of the last run */
	enum container_health health;
	char *error; /* why the last run failed or ended unexpectedly; NULL */
	bool held;   /* paused because the host's disk is full: found out, not kept in the row */
};

void container_free(struct container *container);
DEFINE_CLEANUP(struct container *, container_free)

/* Adds the row (state created). -EEXIST "container with id X already exists". */
int containers_insert(struct store *store, const struct container *container, struct err *err);
/* By id, or by an unambiguous prefix of an id or uuid. -ENOENT "container not found: X", -EINVAL
 * when the prefix is ambiguous (the message lists some). */
int containers_get(struct store *store, const char *id, struct container **ret_container,
		   struct err *err);
int containers_get_uuid(struct store *store, const char *uuid, struct container **ret_container,
			struct err *err);
struct container_list {
	struct container **items; /* owned */
	size_t count, capacity;
};
void container_list_release(struct container_list *list);
/* All, newest first. */
int containers_list(struct store *store, struct container_list *ret_list, struct err *err);
/* Writes state, times, exit code, health and error of the row. -ENOENT when it is gone. That a
 * container runs, is paused or stops may be forgotten by a power cut, which makes it untrue anyway;
 * so may everything about one that removes itself. Who removes files after leaving `suspended` uses
 * store_begin. */
int containers_update(struct store *store, const struct container *container, struct err *err);
/* Writes the configuration (and id: -EEXIST when it is taken). */
int containers_update_config(struct store *store, const struct container *container,
			     struct err *err);
/* Changes the configuration in the row as it is now, in a transaction that keeps all other writers
 * out: change may write to the store, too. What it refuses (negative errno) leaves all as it was.
 */
typedef int (*container_change_fn)(void *ctx, struct container *container, struct err *err);
int containers_change_config(struct store *store, const char *uuid, container_change_fn change,
			     void *ctx, struct err *err);
int containers_delete(struct store *store, const char *uuid, struct err *err);

#endif
