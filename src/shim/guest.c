/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest says, and where it goes: events of the supervisor, streams, answers. */
#include "shim/shim.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "proto/msg.h"
#include "proto/msg_state.h"
#include "proto/sockets.h"
#include "proto/top.h"
#include "shim/clock_sync.h"
#include "shim/socket_relays.h"

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

	shim->guest_heard++;
	switch (type) {
	case MSG_SESSION_DONE:
		shim_event(shim, EVENT_READY);
		return 0;
	case MSG_HELLO:
	case MSG_PONG:
	case MSG_OOM:
		return 0;
	case MSG_CLOCK_REPLY:
		return clock_sync_answer(shim, payload, size);
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

	shim->guest_heard++;
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

	shim->guest_heard++;
	if (sockets_owns(stream))
		sockets_writable(socket_relays_sockets(shim->socket_relays), stream);
	else
		relay_guest_writable(shim, stream);
}

static void guest_closed(void *ctx, int error)
{
	struct shim *shim = ctx;

	if (error == -EPROTO)
		shim_set_failure(shim, -EPROTO, 125, "the guest broke the protocol");
	shim_event(shim, EVENT_GONE);
}

const struct mux_ops guest_ops = {
	.control = guest_control,
	.data = guest_data,
	.eof = guest_eof,
	.reset = guest_reset,
	.writable = guest_writable,
	.closed = guest_closed,
};
