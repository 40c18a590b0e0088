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
#include "proto/msg_state.h"
#include "proto/top.h"
#include "shim/hold.h"
#include "shim/session.h"
#include "shim/shares.h"
#include "shim/socket_relays.h"
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

static int start_machine(struct shim *shim, struct err *err);
static void on_undertaker(void *ctx);
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
	return r;
}

static void set_failure(struct shim *shim, int code, uint32_t status, const char *message)
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
	set_failure(shim, -EIO, 125, "the machine ended unexpectedly (see 'hull logs --boot')");
	act_end(shim);
}

/* Nobody would be told the truth about it, and nobody could start it again. */
static void act_end_untold(struct shim *shim)
{
	shim->user_stopped = true;
	set_failure(shim, -EPIPE, 125, "the process that writes its row is gone");
	act_end(shim);
}

static void act_start_late(struct shim *shim)
{
	set_failure(shim, -ETIMEDOUT, 125,
		    "the machine did not answer in time (see 'hull logs --boot')");
	if (shim->template_used && !state_is_restore(shim))
		template_discard(&shim->template);
	act_end(shim);
}

static void act_stop_early(struct shim *shim)
{
	set_failure(shim, -ECANCELED, 125, "stopped while it was starting");
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

static bool writes_volumes(const struct shim *shim)
{
	VEC_EACH (&shim->launch.volumes, it)
		if (it->slot && !it->read_only)
			return true;
	return false;
}

/* In order, for the sake of its disks. */
static void act_stop_untold(struct shim *shim)
{
	shim->user_stopped = true;
	set_failure(shim, -EPIPE, 125, "the process that writes its row is gone");
	shim->stop_signal = shim_default_stop_signal(shim);
	shim->stop_timeout_ms = TERMINATE_MS;
	act_stop(shim);
}

/* The main process ended by itself. What it wrote is worth cleaning up for only if somebody can
 * start or read it again. */
static void act_exited(struct shim *shim)
{
	if (shim->container->config.auto_remove && !writes_volumes(shim)) {
		act_end(shim);
		return;
	}
	shim->phase = PHASE_CLOSING;
	send_shutdown(shim, 0, 0);
}

static void act_restart(struct shim *shim)
{
	struct err err = { 0 };

	on_undertaker(shim); /* on a busy host the last machine may still be there */
	if (nets_changed(shim->nets))
		shim->nets = nets_close(shim->nets);
	shim->restarts++;
	state_forget(shim);
	shim->launch.scratch_slot = LAUNCH_SCRATCH_USED;
	if (start_machine(shim, &err) < 0) {
		set_failure(shim, err.code, 125, err.message);
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

/* --- the guest --- */

static int on_started(struct shim *shim, const uint8_t *data, size_t size)
{
	struct msg_started started;
	int r = msg_started_decode(data, size, &started);

	if (r < 0)
		return r;
	/* A machine for files has none, and would not end with its clients if it had. */
	if (started.process == MSG_PROCESS_MAIN && shim->launch.files)
		return -EPROTO;
	if (started.process == MSG_PROCESS_MAIN)
		shim_event(shim, EVENT_STARTED);
	else
		relay_started(shim, started.process);
	return 0;
}

static int on_failed(struct shim *shim, const uint8_t *data, size_t size)
{
	struct msg_failed failed;
	int r = msg_failed_decode(data, size, &failed);
	struct failure failure = { 0 };

	if (r < 0)
		return r;
	failure.status = failed.status;
	failure.code = failed.status == 127 ? -ENOENT : failed.status == 126 ? -EACCES : -EIO;
	snprintf(failure.message, sizeof(failure.message), "%s", failed.message);
	err_sanitize(failure.message);
	if (failed.process > MSG_PROCESS_MAIN) {
		healthcheck_failed(shim, failed.process, &failure);
		relay_failed(shim, failed.process, &failure);
		return 0;
	}
	if (shim->phase != PHASE_STARTING)
		return -EPROTO;
	shim->failure = failure;
	shim->main_status = failed.status;
	shim_event(shim, EVENT_FAILED);
	return 0;
}

static int on_exited(struct shim *shim, const uint8_t *data, size_t size)
{
	struct msg_exited exited;
	int r = msg_exited_decode(data, size, &exited);

	if (r < 0)
		return r;
	if (exited.process != MSG_PROCESS_MAIN) {
		healthcheck_exited(shim, exited.process, exited.status);
		relay_exited(shim, exited.process, exited.status, exited.oom_killed);
		return 0;
	}
	if (shim->main_exited)
		return -EPROTO;
	log_timeline("shim: process exited");
	shim->main_exited = true;
	shim->main_status = exited.status;
	shim->oom_killed = exited.oom_killed;
	shim_event(shim, EVENT_EXITED);
	return 0;
}

static int on_timeline(struct shim *shim, const uint8_t *data, size_t size)
{
	struct msg_timeline timeline;
	int r = msg_timeline_decode(data, size, &timeline);

	if (r < 0)
		return r;
	for (size_t i = 0; i < timeline.count; i++)
		log_debug("%8.1f ms  after the session came, %s",
			  (double)timeline.points[i].ns / 1e6, timeline.points[i].name);
	return 0;
}

static int guest_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct shim *shim = ctx;
	struct msg_stats stats;
	struct msg_top top;

	switch (type) {
	case MSG_SESSION_DONE:
		shim_event(shim, EVENT_READY);
		return 0;
	case MSG_HELLO:
	case MSG_PONG:
	case MSG_OOM:
		return 0;
	case MSG_TIMELINE:
		return on_timeline(shim, payload, size);
	case MSG_STARTED:
		return on_started(shim, payload, size);
	case MSG_FAILED:
		return on_failed(shim, payload, size);
	case MSG_EXITED:
		return on_exited(shim, payload, size);
	case MSG_FROZEN:
		return state_frozen(shim);
	case MSG_REFUSED:
		return state_refused(shim, payload, size);
	case MSG_SHUTDOWN_DONE:
		shim_event(shim, EVENT_CLEAN);
		return 0;
	case MSG_INTERFACE_DONE:
		return connect_done(shim, payload, size);
	case MSG_STATS_REPLY:
		if (msg_stats_decode(payload, size, &stats) < 0)
			return -EPROTO;
		server_stats_reply(shim, payload, size);
		return 0;
	case MSG_TOP_REPLY:
		if (msg_top_decode(payload, size, &top) < 0)
			return -EPROTO;
		msg_top_release(&top);
		server_top_reply(shim, payload, size);
		return 0;
	case MSG_SOCKET_OPEN:
	case MSG_SOCKET_CLOSE:
		return sockets_control(socket_relays_sockets(shim->socket_relays), type, payload,
				       size);
	default:
		return -EPROTO;
	}
}

static void guest_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct shim *shim = ctx;

	if (sockets_owns(stream))
		sockets_data(socket_relays_sockets(shim->socket_relays), stream, data, size);
	else
		relay_guest_data(shim, stream, data, size);
}

static void guest_eof(void *ctx, uint32_t stream)
{
	struct shim *shim = ctx;

	if (sockets_owns(stream))
		sockets_eof(socket_relays_sockets(shim->socket_relays), stream);
	else
		relay_guest_eof(shim, stream);
}

static void guest_reset(void *ctx, uint32_t stream)
{
	struct shim *shim = ctx;

	if (sockets_owns(stream))
		sockets_reset(socket_relays_sockets(shim->socket_relays), stream);
	else
		relay_guest_reset(shim, stream);
}

static void guest_writable(void *ctx, uint32_t stream)
{
	struct shim *shim = ctx;

	if (sockets_owns(stream))
		sockets_writable(socket_relays_sockets(shim->socket_relays), stream);
	else
		relay_guest_writable(shim, stream);
}

static void guest_closed(void *ctx, int error)
{
	struct shim *shim = ctx;

	if (error == -EPROTO)
		set_failure(shim, -EPROTO, 125, "the guest broke the protocol");
	shim_event(shim, EVENT_GONE);
}

static const struct mux_ops guest_ops = {
	.control = guest_control,
	.data = guest_data,
	.eof = guest_eof,
	.reset = guest_reset,
	.writable = guest_writable,
	.closed = guest_closed,
};

/* --- the machine --- */

/* QEMU holds the machine when the host's disk is full: nothing is lost, and going on tries again.
 */
static void hold_for_disk(struct shim *shim)
{
	if (shim->phase != PHASE_RUNNING) {
		set_failure(shim, -ENOSPC, 125, "the host's disk is full");
		shim_event(shim, EVENT_GONE); /* what was to be written last cannot be */
		return;
	}
	hold_begin(shim);
}

static void vm_event(void *ctx, const char *name)
{
	struct shim *shim = ctx;

	if (str_eq(name, "disk-full")) {
		hold_for_disk(shim);
		return;
	}
	if (str_eq(name, "panic"))
		set_failure(shim, -EIO, 125,
			    "the guest's kernel panicked (see 'hull logs --boot')");
	if (!str_eq(name, "reset"))
		shim_event(shim, EVENT_GONE);
}

static void vm_exited(void *ctx, int status)
{
	shim_event(ctx, EVENT_GONE);
}

static const struct vm_ops vm_ops = { .event = vm_event, .exited = vm_exited };

/* Under emulation a guest starts sooner if its second CPU works ahead; on a busy host that costs
 * next to nothing (docs/decisions/0005). Otherwise there is nothing to be translated ahead. */
static bool is_worth_rehearsing(const struct shim *shim)
{
	return str_eq(shim->launch.accel, "tcg") && shim->launch.vcpus > 1;
}

int shim_encode_session(const struct shim *shim, struct sbuf *out, struct err *err)
{
	struct session_network network;

	nets_describe(shim->nets, &network);
	return session_encode(&shim->container->config, &shim->launch, &network,
			      is_worth_rehearsing(shim), out, err);
}

static int send_session(struct shim *shim, struct err *err)
{
	AUTO_SBUF struct sbuf out = { 0 };
	int r = shim_encode_session(shim, &out, err);

	if (r < 0)
		return r;
	if (!shim->launch.files)
		relay_add_main(shim);
	r = mux_send_control(shim->guest, MSG_SESSION, out.text, out.length);
	if (r == 0)
		mux_flush(shim->guest, 0);
	if (r < 0)
		return err_set(err, r, "cannot talk to the guest: %m");
	return 0;
}

static int boot(struct shim *shim, bool use_template, struct err *err)
{
	const struct container_config *config = &shim->container->config;
	AUTO_FREE char *dir = launch_container_dir(shim->launch.root, shim->launch.uuid);
	AUTO_FREE char *scratch = path_join(dir, "scratch.img");
	AUTO_FREE char *layers = path_join(shim->launch.root, "layers");
	AUTO_FREE char *disks = path_join(shim->launch.root, "disks");
	AUTO_FREE char *console = path_join(dir, "boot.log");
	AUTO_FREE char *emulator_log = path_join(dir, "vm.log");
	struct vm_options options = {
		.shape = launch_shape(&shim->launch),
		.template = use_template ? &shim->template : NULL,
		.work_dir = dir,
		.disks[0] = { shim->launch.root_disk, VM_DISK_VMDK },
		.extent_dirs = { layers, disks },
		.console_path = console,
		.log_path = emulator_log,
	};
	int r;

	for (size_t i = 0; i < nets_count(shim->nets); i++)
		options.nics[i].fd = nets_nic(shim->nets, i);
	options.disks[shim->launch.scratch_slot] = (struct vm_disk){ scratch, VM_DISK_RAW };
	VEC_EACH (&shim->launch.volumes, it)
		if (it->slot)
			options.disks[it->slot] = (struct vm_disk){ it->path, VM_DISK_RAW };
	r = shares_start(&shim->launch, config, emulator_log, &shim->shares, err);
	if (r < 0)
		return r;
	options.files_fd = shim->shares.channel;
	options.bulk_fd = bulk_fd(shim->bulk);
	r = vm_spawn(&options, &shim->vm, err);
	if (shim->shares.channel > 0)
		close(shim->shares.channel);
	shim->shares.channel = 0;
	if (r < 0)
		return r;
	log_timeline("shim: emulator spawned");
	/* While the emulator starts: a network that cannot be joined, or a port that is taken, is
	 * the start's failure. */
	r = nets_join(shim->nets, shim->loop, err);
	if (r < 0)
		return r;
	log_timeline("shim: networks joined");
	shim->template_used = use_template;
	shim->guest = mux_new(shim->loop, vm_take_agent(shim->vm), false, &guest_ops, shim);
	if (!shim->launch.files)
		r = socket_relays_start(shim->loop, shim->guest, config, &shim->launch,
					&shim->socket_relays, err);
	/* Waits in the socket until the guest runs: nothing is lost in between. */
	if (r == 0 && !state_is_restore(shim))
		r = send_session(shim, err);
	if (r == 0)
		r = vm_run(shim->vm, err);
	if (r == 0 && state_is_restore(shim))
		r = state_rejoin(shim, err);
	if (r < 0)
		return r;
	log_timeline("shim: machine runs");
	return 0;
}

static void free_machine(struct shim *shim)
{
	relay_clear(shim);
	shim->socket_relays = socket_relays_end(shim->socket_relays);
	shim->guest = mux_free(shim->guest);
	shim->vm = vm_free(shim->vm);
	shares_end(&shim->shares);
}

/* As free_machine, from inside the machine's or the channel's own callback: freed when that
 * returned. */
static void retire_machine(struct shim *shim)
{
	relay_clear(shim);
	shim->socket_relays = socket_relays_end(shim->socket_relays);
	if (!shim->guest && !shim->vm)
		return; /* between runs; the last one may not be buried yet */
	shim->retired_guest = TAKE_PTR(shim->guest);
	shim->retired_vm = TAKE_PTR(shim->vm);
	shim->retired_shares = shim->shares;
	shim->shares = (struct shares){ 0 };
	loop_arm(shim->undertaker, 0);
}

/* On a busy host the next machine may be there already: nothing of that is touched. */
static void on_undertaker(void *ctx)
{
	struct shim *shim = ctx;

	shim->retired_guest = mux_free(shim->retired_guest);
	shim->retired_vm = vm_free(shim->retired_vm);
	shares_end(&shim->retired_shares);
}

/* Brings the machine up and sends the session. Blocks while the emulator loads; clients wait. */
static int start_machine(struct shim *shim, struct err *err)
{
	bool use_template = shim->has_template;
	int r;

	shim->phase = PHASE_STARTING;
	shim->main_exited = shim->oom_killed = false;
	shim->failure = (struct failure){ 0 };
	shim->main_status = STATUS_NOT_STARTED;
	shim->next_process_id = MSG_PROCESS_MAIN + 1;
	shim->interfaces_pending = 0;
	r = shim->bulk ? 0 : bulk_new(&shim->bulk, err);
	if (r < 0)
		return r;
	r = shim->nets || shim->launch.files
		    ? 0
		    : nets_open(&shim->launch, shim->clerk, &shim->nets, err);
	if (r == 0)
		r = boot(shim, use_template, err);
	if (r == -ESTALE && use_template && !state_is_restore(shim)) {
		log_warning("container=%s template discarded: %s", shim->container->config.id,
			    err ? err->message : "");
		free_machine(shim);
		template_discard(&shim->template);
		shim->has_template = use_template = false;
		r = boot(shim, false, err);
	}
	if (r < 0) {
		free_machine(shim);
		return r;
	}
	vm_watch(shim->vm, shim->loop, &vm_ops, shim);
	/* A volume may have to be filled first. */
	loop_arm(shim->deadline, use_template && !writes_volumes(shim) ? START_DEADLINE_MS
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
		retire_machine(shim);
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
		retire_machine(shim);
	}
	loop_quit(shim->loop, 0);
}

void shim_end_suspended(struct shim *shim, const char *message)
{
	shim->suspended = true;
	set_failure(shim, -ECANCELED, 125, message);
	act_end(shim);
}

static void end_run(struct shim *shim)
{
	loop_disarm(shim->deadline);
	state_cancel(shim);
	healthcheck_end(shim);
	if (shim->phase == PHASE_BACKOFF || !wants_restart(shim)) {
		end_for_good(shim);
		return;
	}
	fill_end(shim, shim->container);
	shim_set_state(shim, CONTAINER_RUNNING);
	tell_clients(shim);
	retire_machine(shim);
	shim->phase = PHASE_BACKOFF;
	loop_arm(shim->deadline, backoff_ms(shim));
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
	r = start_machine(shim, err);
	if (r < 0) {
		/* Told as any other end, so that the row and the lock come first. */
		set_failure(shim, r, STATUS_NOT_STARTED, err->message);
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
	on_undertaker(shim);
	tell_cpu_time();
	clerk_stop(TAKE_PTR(shim->clerk)); /* all is in the row */
	drain_clients(shim);
	return r;
}
