/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "shim/bulk_client.h"
#include "shim/client.h"

#define TOLD_MAX 65536 /* bytes of a guest's or a helper's lines */
#define WARNED_MAX (TOLD_MAX / 2)
#define QUIET_MS 1000 /* before progress is told at all */
#define TELL_MS 100

static int report_fd = -1; /* in a helper: where its lines go */

/* --- the guest's side --- */

struct meter {
	struct engine *engine;
	const char *what;
	uint64_t bytes, began_ms, told_ms;
	const uint64_t *pumped; /* borrowed; what goes past the channel; NULL: nothing does */
};

static void moved(void *ctx, size_t bytes)
{
	struct meter *meter = ctx;
	uint64_t now = clock_monotonic_ms();

	if (meter->pumped)
		meter->bytes = __atomic_load_n(meter->pumped, __ATOMIC_RELAXED);
	else
		meter->bytes += bytes;
	if (now - meter->began_ms < QUIET_MS || now - meter->told_ms < TELL_MS)
		return;
	meter->told_ms = now;
	meter->engine->ui.progress(meter->engine->ui.ctx, meter->what, "copying", meter->bytes, 0);
}

/* Where the lines of the guest's copy are kept: memory that does not grow, however much it says. */
static int open_notes(void)
{
	int fd = memfd_create("hull-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && (ftruncate(fd, TOLD_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Passes on warnings; a reason for failing becomes the error. */
static int take_lines(struct engine *engine, char *text, int code, struct err *err)
{
	AUTO_STRV char **lines = str_split(text, '\n', 0);
	int r = 0;

	STRV_EACH (lines, it) {
		char *line = *it;

		err_sanitize(line);
		if (line[0] == 'W')
			engine_warn(engine, "%s", line + 1);
		else if (line[0] == 'E' && r == 0)
			r = err_set(err, code, "%s", line + 1);
	}
	return r;
}

static int take_notes(struct engine *engine, int fd, const struct attach_result *result,
		      struct err *err)
{
	AUTO_FREE char *text = xcalloc(1, TOLD_MAX + 1);
	int r;

	(void)!pread(fd, text, TOLD_MAX, 0);
	r = take_lines(engine, text, -EIO, err);
	if (r == 0 && result->status != 0)
		r = err_set(err, -EIO, "the copy was broken off in the container (status %u)",
			    result->status);
	return r;
}

/* Runs the copy over the channel, joined to the descriptors of stdin and stdout in fds. */
static int run(struct engine *engine, int connection, const struct msg_copy *message,
	       struct meter *meter, const int fds[3], struct attach_result *result, struct err *err)
{
	const struct attach_options attach = {
		.input = fds[0] >= 0,
		.output = true,
		.fds = fds,
		.moved = meter->what && engine->ui.progress ? moved : NULL,
		.ctx = meter,
	};
	AUTO_SBUF struct sbuf payload = { 0 };

	msg_copy_encode(message, &payload);
	return client_attach(connection, CTL_COPY, &payload, &attach, result, err);
}

/* Moves the data in a process of its own, while the channel takes its records. */
struct pump {
	uint8_t *lane;   /* owned */
	uint64_t *moved; /* owned: a page that is shared with the process */
	int input;       /* borrowed, as is output: one of them is -1 */
	int output;
	int in, out;   /* owned: the process's ends */
	int theirs[2]; /* owned: the channel's: what it reads and what it writes */
	struct helper helper;
};

static void pump_close(struct pump *pump)
{
	int *const fds[] = { &pump->in, &pump->out, &pump->theirs[0], &pump->theirs[1] };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(TAKE_FD(*fds[i]));
}

static void pump_release(struct pump *pump)
{
	pump_close(pump);
	helper_kill(&pump->helper);
	bulk_lane_freep(&pump->lane);
	if (pump->moved)
		munmap(pump->moved, sizeof(*pump->moved));
}

static int run_pump(void *ctx, struct err *err)
{
	struct pump *pump = ctx;

	return pump->input >= 0 ? bulk_pump_in(pump->lane, pump->input, pump->in, pump->out,
					       pump->moved, err)
				: bulk_pump_out(pump->lane, pump->output, pump->in, pump->out,
						pump->moved, err);
}

static int open_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

/* Gets a lane and begins to pump. pump->lane is NULL afterwards if there was none. */
static int pump_start(struct pump *pump, int connection, struct err *err)
{
	void *shared;
	int r = bulk_lane_open(connection, &pump->lane, err);

	if (r < 0 || !pump->lane)
		return r;
	shared = mmap(NULL, sizeof(*pump->moved), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_set(err, -errno, "cannot allocate memory: %m");
	pump->moved = shared;
	r = open_pipe(&pump->theirs[0], &pump->out, err);
	if (r == 0)
		r = open_pipe(&pump->in, &pump->theirs[1], err);
	if (r == 0)
		r = helper_start(run_pump, pump,
				 (int[]){ pump->in, pump->out,
					  pump->input >= 0 ? pump->input : pump->output, -1 },
				 &pump->helper, err);
	if (pump->in >= 0)
		close(TAKE_FD(pump->in));
	if (pump->out >= 0)
		close(TAKE_FD(pump->out));
	return r;
}

/* What came is written in any case. What goes is of no use any more to a guest that failed: nobody
 * waits for it. */
static int pump_finish(struct engine *engine, struct pump *pump, bool failed, struct err *err)
{
	pump_close(pump);
	if (pump->input >= 0 && failed)
		helper_kill(&pump->helper);
	return pump->helper.pid ? helper_finish(engine, &pump->helper, err) : 0;
}

int stream_run(struct engine *engine, int connection, const struct msg_copy *message, int input,
	       int output, const char *what, bool *ret_broken, struct err *err)
{
	struct meter meter = { .engine = engine, .what = what, .began_ms = clock_monotonic_ms() };
	CLEANUP(pump_release)
	struct pump pump = { .input = input,
			     .output = output,
			     .in = -1,
			     .out = -1,
			     .theirs = { -1, -1 },
			     .helper.report = -1 };
	AUTO_CLOSE int notes = open_notes();
	struct attach_result result = { 0 };
	struct err pump_err = { 0 };
	int pumped;
	int r = notes < 0 ? err_set(err, -errno, "cannot make a file in memory: %m") : 0;

	if (r == 0 && message->op != MSG_COPY_DIFF)
		r = pump_start(&pump, connection, err);
	if (r < 0) {
		close(connection);
		return r;
	}
	meter.pumped = pump.moved;
	r = run(engine, connection, message, &meter,
		pump.lane ? (int[]){ pump.theirs[0], pump.theirs[1], notes }
			  : (int[]){ input, output, notes },
		&result, err);
	pumped = pump_finish(engine, &pump, r < 0 || result.status != 0, &pump_err);
	if (pump.moved)
		meter.bytes = *pump.moved;
	if (meter.told_ms)
		engine->ui.progress(engine->ui.ctx, what, "copying", meter.bytes, meter.bytes);
	if (ret_broken)
		*ret_broken = pump.lane ? pumped < 0 : result.output_broken;
	if (r == 0)
		r = take_notes(engine, notes, &result, err);
	if (r == 0 && pumped < 0)
		r = err_set(err, pumped, "%s", pump_err.message);
	return r;
}

/* --- the helper --- */

void helper_warn(void *ctx, const char *text)
{
	static size_t warned; /* by this process */
	AUTO_FREE char *line = xasprintf("W%s\n", text);

	(void)ctx;
	/* Nobody listens before the copy has ended: what the pipe does not hold would wait for
	 * ever.
	 */
	if (warned + strlen(line) > WARNED_MAX)
		return;
	warned += strlen(line);
	for (char *c = line; c[1]; c++)
		if (*c == '\n')
			*c = '?';
	fd_write_all(report_fd, line, strlen(line));
}

/* All but stdio, the report and what the job needs. */
static void close_others(const int *keep)
{
	int next = STDERR_FILENO + 1;

	for (;;) {
		int lowest = report_fd >= next ? report_fd : -1;

		for (const int *it = keep; *it >= 0; it++)
			if (*it >= next && (lowest < 0 || *it < lowest))
				lowest = *it;
		if (lowest < 0)
			break;
		if (lowest > next)
			syscall(SYS_close_range, next, lowest - 1, 0);
		next = lowest + 1;
	}
	syscall(SYS_close_range, next, ~0u, 0);
}

static void run_helper(helper_fn fn, void *ctx, const int *keep, int report)
{
	struct err err = { 0 };
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	report_fd = report;
	close_others(keep);
	r = fn(ctx, &err);
	if (r < 0) {
		AUTO_FREE char *line = xasprintf("E%d %s\n", -r, err.message);

		fd_write_all(report_fd, line, strlen(line));
	}
	_exit(r < 0);
}

int helper_start(helper_fn fn, void *ctx, const int *keep, struct helper *ret_helper,
		 struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_helper(fn, ctx, keep, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_set(err, -errno, "cannot start a process: %m");
	}
	*ret_helper = (struct helper){ .pid = pid, .report = fds[0] };
	return 0;
}

/* "E<errno> text" of a line made by run_helper. */
static int helper_error(char *text, struct err *err)
{
	char *line = text[0] == 'E' ? text : strstr(text, "\nE");
	char *rest;
	uint32_t code = EIO;

	if (!line)
		return err_set(err, -EIO, "a process of hull ended unexpectedly");
	line += *line == '\n' ? 2 : 1;
	rest = line + strcspn(line, " ");
	if (*rest)
		*rest++ = '\0';
	rest[strcspn(rest, "\n")] = '\0';
	if (str_parse_u32(line, &code) < 0 || code == 0 || code > 4095)
		code = EIO;
	return err_set(err, -(int)code, "%s", rest);
}

int helper_finish(struct engine *engine, struct helper *helper, struct err *err)
{
	AUTO_FREE char *text = NULL;
	int status;
	int r = fd_read_text(helper->report, TOLD_MAX, &text, NULL);

	close(TAKE_FD(helper->report));
	status = proc_wait(helper->pid);
	helper->pid = 0;
	if (r < 0)
		return err_set(err, r, "cannot hear from a process of hull: %m");
	if (status != 0)
		r = helper_error(text, err);
	take_lines(engine, text, -EIO, NULL);
	return r;
}

bool helper_has_ended(const struct helper *helper)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)helper->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == helper->pid;
}

void helper_kill(struct helper *helper)
{
	if (!helper->pid)
		return;
	kill(helper->pid, SIGKILL);
	proc_wait(helper->pid);
	close(TAKE_FD(helper->report));
	helper->pid = 0;
}
