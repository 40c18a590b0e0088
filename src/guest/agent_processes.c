/* SPDX-License-Identifier: Apache-2.0 */
/* What runs in the container, and beside it for its files. */
#include "guest/agent_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/become.h"
#include "guest/cgroup.h"
#include "guest/copy.h"
#include "guest/mounts.h"
#include "guest/sys.h"
#include "guest/timeline.h"

struct process *agent_find_process(struct agent *agent, uint32_t id)
{
	VEC_EACH (&agent->processes, it)
		if (process_id(*it) == id)
			return *it;
	return NULL;
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
	if (agent_find_process(agent, message->id))
		return err_set(err, -EEXIST, "process %u exists already", message->id);
	/* Until the main process has executed its program, its namespaces still show ours. */
	const struct process *main_process = agent_find_process(agent, MSG_PROCESS_MAIN);
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

void agent_exec(struct agent *agent, const struct msg_process *message)
{
	struct err err = { 0 };

	if (start_process(agent, message, &err) < 0)
		agent_send_failed(agent, message->id, BECOME_SETUP_FAILED, &err);
}

void agent_thaw(struct agent *agent)
{
	if (--agent->freezers == 0)
		cgroup_freeze(agent->cgroup_fd, false);
}

/* Copies are processes to the host, and children of ours like others; only what runs differs. */
static int start_copy(struct agent *agent, const struct msg_copy *message, struct err *err)
{
	const struct process *main_process = agent_find_process(agent, MSG_PROCESS_MAIN);
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
	if (agent_find_process(agent, message->id))
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
			agent_thaw(agent);
		process_free(process);
		return pid;
	}
	VEC_PUSH(&agent->processes, process);
	process_set_copy(process, freezes);
	process_started(process, pid, report);
	return 0;
}

int agent_on_exec(struct agent *agent, const uint8_t *payload, size_t size)
{
	CLEANUP(msg_process_release) struct msg_process message = { 0 };
	int r = msg_process_decode(payload, size, &message);

	if (r == 0)
		agent_exec(agent, &message);
	return r;
}

int agent_on_copy(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_copy message;
	struct err err = { 0 };
	int r = msg_copy_decode(payload, size, &message);

	if (r == 0 && start_copy(agent, &message, &err) < 0)
		agent_send_failed(agent, message.id, BECOME_SETUP_FAILED, &err);
	return r;
}

int agent_on_signal(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_signal message;
	int r = msg_signal_decode(payload, size, &message);
	const struct process *process = r < 0 ? NULL : agent_find_process(agent, message.process);

	if (process)
		process_signal(process, &message);
	return r;
}

int agent_on_resize(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_resize message;
	int r = msg_resize_decode(payload, size, &message);
	const struct process *process = r < 0 ? NULL : agent_find_process(agent, message.process);

	if (process)
		process_resize(process, &message);
	return r;
}

void agent_kill_copies(struct agent *agent)
{
	agent->too_late = true;
	VEC_EACH (&agent->processes, it)
		if (process_is_copy(*it) && process_pid(*it))
			kill(process_pid(*it), SIGKILL);
}

static void on_over(void *ctx, struct process *process)
{
	struct agent *agent = ctx;
	bool is_main = process_id(process) == MSG_PROCESS_MAIN;
	bool is_copy = process_is_copy(process);

	if (process_freezes(process))
		agent_thaw(agent);
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
		agent_end_if_empty(agent);
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
	agent_end_if_empty(agent);
}

void agent_own_processes(struct agent *agent)
{
	agent->owner = (struct process_owner){ .loop = agent->loop,
					       .mux = agent->mux,
					       .ctx = agent,
					       .started = on_started,
					       .over = on_over,
					       .oom_killed = oom_killed };
	agent->pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	loop_add_signal(agent->loop, SIGCHLD, on_child, agent);
}
