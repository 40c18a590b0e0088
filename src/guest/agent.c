/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/vec.h"
#include "guest/become.h"
#include "guest/cgroup.h"
#include "guest/clock.h"
#include "guest/copy.h"
#include "guest/mounts.h"
#include "guest/net.h"
#include "guest/process.h"
#include "guest/rehearsal.h"
#include "guest/rejoin.h"
#include "guest/shares.h"
#include "guest/socket_mounts.h"
#include "guest/sockets.h"
#include "guest/sys.h"
#include "guest/timeline.h"
#include "guest/top.h"
#include "proto/msg_state.h"
#include "proto/mux.h"

#define LAST_FLUSH_MS 2000
#define LAST_COPIES_MS 15000 /* the host waits for 30 s */

struct agent {
	struct loop *loop;       /* owned */
	struct mux *mux;         /* owned */
	struct sockets *sockets; /* owned; NULL until there is a session */
	struct stage stage;
	struct process_owner owner;
	VEC(struct process *) processes; /* owned */
	int cgroup_fd;
	int events_fd; /* memory.events */
	int pidns_fd;  /* hull-init's own process namespace */
	uint64_t oom_kills;
	/* The session: the message as received, which the decoded one points into. */
	uint8_t *session_bytes; /* owned */
	size_t session_size;
	struct msg_session session;
	bool has_session;
	bool prepared; /* MSG_PREPARE has come */
	int root_tree;
	int trees[MSG_MOUNTS_MAX];
	unsigned freezers; /* copies, and a saved state, for which the container stands still */
	bool frozen;       /* the state is being saved, or has been brought back */
	/* The end. */
	struct loop_source *kill_timer;
	bool main_over; /* the main process has ended */
	bool too_late;  /* for what copies still have to say */
	bool ending;
	bool shutting_down;
};

static struct process *find_process(struct agent *agent, uint32_t id)
{
	VEC_EACH (&agent->processes, it)
		if (process_id(*it) == id)
			return *it;
	return NULL;
}

static void send_failed(struct agent *agent, uint32_t process, uint32_t status,
			const struct err *err)
{
	struct msg_failed message = { process, status, err->message };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_failed_encode(&message, &bytes);
	mux_send_control(agent->mux, MSG_FAILED, bytes.text, bytes.length);
}

/* Forks a process into the running container. */
static int spawn_beside(struct agent *agent, const struct msg_process *message, const int stdio[3],
			int *ret_report, struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	/* A process namespace is entered by children only: it is set for one fork. */
	if (setns(agent->stage.pidfd, CLONE_NEWPID) < 0)
		pid = -errno;
	else
		pid = sys_clone(0, agent->cgroup_fd, NULL);
	if (pid == 0) {
		struct become_failure failure = { .status = BECOME_SETUP_FAILED };
		struct err child_err = { 0 };

		if (setns(agent->stage.pidfd,
			  CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
			err_set(&child_err, -errno, "cannot enter the container: %m");
		else
			failure.status =
				become(message, agent->session.hostname, stdio, &child_err);
		snprintf(failure.message, sizeof(failure.message), "%s", child_err.message);
		fd_write_all(fds[1], &failure, sizeof(failure));
		_exit(1);
	}
	setns(agent->pidns_fd, CLONE_NEWPID);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_set(err, pid, "cannot start a process in the container: %m");
	}
	*ret_report = fds[0];
	return pid;
}

static int spawn_main(struct agent *agent, const struct msg_process *message, const int stdio[3],
		      int *ret_report, struct err *err)
{
	struct stage_order order = {
		.session = agent->session_bytes,
		.session_size = agent->session_size,
		.process = message,
		.root_tree = agent->root_tree,
		.trees = agent->trees,
		.tree_count = agent->session.mount_count,
	};
	int r;

	memcpy(order.stdio, stdio, sizeof(order.stdio));
	r = stage_go(&agent->stage, &order, err);
	if (r < 0)
		return r;
	*ret_report = r;
	/* The container has them now, as the only one: an end of it is an end of its mounts. */
	close(TAKE_FD(agent->root_tree));
	for (size_t i = 0; i < agent->session.mount_count; i++)
		if (agent->trees[i] >= 0)
			close(TAKE_FD(agent->trees[i]));
	return agent->stage.pid;
}

static int start_process(struct agent *agent, const struct msg_process *message, struct err *err)
{
	bool is_main = message->id == MSG_PROCESS_MAIN;
	struct process *process = NULL;
	int stdio[3] = { -1, -1, -1 };
	int report = -1;
	int pid;

	if (!agent->has_session || agent->shutting_down)
		return err_set(err, -ENOTCONN, "the container does not run");
	if (find_process(agent, message->id))
		return err_set(err, -EEXIST, "process %u exists already", message->id);
	/* Until the main process has executed its program, its namespaces still show ours. */
	const struct process *main_process = find_process(agent, MSG_PROCESS_MAIN);
	if (!is_main && (!main_process || !process_is_started(main_process)))
		return err_set(err, -ESRCH, "the container does not run");
	pid = process_new(&agent->owner, message, agent->stage.pts_fd, stdio, &process, err);
	if (pid == 0)
		pid = is_main ? spawn_main(agent, message, stdio, &report, err)
			      : spawn_beside(agent, message, stdio, &report, err);
	for (size_t i = 0; i < ARRAY_SIZE(stdio); i++)
		if (stdio[i] >= 0)
			close(stdio[i]);
	if (pid < 0) {
		process_free(process);
		return pid;
	}
	VEC_PUSH(&agent->processes, process);
	process_started(process, pid, report);
	if (is_main)
		timeline_point("guest: first process told to go");
	return 0;
}

static void exec_process(struct agent *agent, const struct msg_process *message)
{
	struct err err = { 0 };

	if (start_process(agent, message, &err) < 0)
		send_failed(agent, message->id, BECOME_SETUP_FAILED, &err);
}

/* All that has to be there before the container's first process runs. */
static int begin_session(struct agent *agent, struct err *err)
{
	const struct msg_session *session = &agent->session;
	int r = clock_set_entropy(session->entropy, sizeof(session->entropy));

	if (r < 0)
		return err_set(err, r, "cannot seed the random generator: %m");
	r = clock_set_wall(session->wall_clock_ns);
	if (r < 0)
		return err_set(err, r, "cannot set the clock: %m");
	timeline_point("guest: seeded, clock set");
	r = cgroup_set_limits(agent->cgroup_fd, &session->limits, err);
	if (r < 0)
		return r;
	timeline_point("guest: limits set");
	mounts_devices_begin(session);
	agent->root_tree = mounts_root(session->root_serial, session->scratch_serial, err);
	if (agent->root_tree < 0)
		return agent->root_tree;
	for (size_t i = 0; i < session->mount_count; i++) {
		const struct msg_mount *mount = &session->mounts[i];

		agent->trees[i] = -1;
		if (mount->type == MSG_MOUNT_SOCKET)
			agent->trees[i] = socket_mounts_listen(agent->sockets, mount, i, err);
		else if (mounts_is_device(mount->type))
			agent->trees[i] = mounts_device(mount, i, err);
		else
			continue;
		if (agent->trees[i] < 0)
			return agent->trees[i];
	}
	timeline_point("guest: volumes and shares mounted");
	r = shares_serve(agent->root_tree, &session->process, err);
	return r < 0 ? r : mounts_fill_shares(session, err);
}

static int connect_inside(void *ctx, const struct msg_socket_open *open)
{
	const struct agent *agent = ctx;

	return socket_mounts_connect(agent->stage.pid, open->path);
}

static const struct sockets_ops sockets_ops = { .connect = connect_inside };

static int handle_session(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct err err = { 0 };
	bool networked;
	int r;

	if (agent->has_session || agent->session_bytes)
		return -EPROTO;
	timeline_begin();
	sockets_free(agent->sockets);
	mux_restart(agent->mux);
	agent->sockets = sockets_new(agent->loop, agent->mux, true, &sockets_ops, agent);
	agent->session_bytes = xmemdup(payload, size);
	agent->session_size = size;
	r = msg_session_decode(agent->session_bytes, size, &agent->session);
	if (r < 0)
		return r;
	networked = agent->session.interface_count;
	if (networked)
		net_order(agent->session.interfaces, agent->session.interface_count);
	rehearsal_go(agent->session.rehearse);
	if (begin_session(agent, &err) < 0) {
		send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
		return 0;
	}
	agent->has_session = true;
	mux_send_control(agent->mux, MSG_SESSION_DONE, "", 0);
	if (agent->session.has_process)
		exec_process(agent, &agent->session.process);
	/* Nobody waits for cards to be switched off: not in the rehearsal's way. */
	if (!networked)
		net_order(NULL, 0);
	return 0;
}

/* Nobody's container yet: a template for one image is made. */
static int handle_prepare(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_prepare message;
	struct err err = { 0 };
	int r = msg_prepare_decode(payload, size, &message);

	if (r < 0 || agent->session_bytes || agent->prepared)
		return -EPROTO;
	agent->prepared = true;
	if (mounts_root_early(&message, &err) < 0)
		send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
	else {
		rehearsal_mount();
		mux_send_control(agent->mux, MSG_PREPARED, "", 0);
	}
	return 0;
}

static int handle_exec(struct agent *agent, const uint8_t *payload, size_t size)
{
	CLEANUP(msg_process_release) struct msg_process message = { 0 };
	int r = msg_process_decode(payload, size, &message);

	if (r == 0)
		exec_process(agent, &message);
	return r;
}

static void thaw(struct agent *agent)
{
	if (--agent->freezers == 0)
		cgroup_freeze(agent->cgroup_fd, false);
}

/* Copies are processes to the host, and children of ours like others; only what runs differs. */
static int start_copy(struct agent *agent, const struct msg_copy *message, struct err *err)
{
	const struct process *main_process = find_process(agent, MSG_PROCESS_MAIN);
	bool runs = main_process && process_is_started(main_process);
	struct copy_scene scene = { .mounts_fd = runs ? agent->stage.pidfd : -1,
				    .session = &agent->session };
	bool reads_input = message->op == MSG_COPY_WRITE || message->lane;
	bool freezes = message->flags & MSG_COPY_FREEZE;
	struct msg_process shape = { .id = message->id,
				     .flags = reads_input ? MSG_PROCESS_STDIN : 0 };
	struct process *process = NULL;
	int stdio[3] = { -1, -1, -1 };
	int report = -1;
	int pid;

	if (!agent->has_session || agent->shutting_down ||
	    (agent->session.has_process && !runs && !agent->main_over))
		return err_set(err, -ENOTCONN, "the container does not run");
	if (find_process(agent, message->id))
		return err_set(err, -EEXIST, "process %u exists already", message->id);
	pid = process_new(&agent->owner, &shape, -1, stdio, &process, err);
	if (freezes && pid == 0 && agent->freezers++ == 0)
		cgroup_freeze(agent->cgroup_fd, true);
	if (pid == 0)
		pid = copy_spawn(message, &scene, stdio, &report, err);
	for (size_t i = 0; i < ARRAY_SIZE(stdio); i++)
		if (stdio[i] >= 0)
			close(stdio[i]);
	if (pid < 0) {
		if (process && freezes)
			thaw(agent);
		process_free(process);
		return pid;
	}
	VEC_PUSH(&agent->processes, process);
	process_set_copy(process, freezes);
	process_started(process, pid, report);
	return 0;
}

static int handle_copy(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_copy message;
	struct err err = { 0 };
	int r = msg_copy_decode(payload, size, &message);

	if (r == 0 && start_copy(agent, &message, &err) < 0)
		send_failed(agent, message.id, BECOME_SETUP_FAILED, &err);
	return r;
}

static int handle_signal(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_signal message;
	int r = msg_signal_decode(payload, size, &message);
	const struct process *process = r < 0 ? NULL : find_process(agent, message.process);

	if (process)
		process_signal(process, &message);
	return r;
}

static int handle_resize(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_resize message;
	int r = msg_resize_decode(payload, size, &message);
	const struct process *process = r < 0 ? NULL : find_process(agent, message.process);

	if (process)
		process_resize(process, &message);
	return r;
}

static int handle_limits(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_limits message;
	struct err err = { 0 };
	int r = msg_limits_decode(payload, size, &message);

	if (r == 0 && cgroup_set_limits(agent->cgroup_fd, &message, &err) < 0)
		log_warning("%s", err.message);
	return r;
}

static int handle_interface(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_interface_change message;
	struct msg_interface_done done;
	AUTO_SBUF struct sbuf bytes = { 0 };
	struct err err = { 0 };
	int r = msg_interface_change_decode(payload, size, &message);

	if (r < 0 || !agent->has_session)
		return -EPROTO;
	net_change(&message, &err);
	done = (struct msg_interface_done){ message.nic, err.message };
	msg_interface_done_encode(&done, &bytes);
	mux_send_control(agent->mux, MSG_INTERFACE_DONE, bytes.text, bytes.length);
	return 0;
}

static int handle_file(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_file message;
	int r = msg_file_decode(payload, size, &message);

	if (r < 0 || !agent->has_session)
		return -EPROTO;
	rejoin_write_file(&agent->stage, &message);
	return 0;
}

static void handle_stats(struct agent *agent)
{
	struct msg_stats stats = { 0 };
	AUTO_SBUF struct sbuf bytes = { 0 };

	cgroup_stats(agent->cgroup_fd, &stats);
	net_stats(&stats);
	msg_stats_encode(&stats, &bytes);
	mux_send_control(agent->mux, MSG_STATS_REPLY, bytes.text, bytes.length);
}

static void handle_top(struct agent *agent)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	top_collect(agent->cgroup_fd, &bytes);
	mux_send_control(agent->mux, MSG_TOP_REPLY, bytes.text, bytes.length);
}

static void end_machine(struct agent *agent)
{
	struct err err = { 0 };

	agent->ending = true;
	while (agent->processes.count)
		process_finish(agent->processes.items[0]);
	stage_dissolve(&agent->stage);
	if (mounts_release(!agent->session.scratch_is_lost, &err) < 0)
		log_error("%s", err.message);
	mux_send_control(agent->mux, MSG_SHUTDOWN_DONE, "", 0);
	mux_flush(agent->mux, LAST_FLUSH_MS);
	loop_quit(agent->loop, 0);
}

/* Goes on with a shutdown once no process is left. */
static void end_if_empty(struct agent *agent)
{
	VEC_EACH (&agent->processes, it)
		if (process_pid(*it) || (process_is_copy(*it) && !agent->too_late))
			return;
	if (agent->shutting_down)
		end_machine(agent);
}

static void kill_copies(struct agent *agent)
{
	agent->too_late = true;
	VEC_EACH (&agent->processes, it)
		if (process_is_copy(*it) && process_pid(*it))
			kill(process_pid(*it), SIGKILL);
}

static void kill_all(void *ctx)
{
	struct agent *agent = ctx;

	kill_copies(agent);
	cgroup_kill(agent->cgroup_fd);
	kill(agent->stage.pid, SIGKILL);
	end_if_empty(agent);
}

static int handle_shutdown(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_shutdown message;
	int r = msg_shutdown_decode(payload, size, &message);
	const struct process *process = find_process(agent, MSG_PROCESS_MAIN);

	if (r < 0 || agent->shutting_down)
		return r;
	agent->shutting_down = true;
	/* Copies of files may end after the container's process did by itself, but not after that
	 * was told to. */
	if (process || message.signal)
		kill_copies(agent);
	if (process && process_pid(process) && message.signal) {
		kill(process_pid(process), (int)message.signal);
		loop_arm(agent->kill_timer, message.timeout_ms);
	} else {
		cgroup_kill(agent->cgroup_fd);
		kill(agent->stage.pid, SIGKILL);
		loop_arm(agent->kill_timer, LAST_COPIES_MS);
	}
	end_if_empty(agent);
	return 0;
}

/* --- the state of the machine is saved: see proto/msg_state.h --- */

static void refuse(struct agent *agent, const struct err *err)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	agent->frozen = false;
	shares_go(false);
	thaw(agent);
	msg_refused_encode(&(struct msg_refused){ err->message }, &bytes);
	mux_send_control(agent->mux, MSG_REFUSED, bytes.text, bytes.length);
}

static int handle_freeze(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_freeze message;
	struct err err = { 0 };
	int r = msg_freeze_decode(payload, size, &message);

	if (r < 0 || agent->frozen)
		return -EPROTO;
	agent->frozen = true;
	if (message.sync)
		sync();
	r = agent->freezers++ ? 0 : cgroup_freeze(agent->cgroup_fd, true);
	if (r < 0)
		log_warning("some processes run on while the state is saved: %s", strerror(-r));
	if (shares_stop(&err) < 0) {
		refuse(agent, &err);
		return 0;
	}
	mux_send_control(agent->mux, MSG_FROZEN, "", 0);
	mux_flush(agent->mux, LAST_FLUSH_MS);
	mux_hold(agent->mux, true);
	return 0;
}

static int handle_thaw(struct agent *agent)
{
	if (!agent->frozen)
		return -EPROTO;
	agent->frozen = false;
	mux_hold(agent->mux, false);
	shares_go(false);
	thaw(agent);
	return 0;
}

/* What the copied container takes over from the session that it is told. */
static int adopt_session(struct agent *agent, const struct msg_rejoin *rejoin, struct err *err)
{
	struct msg_session old = agent->session;
	uint8_t *bytes = xmemdup(rejoin->session, rejoin->session_size);
	struct msg_session session = { 0 };
	int r = msg_session_decode(bytes, rejoin->session_size, &session);

	if (r < 0) {
		free(bytes);
		return err_set(err, r, "the session cannot be read: %m");
	}
	free(agent->session_bytes);
	agent->session = session;
	agent->session_bytes = bytes;
	agent->session_size = rejoin->session_size;
	r = clock_set_entropy(session.entropy, sizeof(session.entropy));
	if (r < 0)
		return err_set(err, r, "cannot seed the random generator: %m");
	r = clock_set_wall(session.wall_clock_ns);
	if (r < 0)
		return err_set(err, r, "cannot set the clock: %m");
	if (rejoin->is_copy)
		r = net_replace(session.interfaces, session.interface_count, err);
	msg_session_release(&old);
	sockets_abort_outside();
	return r == 0 && rejoin->is_copy ? rejoin_identity(&agent->stage, rejoin, &session, err)
					 : r;
}

static int rejoin_processes(struct agent *agent, const struct msg_rejoin *rejoin, struct err *err)
{
	struct process *main_process = find_process(agent, MSG_PROCESS_MAIN);
	int r;

	if (!main_process || !process_pid(main_process))
		return err_set(err, -ESRCH, "the container's process had ended");
	VEC_EACH (&agent->processes, it) {
		if (*it == main_process)
			continue;
		/* Its lane is anybody's here. */
		if (process_is_copy(*it) && process_pid(*it))
			kill(process_pid(*it), SIGKILL);
		process_orphan(*it);
	}
	r = process_rejoin(main_process);
	if (r == 0 && rejoin->signal)
		kill(process_pid(main_process), (int)rejoin->signal);
	return r;
}

/* Nothing of the container runs before all is done. */
static int handle_rejoin(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_started started = { .process = MSG_PROCESS_MAIN };
	AUTO_SBUF struct sbuf bytes = { 0 };
	struct msg_rejoin message;
	struct err err = { 0 };
	int r = msg_rejoin_decode(payload, size, &message);

	if (r < 0 || !agent->frozen)
		return -EPROTO;
	agent->frozen = false;
	mux_restart(agent->mux);
	sockets_hang_up(agent->sockets);
	r = adopt_session(agent, &message, &err);
	if (r == 0)
		r = rejoin_processes(agent, &message, &err);
	if (r < 0) {
		send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
		return 0;
	}
	shares_go(true);
	thaw(agent);
	started.pid = (uint32_t)process_pid(find_process(agent, MSG_PROCESS_MAIN));
	msg_started_encode(&started, &bytes);
	mux_send_control(agent->mux, MSG_STARTED, bytes.text, bytes.length);
	return 0;
}

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct agent *agent = ctx;

	switch (type) {
	case MSG_SESSION:
		return handle_session(agent, payload, size);
	case MSG_PREPARE:
		return handle_prepare(agent, payload, size);
	case MSG_EXEC:
		return handle_exec(agent, payload, size);
	case MSG_COPY:
		return handle_copy(agent, payload, size);
	case MSG_SIGNAL:
		return handle_signal(agent, payload, size);
	case MSG_RESIZE:
		return handle_resize(agent, payload, size);
	case MSG_SHUTDOWN:
		return handle_shutdown(agent, payload, size);
	case MSG_LIMITS:
		return handle_limits(agent, payload, size);
	case MSG_FILE:
		return handle_file(agent, payload, size);
	case MSG_INTERFACE:
		return handle_interface(agent, payload, size);
	case MSG_STATS:
		handle_stats(agent);
		return 0;
	case MSG_TOP:
		handle_top(agent);
		return 0;
	case MSG_FREEZE:
		return handle_freeze(agent, payload, size);
	case MSG_THAW:
		return handle_thaw(agent);
	case MSG_REJOIN:
		return handle_rejoin(agent, payload, size);
	case MSG_SOCKET_OPEN:
	case MSG_SOCKET_CLOSE:
		return sockets_control(agent->sockets, type, payload, size);
	case MSG_PING:
		mux_send_control(agent->mux, MSG_PONG, "", 0);
		return 0;
	default:
		return -EPROTO;
	}
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct agent *agent = ctx;
	struct process *process = find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_data(agent->sockets, stream, data, size);
	else if (process)
		process_input(process, data, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_eof(agent->sockets, stream);
	else if (process)
		process_input_eof(process);
}

static void on_reset(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_reset(agent->sockets, stream);
	else if (process)
		process_output_reset(process, stream);
}

static void on_writable(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_writable(agent->sockets, stream);
	else if (process)
		process_output_writable(process, stream);
}

static void on_closed(void *ctx, int error)
{
	struct agent *agent = ctx;

	errno = -error;
	log_error("the channel to the host ended: %m");
	loop_quit(agent->loop, 0);
}

static void on_over(void *ctx, struct process *process)
{
	struct agent *agent = ctx;
	bool is_main = process_id(process) == MSG_PROCESS_MAIN;
	bool is_copy = process_is_copy(process);

	if (process_freezes(process))
		thaw(agent);
	for (size_t i = 0; i < agent->processes.count; i++)
		if (agent->processes.items[i] == process) {
			VEC_REMOVE(&agent->processes, i);
			break;
		}
	process_free(process);
	agent->main_over |= is_main;
	/* The host will ask for an orderly end, or not need one. */
	if (is_main && !agent->shutting_down && !agent->session.scratch_is_lost)
		mounts_sync_begin();
	if (is_copy && !agent->ending)
		end_if_empty(agent);
}

static void on_started(void *ctx, const struct process *process)
{
	struct agent *agent = ctx;
	AUTO_SBUF struct sbuf bytes = { 0 };

	if (process_id(process) != MSG_PROCESS_MAIN || !agent->session.timeline)
		return;
	timeline_point("guest: program executed");
	timeline_encode(&bytes);
	mux_send_control(agent->mux, MSG_TIMELINE, bytes.text, bytes.length);
}

static bool oom_killed(void *ctx)
{
	struct agent *agent = ctx;

	return agent->oom_kills > 0 || cgroup_oom_kills(agent->events_fd) > 0;
}

static void on_child(void *ctx, int signal, int32_t sender)
{
	struct agent *agent = ctx;
	int status;
	pid_t pid;

	(void)signal;
	(void)sender;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *process = NULL;

		VEC_EACH (&agent->processes, it)
			if (process_pid(*it) == pid)
				process = *it;
		if (process)
			process_reaped(process, status);
	}
	end_if_empty(agent);
}

static void on_memory_event(void *ctx, int fd, uint32_t events)
{
	struct agent *agent = ctx;
	uint64_t kills = cgroup_oom_kills(fd);

	(void)events;
	if (kills > agent->oom_kills)
		mux_send_control(agent->mux, MSG_OOM, "", 0);
	agent->oom_kills = kills;
}

static void say_hello(struct agent *agent)
{
	struct utsname name;
	struct msg_hello hello = { .version = MSG_VERSION };
	AUTO_SBUF struct sbuf bytes = { 0 };

	uname(&name);
	hello.kernel = name.release;
	msg_hello_encode(&hello, &bytes);
	mux_send_control(agent->mux, MSG_HELLO, bytes.text, bytes.length);
}

void agent_run(int port_fd, int cgroup_fd, const struct stage *stage)
{
	static const struct mux_ops ops = {
		.control = on_control,
		.data = on_data,
		.eof = on_eof,
		.reset = on_reset,
		.writable = on_writable,
		.closed = on_closed,
	};
	struct agent agent = { .stage = *stage, .cgroup_fd = cgroup_fd, .root_tree = -1 };

	agent.loop = loop_new();
	agent.mux = mux_new(agent.loop, port_fd, true, &ops, &agent);
	agent.owner = (struct process_owner){ .loop = agent.loop,
					      .mux = agent.mux,
					      .ctx = &agent,
					      .started = on_started,
					      .over = on_over,
					      .oom_killed = oom_killed };
	agent.pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	agent.events_fd = openat(cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	agent.kill_timer = loop_add_timer(agent.loop, kill_all, &agent);
	signal(SIGPIPE, SIG_IGN);
	loop_add_signal(agent.loop, SIGCHLD, on_child, &agent);
	if (agent.events_fd >= 0) {
		cgroup_oom_kills(agent.events_fd);
		loop_add_fd(agent.loop, agent.events_fd, EPOLLPRI, on_memory_event, &agent);
	}
	say_hello(&agent);
	loop_run(agent.loop);
}
