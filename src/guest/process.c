/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/become.h"
#include "proto/frame.h"

#define INPUT_WINDOW (128 * 1024)
/* Reads of one output in a row, before others have their turn. */
#define READS_PER_TURN 8
#define ORPHAN 0 /* the id of a process that nobody on the host knows */

struct output {
	struct process *process;    /* borrowed: what it is part of */
	struct loop_source *source; /* NULL while there is no credit */
	uint32_t stream;
	int fd; /* owned; -1 when it has ended */
};

struct process {
	const struct process_owner *owner; /* borrowed */
	uint32_t id;
	uint32_t flags;
	pid_t pid;
	int status;
	bool started; /* MSG_STARTED was sent */
	bool is_copy, freezes;
	bool reaped;
	struct loop_source *report;
	int report_fd; /* owned */
	struct output outputs[2];
	int input_fd;              /* owned */
	struct loop_source *input; /* while the process does not take what is there */
	struct sbuf input_data;    /* not yet taken; from input_offset on */
	size_t input_offset;
	bool input_ended;
};

static void output_ready(void *ctx, int fd, uint32_t events);

static int open_pipe(int *ret_ours, int *ret_childs, bool we_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	*ret_ours = fds[we_write ? 1 : 0];
	*ret_childs = fds[we_write ? 0 : 1];
	fd_set_nonblock(*ret_ours, true);
	return 0;
}

static int open_pipes(struct process *process, int child_stdio[3], struct err *err)
{
	int r = 0;

	if (process->flags & MSG_PROCESS_STDIN)
		r = open_pipe(&process->input_fd, &child_stdio[0], true, err);
	else
		child_stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (r == 0)
		r = open_pipe(&process->outputs[0].fd, &child_stdio[1], false, err);
	if (r == 0)
		r = open_pipe(&process->outputs[1].fd, &child_stdio[2], false, err);
	return r;
}

static int open_terminal(struct process *process, const struct msg_process *message, int pts_fd,
			 int child_stdio[3], struct err *err)
{
	struct winsize size = { .ws_row = message->rows, .ws_col = message->columns };
	int master = openat(pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	int unlock = 0;

	process->outputs[0].fd = master;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_set(err, -errno, "cannot make a terminal: %m");
	for (int i = 0; i < 3; i++) {
		child_stdio[i] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (child_stdio[i] < 0)
			return err_set(err, -errno, "cannot open the terminal: %m");
	}
	/* A descriptor of its own: the loop watches both directions apart. */
	process->input_fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
	return 0;
}

static void watch_output(struct output *output)
{
	if (!output->source && output->fd >= 0)
		output->source = loop_add_fd(output->process->owner->loop, output->fd, EPOLLIN,
					     output_ready, output);
}

static int open_streams(struct process *process, struct err *err)
{
	struct mux *mux = process->owner->mux;
	int r = mux_open(mux, MSG_STREAM(process->id, MSG_STREAM_STDIN),
			 process->flags & MSG_PROCESS_STDIN ? INPUT_WINDOW : 0);

	for (size_t i = 0; i < 2 && r == 0; i++)
		r = mux_open(mux, process->outputs[i].stream, 0);
	return r < 0 ? err_set(err, r, "cannot open the streams of process %u: %m", process->id)
		     : 0;
}

int process_new(const struct process_owner *owner, const struct msg_process *message, int pts_fd,
		int child_stdio[3], struct process **ret_process, struct err *err)
{
	struct process *process = xcalloc(1, sizeof(*process));
	bool tty = message->flags & MSG_PROCESS_TTY;
	int r;

	*process = (struct process){ .owner = owner,
				     .id = message->id,
				     .flags = message->flags,
				     .report_fd = -1,
				     .input_fd = -1 };
	for (size_t i = 0; i < 2; i++)
		process->outputs[i] = (struct output){
			.process = process,
			.fd = -1,
			.stream = MSG_STREAM(message->id, MSG_STREAM_STDOUT + (uint32_t)i),
		};
	r = open_streams(process, err);
	if (r == 0)
		r = tty ? open_terminal(process, message, pts_fd, child_stdio, err)
			: open_pipes(process, child_stdio, err);
	if (r < 0) {
		process_free(process);
		return r;
	}
	*ret_process = process;
	return 0;
}

static void close_output(struct output *output)
{
	output->source = loop_remove(output->source);
	if (output->fd >= 0)
		close(TAKE_FD(output->fd));
}

static void close_input(struct process *process)
{
	process->input = loop_remove(process->input);
	if (process->input_fd >= 0)
		close(TAKE_FD(process->input_fd));
	sbuf_release(&process->input_data);
	process->input_offset = 0;
}

struct process *process_free(struct process *process)
{
	if (!process)
		return NULL;
	for (uint32_t which = MSG_STREAM_STDIN; which <= MSG_STREAM_STDERR; which++)
		mux_close(process->owner->mux, MSG_STREAM(process->id, which));
	for (size_t i = 0; i < 2; i++)
		close_output(&process->outputs[i]);
	close_input(process);
	loop_remove(process->report);
	if (process->report_fd >= 0)
		close(process->report_fd);
	free(process);
	return NULL;
}

/* Reads what the child said. Returns whether it failed, in which case the host has been told. */
static bool take_report(struct process *process)
{
	struct mux *mux = process->owner->mux;
	struct become_failure failure = { 0 };
	struct msg_started started = { .process = process->id, .pid = (uint32_t)process->pid };
	AUTO_SBUF struct sbuf bytes = { 0 };
	bool failed = fd_read_exact(process->report_fd, &failure, sizeof(failure)) == 0;

	process->report = loop_remove(process->report);
	close(TAKE_FD(process->report_fd));
	if (process->id == ORPHAN) {
		process->started = !failed;
		return failed;
	}
	if (failed) {
		failure.message[sizeof(failure.message) - 1] = '\0';
		struct msg_failed message = { process->id, failure.status, failure.message };

		msg_failed_encode(&message, &bytes);
		mux_send_control(mux, MSG_FAILED, bytes.text, bytes.length);
		return true;
	}
	process->started = true;
	process->owner->started(process->owner->ctx, process);
	msg_started_encode(&started, &bytes);
	mux_send_control(mux, MSG_STARTED, bytes.text, bytes.length);
	return false;
}

static void report_ready(void *ctx, int fd, uint32_t events)
{
	struct process *process = ctx;

	(void)fd;
	(void)events;
	/* A failed child is about to end: its reaping forgets it. */
	if (take_report(process))
		for (size_t i = 0; i < 2; i++)
			close_output(&process->outputs[i]);
}

void process_started(struct process *process, pid_t pid, int report_fd)
{
	process->pid = pid;
	process->report_fd = report_fd;
	process->report =
		loop_add_fd(process->owner->loop, report_fd, EPOLLIN, report_ready, process);
	for (size_t i = 0; i < 2; i++)
		watch_output(&process->outputs[i]);
}

void process_finish(struct process *process)
{
	const struct process_owner *owner = process->owner;
	int status = process->status;
	struct msg_exited message = {
		.process = process->id,
		.status = WIFSIGNALED(status) ? 128u + (unsigned)WTERMSIG(status)
					      : (unsigned)WEXITSTATUS(status),
		.oom_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
			      owner->oom_killed(owner->ctx),
	};
	AUTO_SBUF struct sbuf bytes = { 0 };

	if (process->started && process->id != ORPHAN) {
		msg_exited_encode(&message, &bytes);
		mux_send_control(owner->mux, MSG_EXITED, bytes.text, bytes.length);
	}
	owner->over(owner->ctx, process);
}

/* Says the end of an output. */
static void end_output(struct output *output)
{
	if (output->process->id != ORPHAN)
		mux_send_eof(output->process->owner->mux, output->stream);
	close_output(output);
}

/* Moves bytes from the process to its stream, as far as both go. */
static void pump_output(struct output *output)
{
	static uint8_t buffer[FRAME_DATA_MAX]; /* one thread */
	struct process *process = output->process;
	struct mux *mux = process->owner->mux;

	for (int i = 0; output->fd >= 0 && (i < READS_PER_TURN || process->reaped); i++) {
		size_t room =
			process->id == ORPHAN ? sizeof(buffer) : mux_send_room(mux, output->stream);
		ssize_t n;

		if (room == 0) {
			/* Not only no events: a hang-up would be reported all the same. */
			output->source = loop_remove(output->source);
			if (mux_send(mux, output->stream, "", 1) < 0) {
				close_output(output); /* nobody wants it */
			}
			return;
		}
		n = read(output->fd, buffer, room < sizeof(buffer) ? room : sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (process->reaped)
				end_output(output);
			return;
		}
		if (n <= 0) { /* a terminal whose last user went away gives EIO */
			end_output(output);
			return;
		}
		if (process->id != ORPHAN)
			mux_send(mux, output->stream, buffer, (size_t)n);
	}
}

static void finish_if_over(struct process *process)
{
	if (process->reaped && process->outputs[0].fd < 0 && process->outputs[1].fd < 0)
		process_finish(process);
}

static void output_ready(void *ctx, int fd, uint32_t events)
{
	struct output *output = ctx;

	(void)fd;
	(void)events;
	pump_output(output);
	finish_if_over(output->process);
}

void process_output_writable(struct process *process, uint32_t stream)
{
	struct output *output = &process->outputs[stream == process->outputs[1].stream];

	if (output->stream != stream || output->fd < 0)
		return;
	watch_output(output);
	if (process->reaped)
		pump_output(output);
	finish_if_over(process);
}

void process_output_reset(struct process *process, uint32_t stream)
{
	struct output *output = &process->outputs[stream == process->outputs[1].stream];

	if (output->stream != stream)
		return;
	close_output(
		output); /* the process learns it by SIGPIPE, or by the hang-up of its terminal */
	if (process->flags & MSG_PROCESS_TTY)
		close_input(process);
	finish_if_over(process);
}

void process_reaped(struct process *process, int wait_status)
{
	bool failed = process->report_fd >= 0 && take_report(process);

	process->status = wait_status;
	process->reaped = true;
	process->pid = 0;
	close_input(process);
	if (failed || !process->started) {
		process_finish(process);
		return;
	}
	for (size_t i = 0; i < 2; i++)
		pump_output(&process->outputs[i]);
	finish_if_over(process);
}

void process_set_copy(struct process *process, bool freezes)
{
	process->is_copy = true;
	process->freezes = freezes;
}

bool process_is_copy(const struct process *process)
{
	return process->is_copy;
}

bool process_freezes(const struct process *process)
{
	return process->freezes;
}

bool process_is_started(const struct process *process)
{
	return process->started;
}

uint32_t process_id(const struct process *process)
{
	return process->id;
}

pid_t process_pid(const struct process *process)
{
	return process->pid;
}

int process_signal(const struct process *process, const struct msg_signal *message)
{
	if (!process->pid)
		return -ESRCH;
	/* Each leads a session and a group of its own. */
	return kill(message->whole_group ? -process->pid : process->pid, (int)message->signal) < 0
		       ? -errno
		       : 0;
}

int process_resize(const struct process *process, const struct msg_resize *message)
{
	struct winsize size = { .ws_row = message->rows, .ws_col = message->columns };

	if (!(process->flags & MSG_PROCESS_TTY) || process->outputs[0].fd < 0)
		return -ENOTTY;
	return ioctl(process->outputs[0].fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static void input_ready(void *ctx, int fd, uint32_t events);

/* Gives the process what it takes; waits for it to take the rest. */
static void pump_input(struct process *process)
{
	struct mux *mux = process->owner->mux;
	uint32_t stream = MSG_STREAM(process->id, MSG_STREAM_STDIN);

	while (process->input_fd >= 0 && process->input_offset < process->input_data.length) {
		ssize_t n =
			write(process->input_fd, process->input_data.text + process->input_offset,
			      process->input_data.length - process->input_offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!process->input)
				process->input =
					loop_add_fd(process->owner->loop, process->input_fd,
						    EPOLLOUT, input_ready, process);
			return;
		}
		if (n < 0) {
			mux_send_reset(mux, stream); /* no stream, no frame: an orphan has none */
			close_input(process);
			return;
		}
		process->input_offset += (size_t)n;
		mux_consumed(mux, stream, (size_t)n);
	}
	process->input_data.length = 0;
	process->input_offset = 0;
	process->input = loop_remove(process->input);
	if (process->input_ended && !(process->flags & MSG_PROCESS_TTY))
		close_input(process);
}

static void input_ready(void *ctx, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	pump_input(ctx);
}

void process_input(struct process *process, const uint8_t *data, size_t size)
{
	struct sbuf *pending = &process->input_data;

	if (process->input_fd < 0) {
		mux_send_reset(process->owner->mux, MSG_STREAM(process->id, MSG_STREAM_STDIN));
		return;
	}
	if (process->input_offset) {
		pending->length -= process->input_offset;
		memmove(pending->text, pending->text + process->input_offset, pending->length);
		process->input_offset = 0;
	}
	sbuf_add_bytes(pending, data, size);
	if (!process->input)
		pump_input(process);
}

void process_input_eof(struct process *process)
{
	process->input_ended = true;
	if (!process->input)
		pump_input(process);
}

int process_rejoin(struct process *process)
{
	struct mux *mux = process->owner->mux;
	struct err err = { 0 };
	int r = open_streams(process, &err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < 2; i++)
		if (process->outputs[i].fd < 0)
			mux_send_eof(mux, process->outputs[i].stream);
		else
			pump_output(&process->outputs[i]); /* no credit yet: waits for it */
	if ((process->flags & MSG_PROCESS_STDIN) && process->input_fd < 0)
		mux_send_reset(mux, MSG_STREAM(process->id, MSG_STREAM_STDIN));
	return 0;
}

void process_orphan(struct process *process)
{
	process->id = ORPHAN;
	if (process->flags & MSG_PROCESS_TTY)
		for (size_t i = 0; i < 2; i++)
			close_output(&process->outputs[i]);
	process->input_ended = true;
	if (!process->input)
		close_input(process);
	for (size_t i = 0; i < 2; i++)
		watch_output(&process->outputs[i]);
}
