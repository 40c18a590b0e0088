/* SPDX-License-Identifier: Apache-2.0 */
/* This process's stdio, terminal and signals joined to a process of a container. */
#include "shim/client.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "proto/mux.h"
#include "shim/terminal.h"

#define INPUT_CHUNK 65536
#define SIGNALS_TO_GIVE_UP 3 /* INT or TERM */

struct attachment {
	struct loop *loop; /* borrowed */
	struct mux *mux;   /* borrowed */
	const struct attach_options *options;
	struct attach_result result;
	struct err *err;
	int code; /* the call's result */
	bool done;
	unsigned asked_to_end; /* signals so far */
	const int *fds;        /* borrowed */

	struct loop_source *input_source;
	bool input_started;
	bool input_is_file; /* always readable, not for epoll */
	bool input_ended;
	struct detach_keys keys;
	char held[INPUT_CHUNK + 16]; /* read but not yet taken by the channel */
	size_t held_start, held_size;
};

static void finish(struct attachment *a, int code)
{
	if (a->done)
		return;
	a->done = true;
	a->code = code;
	loop_quit(a->loop, 0);
}

/* The process goes on, terminal and all. */
static void leave(struct attachment *a)
{
	mux_send_control(a->mux, CTL_DETACH, NULL, 0);
	finish(a, 0);
}

static void send_numbers(struct attachment *a, uint16_t type, uint32_t first, uint32_t second)
{
	AUTO_SBUF struct sbuf payload = { 0 };

	ctl_numbers_encode(first, second, &payload);
	mux_send_control(a->mux, type, payload.text, payload.length);
}

/* --- input --- */

/* Sends what is held; true when nothing is held any more. */
static bool flush_held(struct attachment *a)
{
	while (a->held_size) {
		ssize_t n =
			mux_send(a->mux, CTL_STREAM_STDIN, a->held + a->held_start, a->held_size);

		if (n < 0) { /* nobody wants it any more */
			a->held_size = 0;
			a->input_ended = true;
			break;
		}
		if (n == 0)
			return false;
		a->held_start += (size_t)n;
		a->held_size -= (size_t)n;
	}
	return true;
}

static void end_input(struct attachment *a)
{
	a->input_ended = true;
	a->input_source = loop_remove(a->input_source);
	mux_send_eof(a->mux, CTL_STREAM_STDIN);
}

/* Reads one chunk. False when there is nothing more to do now. */
static bool read_input(struct attachment *a)
{
	char chunk[INPUT_CHUNK];
	ssize_t n = read(a->fds[0], chunk, sizeof(chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_input(a);
		return false;
	}
	if (a->options->moved)
		a->options->moved(a->options->ctx, (size_t)n);
	a->held_start = 0;
	if (detach_keys_feed(&a->keys, chunk, (size_t)n, a->held, &a->held_size)) {
		a->result.detached = true;
		leave(a);
		return false;
	}
	return flush_held(a);
}

static void on_input(void *ctx, int fd, uint32_t events);

/* Not only without events: a hang-up would be told all the same, and what is held be lost to the
 * next read. */
static void watch_input(struct attachment *a, bool watch)
{
	if (a->input_is_file || a->input_ended || !watch)
		a->input_source = loop_remove(a->input_source);
	else if (!a->input_source)
		a->input_source = loop_add_fd(a->loop, a->fds[0], EPOLLIN, on_input, a);
}

static void pump_input(struct attachment *a)
{
	if (!a->options->input || a->input_ended || a->done)
		return;
	if (!flush_held(a)) {
		watch_input(a, false);
		return;
	}
	watch_input(a, true);
	while (a->input_is_file && !a->input_ended && read_input(a))
		;
}

static void on_input(void *ctx, int fd, uint32_t events)
{
	struct attachment *a = ctx;

	if (!read_input(a) && a->held_size)
		watch_input(a, false);
}

static void start_input(struct attachment *a)
{
	struct stat st;

	if (!a->options->input || a->input_started || a->input_ended)
		return;
	a->input_started = true;
	if (fstat(a->fds[0], &st) < 0) {
		end_input(a);
		return;
	}
	/* Regular files and /dev/null are always ready and refused by epoll. */
	a->input_is_file = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ||
			   (S_ISCHR(st.st_mode) && !isatty(a->fds[0]));
	pump_input(a);
}

/* --- from the shim --- */

static int on_control(void *ctx, uint16_t type, const uint8_t *data, size_t size)
{
	struct attachment *a = ctx;
	struct ctl_error error;
	struct ctl_exited exited;

	switch (type) {
	case CTL_STARTED:
		log_timeline("hull: process started");
		a->result.started = true;
		if (a->options->started)
			a->options->started(a->options->started_ctx);
		if (a->options->until_started)
			leave(a);
		else
			start_input(a);
		return 0;
	case CTL_EXITED:
		if (ctl_exited_decode(data, size, &exited) < 0)
			return -EPROTO;
		a->result.status = exited.status;
		a->result.oom_killed = exited.oom_killed;
		finish(a, 0);
		return 0;
	case CTL_ERROR:
		if (ctl_error_decode(data, size, &error) < 0)
			return -EPROTO;
		a->result.status = error.status;
		finish(a, err_set(a->err, error.code, "%s", error.message));
		return 0;
	default:
		return -EPROTO;
	}
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct attachment *a = ctx;
	int fd = a->fds[stream == CTL_STREAM_STDERR ? 2 : 1];

	if (stream == CTL_STREAM_STDIN)
		return;
	if (a->options->output && fd_write_all(fd, data, size) < 0) {
		a->result.output_broken |= stream == CTL_STREAM_STDOUT;
		mux_send_reset(a->mux, stream);
	} else if (a->options->moved) {
		a->options->moved(a->options->ctx, size);
	}
	mux_consumed(a->mux, stream, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
}

static void on_reset(void *ctx, uint32_t stream)
{
	struct attachment *a = ctx;

	if (stream != CTL_STREAM_STDIN)
		return;
	a->input_ended = true;
	a->input_source = loop_remove(a->input_source);
}

static void on_writable(void *ctx, uint32_t stream)
{
	struct attachment *a = ctx;

	if (stream == CTL_STREAM_STDIN && a->input_started)
		pump_input(a);
}

static void on_closed(void *ctx, int error)
{
	struct attachment *a = ctx;

	if (a->done)
		return;
	a->result.status = 125;
	finish(a, err_set(a->err, -EPIPE, "the container's supervisor went away"));
}

/* --- signals --- */

static const int forwarded[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
				 SIGUSR2, SIGCONT, SIGALRM, SIGURG };

/* A process that does not end, or a machine that does not answer, must not hold the terminal. */
static void on_signal(void *ctx, int signal, int32_t sender)
{
	struct attachment *a = ctx;

	send_numbers(a, CTL_SIGNAL, (uint32_t)signal, 0);
	if ((signal != SIGINT && signal != SIGTERM) || ++a->asked_to_end < SIGNALS_TO_GIVE_UP)
		return;
	a->result.status = 128 + (uint32_t)signal;
	finish(a, err_set(a->err, -EINTR, "it does not end; left after %d signals",
			  SIGNALS_TO_GIVE_UP));
}

static void on_resize(void *ctx, int signal, int32_t sender)
{
	uint32_t rows;
	uint32_t columns;

	client_window_size(&rows, &columns);
	send_numbers(ctx, CTL_RESIZE, rows, columns);
}

static void take_signals(struct attachment *a)
{
	if (a->options->signals)
		for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
			loop_add_signal(a->loop, forwarded[i], on_signal, a);
	if (a->options->terminal)
		loop_add_signal(a->loop, SIGWINCH, on_resize, a);
	signal(SIGPIPE, SIG_IGN);
}

/* Signals are delivered as before once the loop and its signalfds are gone. */
static void give_back_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static const struct mux_ops attach_ops = {
	.control = on_control,
	.data = on_data,
	.eof = on_eof,
	.reset = on_reset,
	.writable = on_writable,
	.closed = on_closed,
};

int client_attach(int fd, uint16_t type, const struct sbuf *payload,
		  const struct attach_options *options, struct attach_result *ret_result,
		  struct err *err)
{
	static const int stdio[3] = { 0, 1, 2 };
	CLEANUP(loop_freep) struct loop *loop = loop_new();
	struct attachment a = { .loop = loop,
				.options = options,
				.err = err,
				.fds = options->fds ? options->fds : stdio };
	CLEANUP(mux_freep) struct mux *mux = mux_new(loop, fd, false, &attach_ops, &a);
	int r = detach_keys_parse(options->terminal ? options->detach_keys : "", &a.keys, err);

	if (r < 0)
		return r;
	a.mux = mux;
	mux_open(mux, CTL_STREAM_STDIN, 0);
	mux_open(mux, CTL_STREAM_STDOUT, MUX_WINDOW_DEFAULT);
	mux_open(mux, CTL_STREAM_STDERR, MUX_WINDOW_DEFAULT);
	take_signals(&a);
	if (type) {
		r = mux_send_control(mux, type, payload ? payload->text : NULL,
				     payload ? payload->length : 0);
		if (r < 0)
			return err_set(err, r, "cannot talk to the container's supervisor: %m");
	}
	if (options->terminal && options->input)
		terminal_raw();
	r = loop_run(loop);
	mux_flush(mux, 100);
	terminal_restore();
	loop_remove(a.input_source);
	give_back_signals();
	*ret_result = a.result;
	if (r < 0)
		return err_set(err, r, "cannot wait for the container: %m");
	return a.code;
}
