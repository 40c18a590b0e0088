/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between processes of the guest and clients. Output is taken from the guest under credit;
 * the credit is given back when every attached client has taken the bytes, so that no buffer here
 * ever holds more than one window per stream and client, and a slow client slows only its process.
 * Input is held, at most one window per client, until the guest grants credit.
 */
#include "shim/shim.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proto/msg.h"

struct process {
	struct process *next;
	struct shim *shim;
	uint32_t id;
	uint32_t flags; /* MSG_PROCESS_STDIN, MSG_PROCESS_TTY */
	bool started;
	bool input_closed;     /* the guest wants no more of it, or its end was sent */
	bool abandoned;        /* its client is gone, and no other can come */
	bool kept;             /* and wants it to keep its terminal */
	bool given_up;         /* its client was told that it has not started: it shall not */
	size_t outstanding[2]; /* bytes whose credit the guest has not got back */
};

/* Stream 2 (stdout) and 3 (stderr) are out[0] and out[1]. */
static unsigned out_index(uint32_t which)
{
	return which - MSG_STREAM_STDOUT;
}

static uint32_t guest_stream(const struct process *process, uint32_t which)
{
	return MSG_STREAM(process->id, which);
}

struct process *relay_find(struct shim *shim, uint32_t id)
{
	struct process *process = shim->processes;

	while (process && process->id != id)
		process = process->next;
	return process;
}

bool relay_is_full(const struct shim *shim)
{
	size_t count = 0;

	for (const struct process *it = shim->processes; it; it = it->next)
		count++;
	return count >= SHIM_PROCESSES_MAX;
}

struct process *relay_add(struct shim *shim, uint32_t id, uint32_t flags)
{
	struct process *process = xcalloc(1, sizeof(*process));

	*process =
		(struct process){ .next = shim->processes, .shim = shim, .id = id, .flags = flags };
	shim->processes = process;
	mux_open(shim->guest, guest_stream(process, MSG_STREAM_STDIN), 0);
	mux_open(shim->guest, guest_stream(process, MSG_STREAM_STDOUT), MUX_WINDOW_DEFAULT);
	mux_open(shim->guest, guest_stream(process, MSG_STREAM_STDERR), MUX_WINDOW_DEFAULT);
	return process;
}

void relay_add_main(struct shim *shim)
{
	const struct process_config *process = &shim->container->config.process;

	relay_add(shim, MSG_PROCESS_MAIN,
		  (process->stdin_open ? MSG_PROCESS_STDIN : 0u) |
			  (process->terminal ? MSG_PROCESS_TTY : 0u));
}

static void process_remove(struct process *process)
{
	struct process **link = &process->shim->processes;

	bulk_process_over(process->shim->bulk, process->id);

	if (process->shim->guest)
		for (uint32_t which = MSG_STREAM_STDIN; which <= MSG_STREAM_STDERR; which++)
			mux_close(process->shim->guest, guest_stream(process, which));
	while (*link != process)
		link = &(*link)->next;
	*link = process->next;
	free(process);
}

void relay_clear(struct shim *shim)
{
	for (struct client *client = shim->clients; client; client = client->next)
		client->process = NULL;
	while (shim->processes)
		process_remove(shim->processes);
}

/* Gives the guest its credit back once nobody holds bytes of the stream any more. */
static void settle(struct process *process, unsigned index)
{
	size_t size = process->outstanding[index];

	if (!size || !process->shim->guest)
		return;
	for (struct client *client = process->shim->clients; client; client = client->next)
		if (client->process == process && client->out[index].size)
			return;
	process->outstanding[index] = 0;
	mux_consumed(process->shim->guest, guest_stream(process, index + MSG_STREAM_STDOUT), size);
}

static void send_exited(struct client *client)
{
	AUTO_SBUF struct sbuf payload = { 0 };

	client->exit_due = false;
	mux_send_eof(client->mux, CTL_STREAM_STDOUT);
	mux_send_eof(client->mux, CTL_STREAM_STDERR);
	ctl_exited_encode(&client->exited, &payload);
	server_send(client, CTL_EXITED, &payload);
	server_drop(client);
}

static void pump_output(struct client *client)
{
	for (unsigned i = 0; i < 2 && !client->dead; i++) {
		while (client->out[i].size) {
			ssize_t n = mux_send(client->mux, i + CTL_STREAM_STDOUT,
					     client->out[i].data + client->out[i].start,
					     client->out[i].size);

			if (n < 0)
				n = (ssize_t)client->out[i].size;
			if (n == 0)
				break;
			client->out[i].start += (size_t)n;
			client->out[i].size -= (size_t)n;
		}
		if (!client->out[i].size)
			client->out[i].start = 0;
		if (client->process)
			settle(client->process, i);
	}
	if (client->exit_due && !client->dead && !client->out[0].size && !client->out[1].size)
		send_exited(client);
}

static void queue_output(struct client *client, unsigned i, const uint8_t *data, size_t size)
{
	size_t end = client->out[i].start + client->out[i].size;

	if (end + size > client->out[i].capacity && client->out[i].start) {
		memmove(client->out[i].data, client->out[i].data + client->out[i].start,
			client->out[i].size);
		client->out[i].start = 0;
		end = client->out[i].size;
	}
	if (end + size > client->out[i].capacity) {
		client->out[i].capacity = (end + size) * 2;
		client->out[i].data = xrealloc(client->out[i].data, client->out[i].capacity, 1);
	}
	memcpy(client->out[i].data + end, data, size);
	client->out[i].size += size;
}

void relay_guest_data(struct shim *shim, uint32_t stream, const uint8_t *data, size_t size)
{
	struct process *process = relay_find(shim, stream >> 2);
	uint32_t which = stream & 3;

	if (!process || which < MSG_STREAM_STDOUT)
		return;
	if (process->id == MSG_PROCESS_MAIN && shim->log)
		log_writer_add(shim->log, which == MSG_STREAM_STDOUT ? 1 : 2, data, size);
	healthcheck_output(shim, process->id, data, size);
	process->outstanding[out_index(which)] += size;
	for (struct client *client = shim->clients; client; client = client->next) {
		if (client->process != process || client->dead ||
		    !(client->flags & CTL_ATTACH_OUTPUT) || client->out[out_index(which)].unwanted)
			continue;
		queue_output(client, out_index(which), data, size);
		pump_output(client);
	}
	settle(process, out_index(which));
}

void relay_guest_eof(struct shim *shim, uint32_t stream)
{
	struct process *process = relay_find(shim, stream >> 2);

	if (process && process->id == MSG_PROCESS_MAIN && shim->log)
		log_writer_flush(shim->log);
}

/* --- input --- */

static void end_input(struct process *process)
{
	if (!(process->flags & MSG_PROCESS_STDIN) || process->input_closed || !process->started ||
	    !process->shim->guest)
		return;
	process->input_closed = true;
	mux_send_eof(process->shim->guest, guest_stream(process, MSG_STREAM_STDIN));
}

/* Nobody will come to the process any more: its input ends; a terminal hangs up, as one does whose
 * window was closed, unless it was left by its detach keys. */
static void abandon(struct process *process)
{
	process->abandoned = true;
	if (!process->started || !process->shim->guest)
		return;
	if (!(process->flags & MSG_PROCESS_TTY))
		end_input(process);
	else if (!process->kept)
		mux_send_reset(process->shim->guest, guest_stream(process, MSG_STREAM_STDOUT));
}

static void pump_input(struct client *client)
{
	struct process *process = client->process;
	uint32_t stream;

	if (!process || !process->started || !process->shim->guest)
		return;
	stream = guest_stream(process, MSG_STREAM_STDIN);
	while (client->input_size) {
		ssize_t n = process->input_closed || !(process->flags & MSG_PROCESS_STDIN)
				    ? (ssize_t)client->input_size
				    : mux_send(process->shim->guest, stream, client->input,
					       client->input_size);

		if (n < 0)
			n = (ssize_t)client->input_size;
		if (n == 0)
			return;
		client->input_size -= (size_t)n;
		memmove(client->input, client->input + n, client->input_size);
		mux_consumed(client->mux, CTL_STREAM_STDIN, (size_t)n);
	}
	if (client->input_eof && client->owner)
		end_input(process);
}

static void pump_inputs(struct process *process)
{
	for (struct client *client = process->shim->clients; client; client = client->next)
		if (client->process == process)
			pump_input(client);
}

void relay_guest_writable(struct shim *shim, uint32_t stream)
{
	struct process *process = relay_find(shim, stream >> 2);

	if (process && (stream & 3) == MSG_STREAM_STDIN)
		pump_inputs(process);
}

void relay_guest_reset(struct shim *shim, uint32_t stream)
{
	struct process *process = relay_find(shim, stream >> 2);

	if (!process || (stream & 3) != MSG_STREAM_STDIN)
		return;
	process->input_closed = true;
	pump_inputs(process);
}

void relay_client_data(struct client *client, const uint8_t *data, size_t size)
{
	if (!client->process || !(client->flags & CTL_ATTACH_INPUT)) {
		mux_consumed(client->mux, CTL_STREAM_STDIN, size);
		return;
	}
	if (!client->input)
		client->input = xmalloc(MUX_WINDOW_DEFAULT);
	/* The window granted is the buffer's size, so that this always fits. */
	memcpy(client->input + client->input_size, data, size);
	client->input_size += size;
	pump_input(client);
}

void relay_client_eof(struct client *client)
{
	client->input_eof = true;
	pump_input(client);
}

void relay_client_writable(struct client *client)
{
	pump_output(client);
}

/* Nobody reads the output of an attached command any more (head(1) has seen enough): its process
 * gets SIGPIPE as it would without hull between. */
void relay_client_reset(struct client *client, uint32_t stream)
{
	unsigned i = stream - CTL_STREAM_STDOUT;

	if (stream != CTL_STREAM_STDOUT && stream != CTL_STREAM_STDERR)
		return;
	client->out[i].unwanted = true;
	client->out[i].size = 0;
	if (client->process && client->owner && client->shim->guest)
		mux_send_reset(client->shim->guest,
			       guest_stream(client->process, i + MSG_STREAM_STDOUT));
	pump_output(client);
}

/* --- life --- */

void relay_expect(struct client *client, uint32_t flags)
{
	mux_open(client->mux, CTL_STREAM_STDIN, flags & CTL_ATTACH_INPUT ? MUX_WINDOW_DEFAULT : 0);
	mux_open(client->mux, CTL_STREAM_STDOUT, 0);
	mux_open(client->mux, CTL_STREAM_STDERR, 0);
}

void relay_attach(struct process *process, struct client *client, uint32_t flags, bool owner)
{
	client->process = process;
	client->flags = flags;
	client->owner = owner;
	relay_expect(client, flags);
	if (process->started)
		server_send(client, CTL_STARTED, NULL);
}

void relay_detach(struct client *client)
{
	struct process *process = client->process;

	client->process = NULL;
	client->out[0].size = client->out[1].size = 0;
	if (!process)
		return;
	settle(process, 0);
	settle(process, 1);
	/* The container's own process can be attached to again, and waits for that. */
	if (client->owner && process->id != MSG_PROCESS_MAIN) {
		process->kept = client->detaches;
		abandon(process);
	}
}

void relay_started(struct shim *shim, uint32_t id)
{
	struct process *process = relay_find(shim, id);

	if (!process || process->started)
		return;
	process->started = true;
	for (struct client *client = shim->clients; client; client = client->next) {
		if (client->process != process || client->dead)
			continue;
		if (!client->copies)
			client->due_ms = 0;
		server_send(client, CTL_STARTED, NULL);
	}
	pump_inputs(process);
	if (process->given_up)
		relay_kill(shim, id);
	else if (process->abandoned)
		abandon(process);
}

bool relay_is_starting(const struct client *client)
{
	return client->process && client->owner && !client->process->started;
}

void relay_give_up(struct client *client)
{
	client->process->given_up = true;
	/* Behind the order to start it, where a guest that wakes up finds both at once. */
	relay_kill(client->shim, client->process->id);
}

void relay_kill(struct shim *shim, uint32_t id)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_signal_encode(
		&(struct msg_signal){ .process = id, .signal = SIGKILL, .whole_group = true },
		&out);
	mux_send_control(shim->guest, MSG_SIGNAL, out.text, out.length);
}

static void report_exit(struct process *process, const struct ctl_exited *exited)
{
	for (struct client *client = process->shim->clients; client; client = client->next) {
		if (client->process != process || client->dead)
			continue;
		client->process = NULL;
		client->exited = *exited;
		client->exit_due = true;
		pump_output(client);
	}
}

void relay_exited(struct shim *shim, uint32_t id, uint32_t status, bool oom_killed)
{
	struct process *process = relay_find(shim, id);

	if (!process || !process->started || id == MSG_PROCESS_MAIN)
		return;
	report_exit(process, &(struct ctl_exited){ status, oom_killed });
	process_remove(process);
}

void relay_report_main(struct shim *shim)
{
	struct process *process = relay_find(shim, MSG_PROCESS_MAIN);

	if (process)
		report_exit(process, &(struct ctl_exited){ shim->main_status, shim->oom_killed });
}

void relay_failed(struct shim *shim, uint32_t id, const struct failure *failure)
{
	struct process *process = relay_find(shim, id);

	if (!process)
		return;
	for (struct client *client = shim->clients; client; client = client->next) {
		if (client->process != process || client->dead)
			continue;
		client->process = NULL;
		server_send_error(client, failure->code, failure->status, failure->message);
		server_drop(client);
	}
	process_remove(process);
}

uint32_t relay_process_id(const struct process *process)
{
	return process->id;
}
