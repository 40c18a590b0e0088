/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "guest/agent_parts.h"
#include "guest/cgroup.h"
#include "guest/clock.h"
#include "guest/net.h"
#include "guest/rejoin.h"
#include "guest/top.h"
#include "proto/copy.h"
#include "proto/msg_state.h"

void agent_send_failed(struct agent *agent, uint32_t process, uint32_t status,
		       const struct err *err)
{
	struct msg_failed message = { process, status, err->message };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_failed_encode(&message, &bytes);
	mux_send_control(agent->mux, MSG_FAILED, bytes.text, bytes.length);
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

static void handle_clock(struct agent *agent)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_clock_encode(&(struct msg_clock){ .wall_clock_ns = clock_wall_ns() }, &bytes);
	mux_send_control(agent->mux, MSG_CLOCK_REPLY, bytes.text, bytes.length);
}

static int handle_clock_shift(const uint8_t *payload, size_t size)
{
	struct msg_clock_shift shift;
	int r = msg_clock_shift_decode(payload, size, &shift);

	if (r == 0 && clock_shift_wall(shift.ns) < 0)
		log_warning("cannot set the clock: %m");
	return r;
}

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct agent *agent = ctx;

	switch (type) {
	case MSG_SESSION:
		return agent_on_session(agent, payload, size);
	case MSG_PREPARE:
		return agent_on_prepare(agent, payload, size);
	case MSG_EXEC:
		return agent_on_exec(agent, payload, size);
	case MSG_COPY:
		return agent_on_copy(agent, payload, size);
	case MSG_SIGNAL:
		return agent_on_signal(agent, payload, size);
	case MSG_RESIZE:
		return agent_on_resize(agent, payload, size);
	case MSG_SHUTDOWN:
		return agent_on_shutdown(agent, payload, size);
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
	case MSG_CLOCK:
		handle_clock(agent);
		return 0;
	case MSG_CLOCK_SHIFT:
		return handle_clock_shift(payload, size);
	case MSG_FREEZE:
		return agent_on_freeze(agent, payload, size);
	case MSG_THAW:
		return agent_on_thaw(agent);
	case MSG_REJOIN:
		return agent_on_rejoin(agent, payload, size);
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
	struct process *process = agent_find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_data(agent->sockets, stream, data, size);
	else if (process)
		process_input(process, data, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = agent_find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_eof(agent->sockets, stream);
	else if (process)
		process_input_eof(process);
}

static void on_reset(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = agent_find_process(agent, stream >> 2);

	if (sockets_owns(stream))
		sockets_reset(agent->sockets, stream);
	else if (process)
		process_output_reset(process, stream);
}

static void on_writable(void *ctx, uint32_t stream)
{
	struct agent *agent = ctx;
	struct process *process = agent_find_process(agent, stream >> 2);

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
	agent_own_processes(&agent);
	agent_prepare_end(&agent);
	agent.events_fd = openat(cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (agent.events_fd >= 0) {
		cgroup_oom_kills(agent.events_fd);
		loop_add_fd(agent.loop, agent.events_fd, EPOLLPRI, on_memory_event, &agent);
	}
	say_hello(&agent);
	loop_run(agent.loop);
}
