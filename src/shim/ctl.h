/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a shim: the same channel as between host and guest (proto/mux.h) on a Unix
 * socket, one request per connection. Specified in docs/PROTOCOL.md.
 *
 * A client sends one request; the shim answers CTL_OK or CTL_ERROR, or, for attach and exec,
 * CTL_STARTED, the streams' frames and at last CTL_EXITED. While a process is attached the client
 * may send CTL_SIGNAL and CTL_RESIZE. The connection that a shim inherits from the command that
 * started it is attached to the main process without asking, as its launch says.
 */
#ifndef SHIM_CTL_H
#define SHIM_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "store/config.h"

enum ctl_type {
	/* requests */
	CTL_ATTACH = 64, /* two u32: flags (enum ctl_attach), 0 */
	CTL_EXEC = 65,   /* a packed msg_process (its id is ignored) */
	CTL_STOP = 66,   /* two u32: signal (0: the configured one), timeout in ms */
	CTL_KILL = 67,   /* two u32: signal, 0 */
	CTL_WAIT = 68,   /* empty; answered by CTL_EXITED */
	CTL_STATS = 69,  /* empty; answered by CTL_STATS_REPLY */
	CTL_PAUSE = 70,  /* two u32: 1 pause or 0 go on, 0 */
	CTL_TOP = 72,    /* empty; answered by CTL_TOP_REPLY */
	CTL_UPDATE = 71, /* u32 CPUs, u64 memory in bytes, u64 processes, string restart policy; 0
			  * or "": as it is */
	CTL_COPY = 120,  /* a packed msg_copy (its id is ignored); answered as CTL_EXEC is */
	CTL_COPY_END = 121, /* empty; CTL_OK when the machine that only copies files has ended */
	CTL_BULK = 122, /* empty; before CTL_COPY: a lane (proto/bulk.h) for it; CTL_BULK_REPLY */
	CTL_SUSPEND = 130, /* empty; answered by CTL_OK when the machine is saved and gone */
	CTL_SAVE = 131,    /* string: the name (LAUNCH_COPY_PREFIX …) of a directory, made in the
			    * container's, for a copy of machine and disks; answered by CTL_SAVED */
	CTL_CONNECT = 100, /* string: a network that the container is to join */
	CTL_DISCONNECT = 101, /* string: a network that it is to leave */
	CTL_RENAME = 102,     /* string: what the container is called now */
	/* while attached */
	CTL_SIGNAL = 80,  /* two u32: signal, 0 */
	CTL_RESIZE = 81,  /* two u32: rows, columns */
	CTL_DETACH = 103, /* empty: it is left running, and keeps its terminal */
	/* answers */
	CTL_OK = 90,
	CTL_ERROR = 91,       /* u32 errno, u32 exit status (125-127), string message */
	CTL_STARTED = 92,     /* empty */
	CTL_EXITED = 93,      /* u32 status, u8 killed for memory */
	CTL_TOP_REPLY = 95,   /* a packed msg_top */
	CTL_STATS_REPLY = 94, /* a packed msg_stats */
	CTL_BULK_REPLY = 123, /* two u32: the lane, counted from 1, 0; 0: none is free. With a lane
			       * comes the descriptor of the memory that it is in (SCM_RIGHTS) */
	CTL_SAVED = 135, /* u64 µs without a process running, u64 µs with the machine stopped,
			  * u64 pages of memory that had changed since it was started */
};

enum ctl_attach {
	CTL_ATTACH_INPUT = 1 << 0,
	CTL_ATTACH_OUTPUT = 1 << 1,
};

enum ctl_stream {
	CTL_STREAM_STDIN = 1,
	CTL_STREAM_STDOUT = 2,
	CTL_STREAM_STDERR = 3,
};

struct ctl_error {
	int code;            /* negative errno */
	uint32_t status;     /* what run and exec report: 125, 126, 127 */
	const char *message; /* borrowed from the frame */
};
void ctl_error_encode(const struct ctl_error *error, struct sbuf *out);
int ctl_error_decode(const uint8_t *data, size_t size, struct ctl_error *ret_error);

struct ctl_exited {
	uint32_t status;
	bool oom_killed;
};
void ctl_exited_encode(const struct ctl_exited *exited, struct sbuf *out);
int ctl_exited_decode(const uint8_t *data, size_t size, struct ctl_exited *ret_exited);

struct ctl_saved {
	uint64_t frozen_us, stopped_us, changed_pages;
};
void ctl_saved_encode(const struct ctl_saved *saved, struct sbuf *out);
int ctl_saved_decode(const uint8_t *data, size_t size, struct ctl_saved *ret_saved);

void ctl_string_encode(const char *text, struct sbuf *out);
/* *ret_text is borrowed from data. */
int ctl_string_decode(const uint8_t *data, size_t size, const char **ret_text);

/* Two u32, for all messages of numbers. */
void ctl_numbers_encode(uint32_t first, uint32_t second, struct sbuf *out);
int ctl_numbers_decode(const uint8_t *data, size_t size, uint32_t *ret_first, uint32_t *ret_second);

void ctl_update_encode(const struct config_limits *limits, struct sbuf *out);
/* The restart policy is borrowed from data; "" for none. */
int ctl_update_decode(const uint8_t *data, size_t size, struct config_limits *ret_limits);

#endif
