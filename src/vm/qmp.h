/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of QEMU's control protocol (QMP: one JSON object per line). Commands can be sent before
 * the greeting has come and back to back; replies are matched by id. Events that arrive meanwhile
 * are kept, in order, until they are asked for. The emulator is trusted only as far as its guest:
 * lines, queues and waits are bounded, and anything that is not QMP ends the connection (-EPROTO).
 */
#ifndef VM_QMP_H
#define VM_QMP_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

#define QMP_LINE_MAX (1 << 20)
#define QMP_EVENTS_MAX 64 /* later ones are dropped */

struct qmp;

struct qmp_event {
	char *name;   /* owned */
	json_t *data; /* owned; NULL if the event has none */
};

struct qmp *qmp_new(int fd); /* takes the connected socket; sends qmp_capabilities at once */
struct qmp *qmp_free(struct qmp *qmp);
static inline void qmp_freep(struct qmp **qmp)
{
	qmp_free(*qmp);
}
/* The socket, borrowed: readable when qmp_receive has something to do. */
int qmp_fd(const struct qmp *qmp);

/* Sends a command without waiting for its reply; takes arguments (NULL: none). The id, or errno. */
int64_t qmp_send(struct qmp *qmp, const char *command, json_t *arguments, struct err *err);
/* Waits for the reply to a command that was sent, until deadline_ms of CLOCK_MONOTONIC; replies to
 * earlier ones are dropped. *ret_value (may be NULL) is a new reference. -EREMOTEIO: the command
 * failed (message: QEMU's text), -ETIMEDOUT, -EPIPE: the emulator is gone, -EPROTO. */
int qmp_wait(struct qmp *qmp, int64_t id, uint64_t deadline_ms, json_t **ret_value,
	     struct err *err);
/* Both together. */
int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, uint64_t deadline_ms,
		json_t **ret_value, struct err *err);

/* Reads what is there without blocking. 0, -EPIPE or -EPROTO. */
int qmp_receive(struct qmp *qmp, struct err *err);
/* Takes the oldest event: 1, or 0 if there is none. */
int qmp_take_event(struct qmp *qmp, struct qmp_event *ret_event);
/* As qmp_take_event, but waits for one. 0, -ETIMEDOUT, -EPIPE or -EPROTO. */
int qmp_wait_event(struct qmp *qmp, uint64_t deadline_ms, struct qmp_event *ret_event,
		   struct err *err);
void qmp_event_release(struct qmp_event *event);
#define AUTO_QMP_EVENT CLEANUP(qmp_event_release)

#endif
