/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to containers, without anybody whose work it is to tell: each change of a row writes
 * the database's log, whose changes the kernel reports. The rows are read again then, and compared
 * with what they were. Several changes between two looks are seen as one; what a row cannot say (a
 * shim killed by force) is found by looking at the locks once in a while.
 */
#include "engine/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#define LOOK_MS 2000 /* at the locks; nothing tells when one is let go */

/* What became of a container: from a state (any: COUNT) into another. */
static const struct {
	enum container_state from, to;
	const char *action;
} transitions[] = {
	{ CONTAINER_PAUSED, CONTAINER_RUNNING, "unpause" },
	{ CONTAINER_SUSPENDED, CONTAINER_RUNNING, "resume" },
	{ CONTAINER_STATE_COUNT, CONTAINER_RUNNING, "start" },
	{ CONTAINER_STATE_COUNT, CONTAINER_PAUSED, "pause" },
	{ CONTAINER_STATE_COUNT, CONTAINER_STOPPING, "stop" },
	{ CONTAINER_STATE_COUNT, CONTAINER_STOPPED, "die" },
	{ CONTAINER_STATE_COUNT, CONTAINER_SUSPENDED, "suspend" },
};

struct watcher {
	container_event_fn fn;
	void *ctx;
	struct container_list known; /* owned; as they were at the last look */
};

static int tell(const struct watcher *watcher, const struct container *container,
		const char *action)
{
	const struct container_event event = { .time = time(NULL),
					       .action = action,
					       .container = container };

	return watcher->fn(watcher->ctx, &event);
}

static const struct container *find(const struct container_list *list, const char *uuid)
{
	for (size_t i = 0; i < list->count; i++)
		if (str_eq(list->items[i]->uuid, uuid))
			return list->items[i];
	return NULL;
}

static int tell_state(const struct watcher *watcher, enum container_state before,
		      const struct container *now)
{
	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++)
		if (transitions[i].to == now->state &&
		    (transitions[i].from == before || transitions[i].from == CONTAINER_STATE_COUNT))
			return tell(watcher, now, transitions[i].action);
	return 0;
}

static int compare(const struct watcher *watcher, const struct container *before,
		   const struct container *now)
{
	bool ran_again = before && now->state == CONTAINER_RUNNING &&
			 before->state == CONTAINER_RUNNING &&
			 now->started_at != before->started_at;
	int r = 0;

	if (!before)
		r = tell(watcher, now, "create");
	else if (!str_eq(before->config.id, now->config.id))
		r = tell(watcher, now, "rename");
	if (r == 0 && ran_again)
		r = tell(watcher, now, "restart");
	if (r == 0 && now->state != (before ? before->state : CONTAINER_CREATED))
		r = tell_state(watcher, before ? before->state : CONTAINER_CREATED, now);
	if (r == 0 && now->health > HEALTH_STARTING &&
	    now->health != (before ? before->health : HEALTH_NONE))
		r = tell(watcher, now, "health_status");
	return r;
}

/* Oldest first, as they came to be. */
static int look(struct engine *engine, struct watcher *watcher, bool quiet, struct err *err)
{
	CLEANUP(container_list_release) struct container_list now = { 0 };
	struct container_list swap;
	int r = engine_list(engine, &now, err);

	for (size_t i = now.count; r == 0 && !quiet && i > 0; i--)
		r = compare(watcher, find(&watcher->known, now.items[i - 1]->uuid),
			    now.items[i - 1]);
	for (size_t i = 0; r == 0 && i < watcher->known.count; i++)
		if (!find(&now, watcher->known.items[i]->uuid))
			r = tell(watcher, watcher->known.items[i], "destroy");
	swap = watcher->known;
	watcher->known = now;
	now = swap;
	return r;
}

int engine_events(struct engine *engine, container_event_fn fn, void *ctx, struct err *err)
{
	struct watcher watcher = { .fn = fn, .ctx = ctx };
	AUTO_CLOSE int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];
	bool first = true;
	int r = 0;

	if (watch < 0 || inotify_add_watch(watch, engine->root, IN_MODIFY | IN_CREATE) < 0)
		return err_set(err, -errno, "cannot watch '%s': %m", engine->root);
	while (r == 0) {
		r = look(engine, &watcher, first, err);
		if (r == 0 && first)
			r = fn(ctx, NULL);
		first = false;
		if (r < 0)
			break;
		fd_wait(watch, POLLIN, LOOK_MS);
		while (read(watch, events, sizeof(events)) > 0)
			;
	}
	container_list_release(&watcher.known);
	return r;
}
