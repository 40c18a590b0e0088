/* SPDX-License-Identifier: Apache-2.0 */
/* The container's processes end, and the machine with clean disks. */
#include "guest/agent_parts.h"

#include <signal.h>

#include "base/log.h"
#include "guest/cgroup.h"
#include "guest/mounts.h"

#define LAST_COPIES_MS 15000 /* the host waits for 30 s */

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
	mux_flush(agent->mux, AGENT_LAST_FLUSH_MS);
	loop_quit(agent->loop, 0);
}

/* Goes on with a shutdown once no process is left. */
void agent_end_if_empty(struct agent *agent)
{
	VEC_EACH (&agent->processes, it)
		if (process_pid(*it) || (process_is_copy(*it) && !agent->too_late))
			return;
	if (agent->shutting_down)
		end_machine(agent);
}

static void kill_all(void *ctx)
{
	struct agent *agent = ctx;

	agent_kill_copies(agent);
	cgroup_kill(agent->cgroup_fd);
	kill(agent->stage.pid, SIGKILL);
	agent_end_if_empty(agent);
}

int agent_on_shutdown(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_shutdown message;
	int r = msg_shutdown_decode(payload, size, &message);
	const struct process *process = agent_find_process(agent, MSG_PROCESS_MAIN);

	if (r < 0 || agent->shutting_down)
		return r;
	agent->shutting_down = true;
	/* Copies of files may end after the container's process did by itself, but not after that
	 * was told to. */
	if (process || message.signal)
		agent_kill_copies(agent);
	if (process && process_pid(process) && message.signal) {
		kill(process_pid(process), (int)message.signal);
		loop_arm(agent->kill_timer, message.timeout_ms);
	} else {
		cgroup_kill(agent->cgroup_fd);
		kill(agent->stage.pid, SIGKILL);
		loop_arm(agent->kill_timer, LAST_COPIES_MS);
	}
	agent_end_if_empty(agent);
	return 0;
}

void agent_prepare_end(struct agent *agent)
{
	agent->kill_timer = loop_add_timer(agent->loop, kill_all, agent);
}
