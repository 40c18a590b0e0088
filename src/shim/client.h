/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to a shim: single requests, and this process's stdio joined to a process of the
 * container. */
#ifndef SHIM_CLIENT_H
#define SHIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "proto/copy.h"
#include "proto/msg.h"
#include "proto/top.h"
#include "shim/ctl.h"

/* A connection to the shim of the container; the caller's. -ENOENT or -ECONNREFUSED: there is none.
 */
int client_connect(const char *root, const char *uuid, struct err *err);

struct client_reply {
	uint16_t type; /* CTL_OK, CTL_EXITED, CTL_STATS_REPLY or CTL_SAVED */
	struct ctl_exited exited;
	struct msg_stats stats;
	struct ctl_saved saved;
	uint8_t *top; /* of CTL_TOP_REPLY: a packed msg_top, the caller's */
	size_t top_size;
};
/* Sends one request over fd (taken) and waits for its answer, as long as it takes. An error that
 * the shim reports is returned as such; -EPIPE when the shim went away. */
int client_request(int fd, uint16_t type, const struct sbuf *payload,
		   struct client_reply *ret_reply, struct err *err);

/* Sends a request over fd (taken) and does not wait for its answer. 0 or negative errno. */
int client_tell(int fd, uint16_t type, const struct sbuf *payload);

struct attach_options {
	bool input;              /* our stdin goes to the process */
	bool output;             /* its output comes to our stdout and stderr */
	bool terminal;           /* it has a terminal: ours becomes raw and its size follows ours */
	bool signals;            /* those sent to us are forwarded */
	bool until_started;      /* return as soon as the process runs */
	const char *detach_keys; /* "ctrl-p,ctrl-q" (NULL); "" none */
	/* It runs; before any of its output. NULL: nobody wants to know. */
	void (*started)(void *ctx);
	void *started_ctx;
	const int *fds; /* three, instead of our stdio; borrowed (NULL: stdio) */
	void (*moved)(void *ctx, size_t bytes); /* told of what went in or came out; or NULL */
	void *ctx;
};

struct attach_result {
	bool started;
	bool detached;
	uint32_t status; /* of the process; or, with an error, what a command is to report */
	bool oom_killed;
	bool output_broken; /* what it wrote could not be passed on */
};

/* Sends the request (type 0: none, the connection is attached already) over fd (taken) and stays
 * joined until the process ends. The terminal is put back on every way out. */
int client_attach(int fd, uint16_t type, const struct sbuf *payload,
		  const struct attach_options *options, struct attach_result *ret_result,
		  struct err *err);

/* The window of our terminal: of stdout or stdin; zeros if neither is one. */
void client_window_size(uint32_t *ret_rows, uint32_t *ret_columns);

#endif
