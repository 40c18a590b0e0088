/* SPDX-License-Identifier: Apache-2.0 */
/* The state of the machine is saved, or has been brought back: see proto/msg_state.h. */
#include "guest/agent_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "guest/become.h"
#include "guest/cgroup.h"
#include "guest/net.h"
#include "guest/rejoin.h"
#include "guest/shares.h"
#include "guest/sockets.h"
#include "proto/msg_state.h"

static void refuse(struct agent *agent, const struct err *err)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	agent->frozen = false;
	shares_go(false);
	agent_thaw(agent);
	msg_refused_encode(&(struct msg_refused){ err->message }, &bytes);
	mux_send_control(agent->mux, MSG_REFUSED, bytes.text, bytes.length);
}

int agent_on_freeze(struct agent *agent, const uint8_t *payload, size_t size)
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
	mux_flush(agent->mux, AGENT_LAST_FLUSH_MS);
	mux_hold(agent->mux, true);
	return 0;
}

int agent_on_thaw(struct agent *agent)
{
	if (!agent->frozen)
		return -EPROTO;
	agent->frozen = false;
	mux_hold(agent->mux, false);
	shares_go(false);
	agent_thaw(agent);
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
	r = agent_seed(&session, err);
	if (r < 0)
		return r;
	if (rejoin->is_copy)
		r = net_replace(session.interfaces, session.interface_count, err);
	msg_session_release(&old);
	sockets_abort_outside();
	return r == 0 && rejoin->is_copy ? rejoin_identity(&agent->stage, rejoin, &session, err)
					 : r;
}

static int rejoin_processes(struct agent *agent, const struct msg_rejoin *rejoin, struct err *err)
{
	struct process *main_process = agent_find_process(agent, MSG_PROCESS_MAIN);
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
int agent_on_rejoin(struct agent *agent, const uint8_t *payload, size_t size)
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
		agent_send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
		return 0;
	}
	shares_go(true);
	agent_thaw(agent);
	started.pid = (uint32_t)process_pid(agent_find_process(agent, MSG_PROCESS_MAIN));
	msg_started_encode(&started, &bytes);
	mux_send_control(agent->mux, MSG_STARTED, bytes.text, bytes.length);
	return 0;
}
