/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/qmp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

struct qmp {
	int fd; /* owned */
	int64_t last_id;
	struct sbuf input;            /* bytes of lines not yet handled */
	size_t scanned;               /* of input, without a line end in them */
	VEC(struct qmp_event) events; /* oldest first */
	int64_t waited_id;            /* the reply being waited for; 0 none */
	json_t *reply;                /* owned; the reply to waited_id once it is there */
};

struct qmp *qmp_new(int fd)
{
	struct qmp *qmp = xcalloc(1, sizeof(*qmp));

	qmp->fd = fd;
	/* A failure shows at the first wait. */
	qmp_send(qmp, "qmp_capabilities", NULL, NULL);
	return qmp;
}

struct qmp *qmp_free(struct qmp *qmp)
{
	if (!qmp)
		return NULL;
	VEC_EACH (&qmp->events, event)
		qmp_event_release(event);
	VEC_FREE(&qmp->events);
	json_decref(qmp->reply);
	sbuf_release(&qmp->input);
	close(qmp->fd);
	free(qmp);
	return NULL;
}

int qmp_fd(const struct qmp *qmp)
{
	return qmp->fd;
}

void qmp_event_release(struct qmp_event *event)
{
	free(event->name);
	json_decref(event->data);
	*event = (struct qmp_event){ 0 };
}

int64_t qmp_send(struct qmp *qmp, const char *command, json_t *arguments, struct err *err)
{
	AUTO_JSON json_t *message = json_object();
	AUTO_FREE char *text = NULL;
	const char *p;
	size_t left;

	json_object_set_new(message, "execute", json_string(command));
	json_object_set_new(message, "id", json_integer(++qmp->last_id));
	if (arguments)
		json_object_set_new(message, "arguments", arguments);
	text = json_text(message);
	p = text;
	left = strlen(text);
	while (left > 0) {
		ssize_t n = send(qmp->fd, p, left, MSG_NOSIGNAL | MSG_DONTWAIT);

		/* Commands are few and small: a full socket means an emulator that does not read.
		 */
		if (n < 0 && errno != EINTR)
			return err_set(err, errno == EAGAIN ? -ETIMEDOUT : -EPIPE,
				       "cannot send '%s' to the emulator: %m", command);
		if (n > 0) {
			p += n;
			left -= (size_t)n;
		}
	}
	return qmp->last_id;
}

static void handle_event(struct qmp *qmp, const char *name, const json_t *message)
{
	struct qmp_event event;

	if (qmp->events.count >= QMP_EVENTS_MAX)
		return;
	event = (struct qmp_event){ .name = xstrdup(name),
				    .data = json_incref(json_get_object(message, "data")) };
	VEC_PUSH(&qmp->events, event);
}

static int handle_line(struct qmp *qmp, const char *line, size_t size, struct err *err)
{
	AUTO_JSON json_t *message = NULL;
	const char *event;
	int r;

	r = json_parse(line, size, "the emulator's answer", &message, err);
	if (r < 0)
		return err ? (err->code = -EPROTO) : -EPROTO;
	event = json_get_string(message, "event");
	if (event)
		handle_event(qmp, event, message);
	if (event || json_object_get(message, "QMP"))
		return 0;
	if (!json_object_get(message, "return") && !json_get_object(message, "error"))
		return err_set(err, -EPROTO, "the emulator's answer is not QMP");
	if (qmp->waited_id && json_get_int(message, "id", 0) == qmp->waited_id && !qmp->reply)
		qmp->reply = TAKE_PTR(message);
	return 0;
}

static int handle_input(struct qmp *qmp, struct err *err)
{
	size_t start = 0;
	int r = 0;

	while (r == 0) {
		const char *text = qmp->input.text + start;
		size_t skip = qmp->scanned > start ? qmp->scanned - start : 0;
		size_t left = qmp->input.length - start;
		const char *end = left > skip ? memchr(text + skip, '\n', left - skip) : NULL;

		if (!end)
			break;
		r = handle_line(qmp, text, (size_t)(end - text), err);
		start += (size_t)(end - text) + 1;
	}
	qmp->input.length -= start;
	memmove(qmp->input.text, qmp->input.text + start, qmp->input.length);
	qmp->scanned = qmp->input.length;
	if (r == 0 && qmp->input.length > QMP_LINE_MAX)
		return err_set(err, -EPROTO, "the emulator's answer is longer than %d bytes",
			       QMP_LINE_MAX);
	return r;
}

int qmp_receive(struct qmp *qmp, struct err *err)
{
	char chunk[16384];
	ssize_t n;
	int r;

	for (;;) {
		n = recv(qmp->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return err_set(err, -EPIPE, "the emulator has ended");
		sbuf_add_bytes(&qmp->input, chunk, (size_t)n);
		r = handle_input(qmp, err);
		if (r < 0)
			return r;
	}
}

/* Waits until something can be read, and reads it. What arrived before an end is kept. */
static int receive_until(struct qmp *qmp, uint64_t deadline_ms, struct err *err)
{
	uint64_t now = clock_monotonic_ms();
	int r;

	r = fd_wait(qmp->fd, POLLIN, now < deadline_ms ? (int)(deadline_ms - now) : 0);
	if (r == 0)
		return err_set(err, -ETIMEDOUT, "the emulator does not answer");
	if (r < 0)
		return err_set(err, r, "cannot wait for the emulator: %m");
	return qmp_receive(qmp, err);
}

int qmp_wait(struct qmp *qmp, int64_t id, uint64_t deadline_ms, json_t **ret_value, struct err *err)
{
	AUTO_JSON json_t *reply = NULL;
	const json_t *error;
	int r = 0;

	qmp->waited_id = id;
	while (r == 0 && !qmp->reply)
		r = receive_until(qmp, deadline_ms, err);
	reply = TAKE_PTR(qmp->reply);
	qmp->waited_id = 0;
	if (!reply)
		return r;
	error = json_get_object(reply, "error");
	if (error)
		return err_set(err, -EREMOTEIO, "the emulator refuses: %s",
			       str_or(json_get_string(error, "desc"), "unknown error"));
	if (ret_value)
		*ret_value = json_incref(json_object_get(reply, "return"));
	return 0;
}

int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, uint64_t deadline_ms,
		json_t **ret_value, struct err *err)
{
	int64_t id = qmp_send(qmp, command, arguments, err);
	int r;

	if (id < 0)
		return (int)id;
	r = qmp_wait(qmp, id, deadline_ms, ret_value, err);
	if (r < 0)
		err_context(err, "%s", command);
	return r;
}

int qmp_take_event(struct qmp *qmp, struct qmp_event *ret_event)
{
	if (qmp->events.count == 0)
		return 0;
	*ret_event = qmp->events.items[0];
	VEC_REMOVE(&qmp->events, 0);
	return 1;
}

int qmp_wait_event(struct qmp *qmp, uint64_t deadline_ms, struct qmp_event *ret_event,
		   struct err *err)
{
	int r = 0;

	while (!qmp_take_event(qmp, ret_event)) {
		if (r < 0)
			return r;
		r = receive_until(qmp, deadline_ms, err);
	}
	return 0;
}
