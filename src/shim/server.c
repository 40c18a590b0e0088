/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket. A connection makes one request; see ctl.h. */
#include "shim/shim.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"
#include "proto/copy.h"
#include "proto/msg.h"
#include "shim/hold.h"

void server_send(struct client *client, uint16_t type, const struct sbuf *payload)
{
	if (!client->dead)
		mux_send_control(client->mux, type, payload ? payload->text : NULL,
				 payload ? payload->length : 0);
}

void server_send_error(struct client *client, int code, uint32_t status, const char *message)
{
	AUTO_SBUF struct sbuf payload = { 0 };

	ctl_error_encode(&(struct ctl_error){ code, status, message }, &payload);
	server_send(client, CTL_ERROR, &payload);
}

static int send_signal(struct shim *shim, uint32_t process, uint32_t signal)
{
	AUTO_SBUF struct sbuf out = { 0 };

	if (!shim->guest || signal < 1 || signal > 64)
		return -EINVAL;
	msg_signal_encode(&(struct msg_signal){ .process = process, .signal = signal }, &out);
	return mux_send_control(shim->guest, MSG_SIGNAL, out.text, out.length);
}

void server_drop(struct client *client)
{
	if (client->dead)
		return;
	if (client->copies && client->process)
		send_signal(client->shim, relay_process_id(client->process), SIGKILL);
	relay_detach(client);
	client->dead = true;
	loop_arm(client->shim->reaper, 0);
}

static void client_free(struct client *client)
{
	mux_free(client->mux);
	free(client->out[0].data);
	free(client->out[1].data);
	free(client->input);
	sbuf_release(&client->held_copy);
	free(client);
}

/* A client that has not read all that was sent to it stays until it has, and hangs up: the end of a
 * process's output is worth as much as its beginning, however late it is read. */
static bool has_unread(struct client *client)
{
	return !client->gone && mux_flush(client->mux, 0) == -ETIMEDOUT;
}

static void on_reap(void *ctx)
{
	struct shim *shim = ctx;
	struct client **link = &shim->clients;

	while (*link) {
		struct client *client = *link;

		if (!client->dead || has_unread(client)) {
			link = &client->next;
			continue;
		}
		*link = client->next;
		shim->client_count--;
		client_free(client);
	}
	if (shim->phase == PHASE_FILES && !server_has_copiers(shim))
		shim_event(shim, EVENT_STOP);
}

/* --- answers of the guest --- */

/* The next client that is to be told. */
static void arm_answers(struct shim *shim, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	for (const struct client *client = shim->clients; client; client = client->next)
		if (!client->dead && client->due_ms && client->due_ms < next_ms)
			next_ms = client->due_ms;
	if (next_ms != UINT64_MAX)
		loop_arm(shim->answers, next_ms > now_ms ? next_ms - now_ms : 0);
}

static void expect(struct client *client, uint32_t within_ms)
{
	uint64_t now_ms = clock_monotonic_ms();

	client->due_ms = now_ms + within_ms;
	arm_answers(client->shim, now_ms);
}

void server_expect_answer(struct client *client)
{
	expect(client, client->shim->answer_ms);
}

void server_expect_start(struct client *client)
{
	expect(client, client->shim->answer_ms * SHIM_START_ANSWERS);
}

void server_expect_signs_of_life(struct client *client)
{
	client->heard = client->shim->guest_heard;
	client->pinged = false;
	expect(client, client->shim->answer_ms);
}

/* False when its guest is silent, though asked. A copy may have nothing to say for long: of a large
 * tree in which nothing has changed, or while its client does not read. */
static bool is_alive(struct client *client)
{
	struct shim *shim = client->shim;

	if (client->heard == shim->guest_heard && client->pinged)
		return false;
	client->heard = shim->guest_heard;
	client->pinged = true;
	return mux_send_control(shim->guest, MSG_PING, NULL, 0) == 0;
}

/* A machine that was put on hold in between has its time again when it goes on. */
static bool is_on_hold(const struct shim *shim)
{
	return shim->container->state == CONTAINER_PAUSED || shim->saving;
}

static void on_answers_due(void *ctx)
{
	struct shim *shim = ctx;
	uint64_t now_ms = clock_monotonic_ms();

	for (struct client *client = shim->clients; client; client = client->next) {
		if (client->dead || !client->due_ms || client->due_ms > now_ms)
			continue;
		if (is_on_hold(shim)) {
			client->due_ms = now_ms + shim->answer_ms;
			continue;
		}
		if (client->copies && !client->process) {
			client->due_ms = 0; /* it has ended; its client still reads */
			continue;
		}
		if (client->copies && shim->guest && is_alive(client)) {
			client->due_ms = now_ms + shim->answer_ms;
			continue;
		}
		if (client->wants_interface)
			connect_late(shim);
		if (relay_is_starting(client))
			relay_give_up(client);
		server_send_error(client, -ETIMEDOUT, 125,
				  "the machine of the container does not answer");
		server_drop(client);
	}
	arm_answers(shim, now_ms);
}

/* --- requests --- */

static void refuse_not_running(struct client *client)
{
	AUTO_FREE char *message =
		xasprintf("container %s is not running", client->shim->container->config.id);

	server_send_error(client, -EINVAL, 125, message);
	server_drop(client);
}

/* A machine on hold answers nothing: who asks for it would wait for ever. */
bool server_is_answering(struct client *client)
{
	AUTO_FREE char *message = NULL;

	if (client->shim->phase != PHASE_RUNNING) {
		refuse_not_running(client);
		return false;
	}
	if (client->shim->container->state != CONTAINER_PAUSED)
		return true;
	message = hold_message(client->shim);
	server_send_error(client, -EINVAL, 125, message);
	server_drop(client);
	return false;
}

static int on_attach(struct client *client, const uint8_t *data, size_t size)
{
	struct process *main_process = relay_find(client->shim, MSG_PROCESS_MAIN);
	uint32_t flags;
	int r = ctl_numbers_decode(data, size, &flags, NULL);

	if (r < 0)
		return r;
	if (!main_process)
		refuse_not_running(client);
	else if (server_is_answering(client))
		relay_attach(main_process, client, flags, false);
	return 0;
}

static int on_exec(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_process process;
	int r = msg_process_decode(data, size, &process);

	if (r < 0)
		return r;
	if (relay_is_full(shim)) {
		server_send_error(client, -EAGAIN, 125,
				  "too many commands run in the container at once");
		server_drop(client);
	} else if (server_is_answering(client)) {
		process.id = shim->next_process_id++;
		msg_process_encode(&process, &out);
		relay_attach(relay_add(shim, process.id, process.flags), client,
			     CTL_ATTACH_INPUT | CTL_ATTACH_OUTPUT, true);
		server_expect_start(client);
		r = mux_send_control(shim->guest, MSG_EXEC, out.text, out.length);
	}
	msg_process_release(&process);
	return r;
}

static int on_copy(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_copy copy;
	int r = msg_copy_decode(data, size, &copy);

	if (r < 0)
		return r;
	/* Before and between and after its runs: it will be told to try again, if nothing comes. */
	if (shim->phase != PHASE_RUNNING && shim->phase != PHASE_FILES) {
		sbuf_add_bytes(&client->held_copy, data, size);
		relay_expect(client, CTL_ATTACH_INPUT | CTL_ATTACH_OUTPUT);
		return 0;
	}
	if (shim->phase == PHASE_RUNNING && !server_is_answering(client))
		return 0;
	if (relay_is_full(shim)) {
		server_send_error(client, -EBUSY, 125,
				  "too many commands run in the container at once");
		server_drop(client);
		return 0;
	}
	copy.id = shim->next_process_id++;
	copy.lane = bulk_begin(client, copy.id);
	client->copies = true;
	msg_copy_encode(&copy, &out);
	relay_attach(relay_add(shim, copy.id,
			       copy.op == MSG_COPY_WRITE || copy.lane ? MSG_PROCESS_STDIN : 0),
		     client, CTL_ATTACH_INPUT | CTL_ATTACH_OUTPUT, true);
	server_expect_signs_of_life(client);
	return mux_send_control(shim->guest, MSG_COPY, out.text, out.length);
}

void server_begin_copies(struct shim *shim)
{
	for (struct client *client = shim->clients; client; client = client->next)
		if (client->held_copy.length && !client->copies && !client->dead)
			on_copy(client, (const uint8_t *)client->held_copy.text,
				client->held_copy.length);
}

bool server_has_copiers(const struct shim *shim)
{
	for (const struct client *client = shim->clients; client; client = client->next)
		if (!client->wants_end)
			return true;
	return false;
}

static int on_copy_end(struct client *client, const uint8_t *data, size_t size)
{
	AUTO_FREE char *message = NULL;

	client->wants_end = client->end_is_ok = true;
	if (client->shim->launch.files)
		return 0;
	message = xasprintf("container %s is already running", client->shim->container->config.id);
	server_send_error(client, -EBUSY, 125, message);
	server_drop(client);
	return 0;
}

static int on_stop(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	uint32_t signal;
	uint32_t timeout_ms;
	int r = ctl_numbers_decode(data, size, &signal, &timeout_ms);

	if (r < 0)
		return r;
	client->wants_end = client->end_is_ok = true;
	shim->stop_signal = signal ? signal : shim_default_stop_signal(shim);
	shim->stop_timeout_ms = timeout_ms;
	shim->user_stopped = true;
	shim_event(shim, EVENT_STOP);
	return 0;
}

static int on_kill(struct client *client, const uint8_t *data, size_t size)
{
	uint32_t signal;
	int r = ctl_numbers_decode(data, size, &signal, NULL);

	if (r < 0)
		return r;
	if (client->shim->phase != PHASE_RUNNING && client->shim->phase != PHASE_STOPPING) {
		refuse_not_running(client);
		return 0;
	}
	client->shim->user_stopped = true;
	if (signal == SIGKILL && client->shim->container->state == CONTAINER_PAUSED &&
	    vm_resume(client->shim->vm, NULL) == 0)
		shim_set_state(client->shim, CONTAINER_RUNNING);
	if (send_signal(client->shim, MSG_PROCESS_MAIN, signal) < 0)
		server_send_error(client, -EINVAL, 125, "the signal cannot be delivered");
	else
		server_send(client, CTL_OK, NULL);
	server_drop(client);
	return 0;
}

static int on_wait(struct client *client, const uint8_t *data, size_t size)
{
	client->wants_end = true;
	return 0;
}

static int on_stats(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;

	if (!server_is_answering(client))
		return 0;
	client->wants_stats = true;
	server_expect_answer(client);
	return mux_send_control(shim->guest, MSG_STATS, NULL, 0);
}

static int on_top(struct client *client, const uint8_t *data, size_t size)
{
	if (!server_is_answering(client))
		return 0;
	client->wants_top = true;
	server_expect_answer(client);
	return mux_send_control(client->shim->guest, MSG_TOP, NULL, 0);
}

static int on_pause(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	struct err err = { 0 };
	uint32_t pause;
	int r = ctl_numbers_decode(data, size, &pause, NULL);

	if (r < 0)
		return r;
	if (shim->phase != PHASE_RUNNING) {
		refuse_not_running(client);
		return 0;
	}
	if (!pause == (shim->container->state != CONTAINER_PAUSED)) {
		AUTO_FREE char *message =
			xasprintf("container %s is %s paused", shim->container->config.id,
				  pause ? "already" : "not");

		server_send_error(client, -EINVAL, 125, message);
		server_drop(client);
		return 0;
	}
	r = pause ? vm_pause(shim->vm, &err) : vm_resume(shim->vm, &err);
	if (r < 0) {
		server_send_error(client, r, 125, err.message);
	} else {
		shim_set_state(shim, pause ? CONTAINER_PAUSED : CONTAINER_RUNNING);
		server_send(client, CTL_OK, NULL);
	}
	server_drop(client);
	return 0;
}

static int on_process_signal(struct client *client, const uint8_t *data, size_t size)
{
	uint32_t signal;
	int r = ctl_numbers_decode(data, size, &signal, NULL);

	if (r == 0 && client->process)
		send_signal(client->shim, relay_process_id(client->process), signal);
	return r;
}

/* By its detach keys: whatever closes the connection next is no hang-up. */
static int on_detach(struct client *client, const uint8_t *data, size_t size)
{
	client->detaches = true;
	return size ? -EPROTO : 0;
}

static int on_resize(struct client *client, const uint8_t *data, size_t size)
{
	AUTO_SBUF struct sbuf out = { 0 };
	uint32_t rows;
	uint32_t columns;
	int r = ctl_numbers_decode(data, size, &rows, &columns);

	if (r < 0 || !client->process || !client->shim->guest)
		return r;
	msg_resize_encode(&(struct msg_resize){ .process = relay_process_id(client->process),
						.rows = (uint16_t)rows,
						.columns = (uint16_t)columns },
			  &out);
	return mux_send_control(client->shim->guest, MSG_RESIZE, out.text, out.length);
}

static const struct {
	uint16_t type;
	bool request; /* the one of its connection */
	int (*handle)(struct client *client, const uint8_t *data, size_t size);
} requests[] = {
	{ CTL_ATTACH, true, on_attach },
	{ CTL_EXEC, true, on_exec },
	{ CTL_STOP, true, on_stop },
	{ CTL_KILL, true, on_kill },
	{ CTL_UPDATE, true, update_on_request },
	{ CTL_WAIT, true, on_wait },
	{ CTL_STATS, true, on_stats },
	{ CTL_TOP, true, on_top },
	{ CTL_PAUSE, true, on_pause },
	{ CTL_COPY, true, on_copy },
	{ CTL_COPY_END, true, on_copy_end },
	{ CTL_BULK, false, bulk_request },
	{ CTL_CONNECT, true, connect_request },
	{ CTL_DISCONNECT, true, disconnect_request },
	{ CTL_RENAME, true, rename_request },
	{ CTL_SIGNAL, false, on_process_signal },
	{ CTL_RESIZE, false, on_resize },
	{ CTL_DETACH, false, on_detach },
	{ CTL_SUSPEND, true, state_on_suspend },
	{ CTL_SAVE, true, state_on_save },
};

static int client_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct client *client = ctx;

	if (client->dead)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (requests[i].type != type)
			continue;
		if (requests[i].request) {
			if (client->asked)
				return -EPROTO;
			client->asked = true;
		}
		return requests[i].handle(client, payload, size);
	}
	return -EPROTO;
}

static void client_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct client *client = ctx;

	if (stream == CTL_STREAM_STDIN)
		relay_client_data(client, data, size);
}

static void client_eof(void *ctx, uint32_t stream)
{
	if (stream == CTL_STREAM_STDIN)
		relay_client_eof(ctx);
}

static void client_reset(void *ctx, uint32_t stream)
{
	relay_client_reset(ctx, stream);
}

static void client_writable(void *ctx, uint32_t stream)
{
	relay_client_writable(ctx);
}

static void client_closed(void *ctx, int error)
{
	struct client *client = ctx;

	server_drop(client);
	client->gone = true;
	loop_arm(client->shim->reaper, 0);
}

static const struct mux_ops client_ops = {
	.control = client_control,
	.data = client_data,
	.eof = client_eof,
	.reset = client_reset,
	.writable = client_writable,
	.closed = client_closed,
};

struct client *server_add_client(struct shim *shim, int fd)
{
	struct client *client = xcalloc(1, sizeof(*client));

	client->shim = shim;
	client->mux = mux_new(shim->loop, fd, false, &client_ops, client);
	client->next = shim->clients;
	shim->clients = client;
	shim->client_count++;
	return client;
}

static void on_connection(void *ctx, int listener, uint32_t events)
{
	struct shim *shim = ctx;
	int fd = sock_accept(listener);

	if (fd < 0)
		return;
	if (shim->client_count >= SHIM_CLIENTS_MAX)
		close(fd);
	else
		server_add_client(shim, fd);
}

int server_open(struct shim *shim, struct err *err)
{
	AUTO_FREE char *path = launch_socket_path(shim->launch.root, shim->launch.uuid);
	int fd = sock_listen(path, err);

	if (fd < 0)
		return fd;
	shim->listener = fd;
	shim->listener_source = loop_add_fd(shim->loop, fd, EPOLLIN, on_connection, shim);
	shim->reaper = loop_add_timer(shim->loop, on_reap, shim);
	shim->answers = loop_add_timer(shim->loop, on_answers_due, shim);
	return 0;
}

void server_top_reply(struct shim *shim, const uint8_t *data, size_t size)
{
	struct sbuf payload = { .text = (char *)data, .length = size };

	for (struct client *client = shim->clients; client; client = client->next) {
		if (!client->wants_top || client->dead)
			continue;
		server_send(client, CTL_TOP_REPLY, &payload);
		server_drop(client);
	}
}

void server_stats_reply(struct shim *shim, const uint8_t *data, size_t size)
{
	struct sbuf payload = { .text = (char *)data, .length = size };

	for (struct client *client = shim->clients; client; client = client->next) {
		if (!client->wants_stats || client->dead)
			continue;
		server_send(client, CTL_STATS_REPLY, &payload);
		server_drop(client);
	}
}

void server_report_end(struct shim *shim)
{
	for (struct client *client = shim->clients; client; client = client->next) {
		AUTO_SBUF struct sbuf payload = { 0 };

		if (client->dead || client->exit_due)
			continue;
		if ((client->held_copy.length || (client->bulk_asked && !client->asked)) &&
		    !client->copies && !shim->launch.files) {
			server_send_error(client, -EAGAIN, 125, "the container has ended");
		} else if (client->wants_end && client->end_is_ok) {
			server_send(client, CTL_OK, NULL);
		} else if (client->wants_end && !shim->suspended) {
			ctl_exited_encode(
				&(struct ctl_exited){ shim->main_status, shim->oom_killed },
				&payload);
			server_send(client, CTL_EXITED, &payload);
		} else if (shim->failure.code) {
			server_send_error(client, shim->failure.code, shim->failure.status,
					  shim->failure.message);
		} else {
			refuse_not_running(client);
		}
		server_drop(client);
	}
}

void server_close(struct shim *shim)
{
	shim->listener_source = loop_remove(shim->listener_source);
	if (shim->listener >= 0)
		close(TAKE_FD(shim->listener));
}
