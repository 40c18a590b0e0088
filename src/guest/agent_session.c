/* SPDX-License-Identifier: Apache-2.0 */
/* A machine becomes a container, or the template of an image's. */
#include "guest/agent_parts.h"

#include <errno.h>

#include "base/mem.h"
#include "guest/become.h"
#include "guest/cgroup.h"
#include "guest/clock.h"
#include "guest/mounts.h"
#include "guest/net.h"
#include "guest/rehearsal.h"
#include "guest/shares.h"
#include "guest/socket_mounts.h"
#include "guest/timeline.h"

int agent_seed(const struct msg_session *session, struct err *err)
{
	int r = clock_set_entropy(session->entropy, sizeof(session->entropy));

	if (r < 0)
		return err_set(err, r, "cannot seed the random generator: %m");
	r = clock_set_wall(session->wall_clock_ns);
	return r < 0 ? err_set(err, r, "cannot set the clock: %m") : 0;
}

/* All that has to be there before the container's first process runs. */
static int begin_session(struct agent *agent, struct err *err)
{
	const struct msg_session *session = &agent->session;
	int r = agent_seed(session, err);

	if (r < 0)
		return r;
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

int agent_on_session(struct agent *agent, const uint8_t *payload, size_t size)
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
		agent_send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
		return 0;
	}
	agent->has_session = true;
	mux_send_control(agent->mux, MSG_SESSION_DONE, "", 0);
	if (agent->session.has_process)
		agent_exec(agent, &agent->session.process);
	/* Nobody waits for cards to be switched off: not in the rehearsal's way. */
	if (!networked)
		net_order(NULL, 0);
	return 0;
}

/* Nobody's container yet: a template for one image is made. */
int agent_on_prepare(struct agent *agent, const uint8_t *payload, size_t size)
{
	struct msg_prepare message;
	struct err err = { 0 };
	int r = msg_prepare_decode(payload, size, &message);

	if (r < 0 || agent->session_bytes || agent->prepared)
		return -EPROTO;
	agent->prepared = true;
	if (mounts_root_early(&message, &err) < 0)
		agent_send_failed(agent, 0, BECOME_SETUP_FAILED, &err);
	else {
		rehearsal_mount();
		mux_send_control(agent->mux, MSG_PREPARED, "", 0);
	}
	return 0;
}
