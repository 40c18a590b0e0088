/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to containers that exist: stop, kill, wait, pause, remove, rename. */
#include "engine/files.h"
#include "engine/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "engine/networks.h"
#include "shim/client.h"
#include "shim/launch.h"
#include "shim/volume_files.h"

/* A request of two numbers to the container's shim. Errors of container_connect. */
static int request(struct engine *engine, const struct container *container, uint16_t type,
		   uint32_t first, uint32_t second, struct client_reply *ret_reply, struct err *err)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	int fd = -1;
	int r = container_connect(engine, container, &fd, err);

	if (r < 0)
		return r;
	ctl_numbers_encode(first, second, &payload);
	return client_request(fd, type, &payload, ret_reply, err);
}

static int parse_signal(const char *text, int fallback, uint32_t *ret_signal, struct err *err)
{
	int signal = text ? proc_signal_parse(text) : fallback;

	if (signal < 0)
		return err_set(err, -EINVAL, "unknown signal '%s'", text);
	*ret_signal = (uint32_t)signal;
	return 0;
}

/* At most a day. */
static uint32_t timeout_ms(uint32_t seconds)
{
	return seconds > 86400 ? 86400000 : seconds * 1000;
}

/* Asks for the container's end and waits for it. One that ended by itself meanwhile, with its shim,
 * did what was wanted; whether it did is looked up, not guessed. */
static int end_and_wait(struct engine *engine, const struct container *container, uint32_t signal,
			uint32_t wait_ms, struct err *err)
{
	CLEANUP(container_freep) struct container *now = NULL;
	struct err reason = { 0 };
	int r = request(engine, container, CTL_STOP, signal, wait_ms, NULL, &reason);

	if (r == 0)
		return 0;
	if (containers_get_uuid(engine->store, container->uuid, &now, NULL) < 0 ||
	    container_truth(engine, now, NULL) < 0 || !container_is_active(now))
		return 0;
	return err_set(err, r, "%s", reason.message);
}

int engine_stop(struct engine *engine, const char *id, const char *signal, uint32_t timeout_s,
		struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	uint32_t number = 0;
	int r = parse_signal(signal, 0, &number, err);

	if (r == 0)
		r = engine_get(engine, id, &container, err);
	if (r == 0 && container->state == CONTAINER_SUSPENDED)
		return state_give_up(engine, container, err);
	if (r < 0 || !container_is_active(container))
		return r;
	return end_and_wait(engine, container, number, timeout_ms(timeout_s), err);
}

void engine_stop_announce(struct engine *engine, char *const *ids, const char *signal,
			  uint32_t timeout_s)
{
	uint32_t number = 0;

	if (parse_signal(signal, 0, &number, NULL) < 0)
		return;
	STRV_EACH (ids, it) {
		CLEANUP(container_freep) struct container *container = NULL;
		AUTO_SBUF struct sbuf payload = { 0 };
		int fd;

		if (engine_get(engine, *it, &container, NULL) < 0 ||
		    !container_is_active(container))
			continue;
		fd = client_connect(engine->root, container->uuid, NULL);
		if (fd < 0)
			continue;
		ctl_numbers_encode(number, timeout_ms(timeout_s), &payload);
		client_tell(fd, CTL_STOP, &payload);
	}
}

int engine_kill(struct engine *engine, const char *id, const char *signal, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	uint32_t number = 0;
	int r = parse_signal(signal, SIGKILL, &number, err);

	if (r == 0)
		r = engine_get(engine, id, &container, err);
	if (r < 0)
		return r;
	return request(engine, container, CTL_KILL, number, 0, NULL, err);
}

int engine_pause(struct engine *engine, const char *id, bool pause, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	/* Whether it is paused the shim knows; on a full disk the row may not. */
	return request(engine, container, CTL_PAUSE, pause, 0, NULL, err);
}

int engine_stats(struct engine *engine, const char *id, struct container_stats *ret_stats,
		 struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct client_reply reply = { 0 };
	int r = engine_get(engine, id, &container, err);

	if (r == 0)
		r = request(engine, container, CTL_STATS, 0, 0, &reply, err);
	if (r < 0)
		return r;
	*ret_stats = (struct container_stats){
		.memory_usage_bytes = reply.stats.memory_usage_bytes,
		.memory_limit_bytes = reply.stats.memory_limit_bytes
					      ? reply.stats.memory_limit_bytes
					      : container->config.memory_bytes,
		.cpu_usage_usec = reply.stats.cpu_usage_usec,
		.network_rx_bytes = reply.stats.network_rx_bytes,
		.network_tx_bytes = reply.stats.network_tx_bytes,
		.block_read_bytes = reply.stats.block_read_bytes,
		.block_write_bytes = reply.stats.block_write_bytes,
		.processes = reply.stats.processes,
	};
	return 0;
}

void process_list_release(struct process_list *list)
{
	VEC_EACH (list, it)
		free(it->command);
	VEC_FREE(list);
}

int engine_top(struct engine *engine, const char *id, struct process_list *ret_list,
	       struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(msg_top_release) struct msg_top top = { 0 };
	struct client_reply reply = { 0 };
	AUTO_FREE uint8_t *bytes = NULL;
	int r = engine_get(engine, id, &container, err);

	if (r == 0)
		r = request(engine, container, CTL_TOP, 0, 0, &reply, err);
	if (r < 0)
		return r;
	bytes = reply.top;
	if (!bytes || msg_top_decode(bytes, reply.top_size, &top) < 0)
		return err_set(err, -EPROTO, "the container's supervisor broke the protocol");
	for (size_t i = 0; i < top.count; i++) {
		struct process_info info = { .pid = top.items[i].pid,
					     .parent = top.items[i].parent,
					     .uid = top.items[i].uid,
					     .age_s = top.items[i].age_s,
					     .cpu_ms = top.items[i].cpu_ms,
					     .command = xstrdup(top.items[i].command) };

		err_sanitize(info.command); /* it is the guest's, and goes to a terminal */
		VEC_PUSH(ret_list, info);
	}
	return 0;
}

struct waiter {
	struct engine *engine;
	const char *uuid;
};

static bool is_to_run(const struct container *container)
{
	return container->state == CONTAINER_CREATED || container->state == CONTAINER_SUSPENDED;
}

/* 1: it has come to life, or to its end. */
static int on_change(void *ctx, const struct container_event *event)
{
	const struct waiter *waiter = ctx;
	CLEANUP(container_freep) struct container *container = NULL;
	int r = containers_get_uuid(waiter->engine->store, waiter->uuid, &container, NULL);

	return r < 0 ? r : !is_to_run(container);
}

/* Until it runs, has ended or is gone. */
static int wait_for_life(struct engine *engine, const struct container *container, struct err *err)
{
	struct waiter waiter = { engine, container->uuid };
	int r = engine_events(engine, on_change, &waiter, err);

	if (r == -ENOENT)
		return err_set(err, r, "container not found: %s", container->config.id);
	return r < 0 ? r : 0;
}

int engine_wait(struct engine *engine, const char *id, int *ret_status, struct err *err)
{
	AUTO_FREE char *uuid = NULL; /* it may be renamed meanwhile */
	unsigned failures = 0;

	for (;;) {
		CLEANUP(container_freep) struct container *container = NULL;
		struct client_reply reply = { 0 };
		int r = engine_get(engine, uuid ? uuid : id, &container, err);

		if (r < 0)
			return r;
		if (!uuid)
			uuid = xstrdup(container->uuid);
		if (container->state == CONTAINER_STOPPED) {
			*ret_status = container->has_exit_code ? container->exit_code : 0;
			return 0;
		}
		if (is_to_run(container)) {
			r = wait_for_life(engine, container, err);
			if (r < 0)
				return r;
			continue;
		}
		r = request(engine, container, CTL_WAIT, 0, 0, &reply, err);
		if (r == 0) {
			*ret_status = (int)reply.exited.status;
			return 0;
		}
		/* It was suspended, or its shim is gone: the row says more. */
		if (r == -EHOSTUNREACH || (r != -ECANCELED && failures++))
			return r;
		if (err)
			*err = (struct err){ 0 };
	}
}

int engine_delete(struct engine *engine, const char *id, bool force, bool with_volumes,
		  char **ret_id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_CLOSE int lock_fd = -1;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (container_is_active(container)) {
		if (!force)
			return err_set(err, -EBUSY,
				       "container %s is running; stop it first, or use --force",
				       container->config.id);
		r = end_and_wait(engine, container, SIGKILL, 0, err);
		if (r < 0)
			return r;
	}
	r = files_lock(engine, container, &lock_fd, err);
	if (r < 0)
		/* Its shim is removing it (--rm), or another command has it. */
		return container->config.auto_remove && force
			       ? (*ret_id = xstrdup(container->config.id), 0)
			       : r;
	r = container_remove(engine, container, err);
	if (r < 0)
		return r;
	if (with_volumes)
		volumes_remove_anonymous(engine->store, engine->root, &container->config);
	*ret_id = xstrdup(container->config.id);
	return 0;
}

/* A container_change_fn. */
static int apply_update(void *ctx, struct container *now, struct err *err)
{
	config_set_limits(&now->config, ctx);
	return container_check_limits(&now->config, err);
}

int container_change(struct engine *engine, const struct container *container,
		     container_change_fn change, void *ctx, struct err *err)
{
	AUTO_CLOSE int lock_fd = -1;
	int r = container_is_active(container) ? 0 : files_lock(engine, container, &lock_fd, err);

	return r < 0 ? r
		     : containers_change_config(engine->store, container->uuid, change, ctx, err);
}

int engine_update(struct engine *engine, const char *id, const struct config_limits *limits,
		  struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	int fd = -1;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (limits->restart && container->config.auto_remove && !str_eq(limits->restart, "no"))
		return err_set(err, -EINVAL,
			       "container %s is removed when it ends; it cannot be restarted",
			       container->config.id);
	if (container->state == CONTAINER_SUSPENDED)
		return err_set(err, -EINVAL, "container %s is suspended; resume it first",
			       container->config.id);
	if (!container_is_active(container))
		return container_change(engine, container, apply_update, (void *)limits, err);
	r = container_connect(engine, container, &fd, err);
	if (r < 0)
		return r;
	ctl_update_encode(limits, &payload);
	return client_request(fd, CTL_UPDATE, &payload, NULL, err);
}

/* A container_change_fn. */
static int apply_name(void *ctx, struct container *now, struct err *err)
{
	free(now->config.id);
	now->config.id = xstrdup(ctx);
	return 0;
}

int engine_rename(struct engine *engine, const char *id, const char *new_id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = engine_get(engine, id, &container, err);

	if (r == 0)
		r = container_check_id(new_id, err);
	if (r == 0)
		r = container_change(engine, container, apply_name, (void *)new_id, err);
	if (r == 0 && container_is_active(container))
		r = networks_tell_shim(engine, container, CTL_RENAME, new_id, err);
	return r;
}

int engine_prune_containers(struct engine *engine, struct prune_result *ret_result, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = engine_list(engine, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		const struct container *container = list.items[i];
		AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
		AUTO_CLOSE int lock_fd = -1;
		uint64_t bytes;

		if (container_is_active(container) || container->state == CONTAINER_SUSPENDED ||
		    container_lock(engine, container, &lock_fd, NULL) < 0)
			continue;
		bytes = path_disk_usage(dir);
		r = container_remove(engine, container, err);
		if (r < 0)
			break;
		strv_push(&ret_result->removed, container->config.id);
		ret_result->reclaimed_bytes += bytes;
	}
	return r;
}
