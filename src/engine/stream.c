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
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
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
};

static void moved(void *ctx, size_t bytes)
{
	struct meter *meter = ctx;
	uint64_t now = clock_monotonic_ms();

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

int stream_run(struct engine *engine, int connection, const struct msg_copy *message, int input,
	       int output, const char *what, bool *ret_broken, struct err *err)
{
	struct meter meter = { .engine = engine, .what = what, .began_ms = clock_monotonic_ms() };
	AUTO_CLOSE int notes = open_notes();
	const int fds[3] = { input, output, notes };
	const struct attach_options attach = {
		.input = input >= 0,
		.output = true,
		.fds = fds,
		.moved = what && engine->ui.progress ? moved : NULL,
		.ctx = &meter,
	};
	struct attach_result result = { 0 };
	AUTO_SBUF struct sbuf payload = { 0 };
	int r;

	if (notes < 0) {
		close(connection);
		return err_set(err, -errno, "cannot make a file in memory: %m");
	}
	msg_copy_encode(message, &payload);
	r = client_attach(connection, CTL_COPY, &payload, &attach, &result, err);
	if (meter.told_ms)
		engine->ui.progress(engine->ui.ctx, what, "copying", meter.bytes, meter.bytes);
	if (ret_broken)
		*ret_broken = result.output_broken;
	return r < 0 ? r : take_notes(engine, notes, &result, err);
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

void helper_kill(struct helper *helper)
{
	if (!helper->pid)
		return;
	kill(helper->pid, SIGKILL);
	proc_wait(helper->pid);
	close(TAKE_FD(helper->report));
	helper->pid = 0;
}
