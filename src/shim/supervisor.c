/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a container: a table of phase × event → action. */
#include "shim/shim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "proto/msg.h"
#include "shim/clock_sync.h"
#include "shim/hold.h"
#include "shim/volume_files.h"

#define START_DEADLINE_MS 30000 /* from the restored machine to the process's start */
#define COLD_START_DEADLINE_MS \
	180000                  /* the same with a boot in between, emulated, on a busy host */
#define CLEAN_DEADLINE_MS 30000 /* for the guest to sync and unmount */
#define TERMINATE_MS 5000       /* for the process, when it is not a client that stops it */
#define STATUS_NOT_STARTED 125
#define STATUS_LOST 137 /* the machine went away under the process: as if killed */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 60000
#define STABLE_MS 10000 /* a run of this length resets the back-off */

static int begin_run(struct shim *shim, struct err *err);
static void end_run(struct shim *shim);

int shim_set_state(struct shim *shim, enum container_state state)
{
	struct err err = { 0 };
	int r;

	if (shim->launch.files)
		return 0; /* what it is to others has not changed */
	shim->container->state = state;
	if (state != CONTAINER_PAUSED)
		hold_end(shim);
	r = clerk_set_state(shim->clerk, shim->container, &err);
	if (r < 0)
		log_error("container=%s cannot record its state: %s", shim->container->config.id,
			  err.message);
	healthcheck_follow(shim);
	if (state == CONTAINER_RUNNING)
		clock_sync_soon(shim);
	return r;
}

void shim_set_failure(struct shim *shim, int code, uint32_t status, const char *message)
{
	if (shim->failure.code)
		return;
	shim->failure.code = code;
	shim->failure.status = status;
	snprintf(shim->failure.message, sizeof(shim->failure.message), "%s", message);
	err_sanitize(shim->failure.message);
}

uint32_t shim_default_stop_signal(const struct shim *shim)
{
	const char *name = shim->container->config.stop_signal;
	int signal = name ? proc_signal_parse(name) : SIGTERM;

	return signal > 0 ? (uint32_t)signal : SIGTERM;
}

/* --- actions --- */

static void send_shutdown(struct shim *shim, uint32_t signal, uint32_t timeout_ms)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_shutdown_encode(&(struct msg_shutdown){ signal, timeout_ms }, &out);
	if (mux_send_control(shim->guest, MSG_SHUTDOWN, out.text, out.length) < 0)
		shim_event(shim, EVENT_GONE);
	else
		loop_arm(shim->deadline, (uint64_t)timeout_ms + CLEAN_DEADLINE_MS);
}

static void act_none(struct shim *shim)
{
}

static void act_files_over(struct shim *shim)
{
	shim->phase = PHASE_CLOSING;
	send_shutdown(shim, 0, 0);
}

static void act_started(struct shim *shim)
{
	loop_disarm(shim->deadline);
	shim->phase = PHASE_RUNNING;
	shim->main_status = STATUS_LOST; /* until it is known better */
	shim->started_ms = clock_monotonic_ms();
	shim->container->started_at = time(NULL);
	healthcheck_begin(shim);
	if (shim_set_state(shim, CONTAINER_RUNNING) == -EPIPE) {
		shim_event(shim, EVENT_UNTOLD); /* before anybody hears of a start */
		return;
	}
	clock_sync_begin(shim);
	relay_started(shim, MSG_PROCESS_MAIN);
	server_begin_copies(shim);
	log_timeline("shim: process started");
}

static void act_ready(struct shim *shim)
{
	if (!shim->launch.files)
		return; /* its process is still to come */
	loop_disarm(shim->deadline);
	shim->phase = PHASE_FILES;
	server_begin_copies(shim);
	if (!server_has_copiers(shim))
		act_files_over(shim);
}

static void act_end(struct shim *shim)
{
	end_run(shim);
}

static void act_lost(struct shim *shim)
{
	shim_set_failure(shim, -EIO, 125,
			 "the machine ended unexpectedly (see 'hull logs --boot')");
	act_end(shim);
}

/* Nobody would be told the truth about it, and nobody could start it again. */
static void act_end_untold(struct shim *shim)
{
	shim->user_stopped = true;
	shim_set_failure(shim, -EPIPE, 125, "the process that writes its row is gone");
	act_end(shim);
}

static void act_start_late(struct shim *shim)
{
	shim_set_failure(shim, -ETIMEDOUT, 125,
			 "the machine did not answer in time (see 'hull logs --boot')");
	if (shim->template_used && !state_is_restore(shim))
		template_discard(&shim->template);
	act_end(shim);
}

static void act_stop_early(struct shim *shim)
{
	shim_set_failure(shim, -ECANCELED, 125, "stopped while it was starting");
	act_end(shim);
}

static void act_stop(struct shim *shim)
{
	shim->phase = PHASE_STOPPING;
	if (shim->container->state == CONTAINER_PAUSED)
		vm_resume(shim->vm, NULL);
	shim_set_state(shim, CONTAINER_STOPPING);
	send_shutdown(shim, shim->stop_signal, shim->stop_timeout_ms);
}

/* In order, for the sake of its disks. */
static void act_stop_untold(struct shim *shim)
{
	shim->user_stopped = true;
	shim_set_failure(shim, -EPIPE, 125, "the process that writes its row is gone");
	shim->stop_signal = shim_default_stop_signal(shim);
	shim->stop_timeout_ms = TERMINATE_MS;
	act_stop(shim);
}

/* The main process ended by itself. What it wrote is worth cleaning up for only if somebody can
 * start or read it again. */
static void act_exited(struct shim *shim)
{
	if (shim->container->config.auto_remove && !machine_writes_volumes(shim)) {
		act_end(shim);
		return;
	}
	shim->phase = PHASE_CLOSING;
	send_shutdown(shim, 0, 0);
}

static void act_restart(struct shim *shim)
{
	struct err err = { 0 };

	machine_bury(shim); /* on a busy host the last one may still be there */
	if (nets_changed(shim->nets))
		shim->nets = nets_close(shim->nets);
	shim->restarts++;
	state_forget(shim);
	shim->launch.scratch_slot = LAUNCH_SCRATCH_USED;
	if (begin_run(shim, &err) < 0) {
		shim_set_failure(shim, err.code, 125, err.message);
		act_end(shim);
	}
}

static void (*const actions[PHASE_COUNT][EVENT_COUNT])(struct shim *shim) = {
	[PHASE_STARTING] = {
		[EVENT_STARTED] = act_started,
		[EVENT_READY] = act_ready,
		[EVENT_FAILED] = act_end,
		[EVENT_EXITED] = act_end,
		[EVENT_STOP] = act_stop_early,
		[EVENT_UNTOLD] = act_end_untold,
		[EVENT_GONE] = act_lost,
		[EVENT_LATE] = act_start_late,
	},
	[PHASE_RUNNING] = {
		[EVENT_FAILED] = act_none,
		[EVENT_EXITED] = act_exited,
		[EVENT_STOP] = act_stop,
		[EVENT_UNTOLD] = act_stop_untold,
		[EVENT_GONE] = act_lost,
	},
	[PHASE_FILES] = {
		[EVENT_STOP] = act_files_over,
		[EVENT_UNTOLD] = act_files_over,
		[EVENT_GONE] = act_lost,
	},
	[PHASE_STOPPING] = {
		[EVENT_CLEAN] = act_end,
		[EVENT_GONE] = act_end,
		[EVENT_LATE] = act_end,
	},
	[PHASE_CLOSING] = {
		[EVENT_CLEAN] = act_end,
		[EVENT_GONE] = act_end,
		[EVENT_LATE] = act_end,
	},
	[PHASE_BACKOFF] = {
		[EVENT_STOP] = act_end,
		[EVENT_UNTOLD] = act_end_untold,
		[EVENT_LATE] = act_restart,
	},
};

void shim_event(struct shim *shim, enum event event)
{
	void (*action)(struct shim * shim) = actions[shim->phase][event];

	if (action)
		action(shim);
}

/* --- a run --- */

static int begin_run(struct shim *shim, struct err *err)
{
	int r;

	shim->phase = PHASE_STARTING;
	shim->main_exited = shim->oom_killed = false;
	shim->failure = (struct failure){ 0 };
	shim->main_status = STATUS_NOT_STARTED;
	shim->next_process_id = MSG_PROCESS_MAIN + 1;
	shim->interfaces_pending = 0;
	r = machine_start(shim, err);
	if (r < 0)
		return r;
	/* A volume may have to be filled first. */
	loop_arm(shim->deadline, shim->template_used && !machine_writes_volumes(shim)
					 ? START_DEADLINE_MS
					 : COLD_START_DEADLINE_MS);
	return 0;
}

/* --- the end of a run --- */

static bool wants_restart(const struct shim *shim)
{
	const char *policy = str_or(shim->container->config.restart, "no");
	const char *count = str_after(policy, "on-failure:");
	uint32_t max = UINT32_MAX;

	/* What never ran is not started again: whoever started it hears why. */
	if (shim->launch.files || shim->user_stopped || shim->suspended || !shim->started_ms ||
	    shim->failure.status == 127 || shim->failure.status == 126)
		return false;
	if (str_eq(policy, "always") || str_eq(policy, "unless-stopped"))
		return true;
	if (!str_starts(policy, "on-failure") || (shim->main_exited && shim->main_status == 0))
		return false;
	if (count && str_parse_u32(count, &max) < 0)
		return false;
	return shim->restarts < max;
}

static uint64_t backoff_ms(struct shim *shim)
{
	uint64_t delay = BACKOFF_FIRST_MS;

	if (shim->started_ms && clock_monotonic_ms() - shim->started_ms > STABLE_MS)
		shim->restarts = 0;
	for (uint32_t i = 0; i < shim->restarts && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

static void fill_end(struct shim *shim, struct container *row)
{
	free(row->error);
	row->error = shim->failure.code ? xstrdup(shim->failure.message) : NULL;
	row->has_exit_code = true;
	row->exit_code = (int32_t)shim->main_status;
	row->finished_at = time(NULL);
}

static void tell_clients(struct shim *shim)
{
	if (shim->failure.code && !shim->main_exited)
		relay_failed(shim, MSG_PROCESS_MAIN, &shim->failure);
	relay_report_main(shim);
	server_report_end(shim);
}

/* Milliseconds lie on a busy host; what the emulator and this process have computed does not. */
static void tell_cpu_time(void)
{
	static const int whose[] = { RUSAGE_CHILDREN, RUSAGE_SELF };
	double ms[2];

	for (size_t i = 0; i < ARRAY_SIZE(whose); i++) {
		struct rusage usage = { 0 };

		getrusage(whose[i], &usage);
		ms[i] = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
			(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	}
	log_debug("CPU time: emulator %.1f ms, shim %.1f ms", ms[0], ms[1]);
}

static void remove_container(struct shim *shim)
{
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	AUTO_FREE char *run_dir = launch_run_dir(shim->launch.run, shim->launch.uuid);
	struct err err = { 0 };

	shim->log = log_writer_close(shim->log);
	if (path_remove_tree(run_dir, &err) < 0 || path_remove_tree(dir, &err) < 0)
		log_warning("container=%s %s", shim->container->config.id, err.message);
}

/* Whoever hears of the end may start another container with the same volumes at once. */
static void release_volumes(struct shim *shim)
{
	if (shim->launch.volumes.count && shim->vm)
		vm_kill(shim->vm);
	launch_unlock_volumes(&shim->launch);
}

/* With auto_remove the row goes first, so that the name is free when the client hears of the end;
 * what is left of the run is cleared away while the client goes on. Otherwise the row, the lock and
 * the machine are all done with before anybody is told. */
static void end_for_good(struct shim *shim)
{
	struct err err = { 0 };

	shim->phase = PHASE_ENDED;
	shim->nets = nets_close(shim->nets);
	release_volumes(shim);
	if (shim->container->config.auto_remove && !shim->suspended && !shim->launch.files) {
		if (clerk_delete(shim->clerk, &err) < 0)
			log_error("container=%s %s", shim->container->config.id, err.message);
		tell_clients(shim);
		for (struct client *client = shim->clients; client; client = client->next)
			mux_flush(client->mux, 0);
		log_timeline("shim: end told");
		server_close(shim);
		if (shim->vm)
			vm_kill(shim->vm);
		machine_retire(shim);
		clerk_remove_volumes(shim->clerk);
		remove_container(shim);
	} else {
		if (shim->vm)
			vm_kill(shim->vm);
		if (!shim->suspended)
			fill_end(shim, shim->container);
		shim_set_state(shim, shim->suspended ? CONTAINER_SUSPENDED : CONTAINER_STOPPED);
		log_writer_flush(shim->log);
		/* A container whose lock is held has a listener. */
		close(TAKE_FD(shim->lock_fd));
		server_close(shim);
		tell_clients(shim);
		machine_retire(shim);
	}
	loop_quit(shim->loop, 0);
}

void shim_end_suspended(struct shim *shim, const char *message)
{
	shim->suspended = true;
	shim_set_failure(shim, -ECANCELED, 125, message);
	act_end(shim);
}

static void end_run(struct shim *shim)
{
	loop_disarm(shim->deadline);
	state_cancel(shim);
	healthcheck_end(shim);
	clock_sync_end(shim);
	if (shim->phase == PHASE_BACKOFF || !wants_restart(shim)) {
		end_for_good(shim);
		return;
	}
	fill_end(shim, shim->container);
	shim_set_state(shim, CONTAINER_RUNNING);
	tell_clients(shim);
	machine_retire(shim);
	shim->phase = PHASE_BACKOFF;
	loop_arm(shim->deadline, backoff_ms(shim));
}

/* On a busy host the next machine may be there already: nothing of that is touched. */
static void on_undertaker(void *ctx)
{
	machine_bury(ctx);
}

static void on_deadline(void *ctx)
{
	shim_event(ctx, EVENT_LATE);
}

static void on_terminate(void *ctx, int signal, int32_t sender)
{
	struct shim *shim = ctx;

	if (shim->phase == PHASE_ENDED)
		shim->given_up = true;
	shim->stop_signal = shim_default_stop_signal(shim);
	shim->stop_timeout_ms = TERMINATE_MS;
	shim->user_stopped = true;
	shim_event(shim, EVENT_STOP);
}

static void on_clerk_gone(void *ctx)
{
	shim_event(ctx, EVENT_UNTOLD);
}

/* Until every client has read what is queued for it, or hung up: a pager may be looked at for
 * hours. The container is not held up by that. */
static void drain_clients(struct shim *shim)
{
	while (shim->clients && !shim->given_up)
		if (loop_run_once(shim->loop, -1) < 0)
			break;
}

int shim_run(struct shim *shim, struct err *err)
{
	struct client *first;
	int r;

	loop_add_signal(shim->loop, SIGTERM, on_terminate, shim);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	shim->deadline = loop_add_timer(shim->loop, on_deadline, shim);
	shim->undertaker = loop_add_timer(shim->loop, on_undertaker, shim);
	r = server_open(shim, err);
	if (r < 0)
		return r;
	clerk_watch(shim->clerk, shim->loop, on_clerk_gone, shim);
	first = server_add_client(shim, LAUNCH_FD_CLIENT);
	r = begin_run(shim, err);
	if (r < 0) {
		/* Told as any other end, so that the row and the lock come first. */
		shim_set_failure(shim, r, STATUS_NOT_STARTED, err->message);
		act_end(shim);
		r = 0;
	} else {
		if (!shim->launch.files) {
			first->asked = true;
			relay_attach(relay_find(shim, MSG_PROCESS_MAIN), first, shim->launch.attach,
				     true);
		}
		r = loop_run(shim->loop);
	}
	machine_bury(shim);
	tell_cpu_time();
	clerk_stop(TAKE_PTR(shim->clerk)); /* all is in the row */
	clerk_stop(TAKE_PTR(shim->starter));
	drain_clients(shim);
	return r;
}
