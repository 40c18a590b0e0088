/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of the container as hull-init sees it: its streams on the channel, its descriptors, its
 * end.
 *
 * Flow. Output is read only when the stream has credit, so that a slow reader stops the writer and
 * nothing is kept here. Input is kept until the process takes it, at most the stream's window. A
 * process is over when it has been reaped and its outputs have been read to their end, or to where
 * there is no more now (a grandchild may keep a pipe open); MSG_EXITED follows the last byte.
 */
#ifndef GUEST_PROCESS_H
#define GUEST_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"
#include "proto/msg.h"
#include "proto/mux.h"

struct process;

/* What processes need of their owner; lives longer than they do. */
struct process_owner {
	struct loop *loop; /* borrowed */
	struct mux *mux;   /* borrowed */
	void *ctx;
	/* It executes its program: MSG_STARTED is about to be sent. */
	void (*started)(void *ctx, const struct process *process);
	/* MSG_EXITED or MSG_FAILED was sent; the owner forgets it and calls process_free. */
	void (*over)(void *ctx, struct process *process);
	bool (*oom_killed)(void *ctx);
};

/* Opens streams, pipes or terminal. child_stdio: the child's three ends, for the caller to close.
 */
int process_new(const struct process_owner *owner, const struct msg_process *message, int pts_fd,
		int child_stdio[3], struct process **ret_process, struct err *err);
struct process *process_free(struct process *process);

/* The child exists; report_fd (taken) yields a struct become_failure or the end. */
void process_started(struct process *process, pid_t pid, int report_fd);
/* It has been reaped; status as of waitpid. May call `over`. */
void process_reaped(struct process *process, int wait_status);
/* Says MSG_EXITED now, whatever its streams still hold: for the shutdown. Calls `over`. */
void process_finish(struct process *process);

/* It is a copy (guest/copy.h), outside of the container: ends with it. freezes: the container's
 * processes stand still for it. */
void process_set_copy(struct process *process, bool freezes);
bool process_is_copy(const struct process *process);
bool process_freezes(const struct process *process);

/* Whether MSG_STARTED was sent. */
bool process_is_started(const struct process *process);
uint32_t process_id(const struct process *process);
pid_t process_pid(const struct process *process); /* 0 once it has been reaped */
int process_signal(const struct process *process, const struct msg_signal *message);
int process_resize(const struct process *process, const struct msg_resize *message);

/* From the channel. */
void process_input(struct process *process, const uint8_t *data, size_t size);
void process_input_eof(struct process *process);
void process_output_reset(struct process *process, uint32_t stream);
void process_output_writable(struct process *process, uint32_t stream);

/* After the machine was brought back and the channel restarted. The process has its streams again,
 * from where it was. */
int process_rejoin(struct process *process);
/* Whoever asked for it is not here: what it writes is thrown away and its input ends (a terminal
 * hangs up), nothing is said of it, and its id is free. */
void process_orphan(struct process *process);

#endif
