/* SPDX-License-Identifier: Apache-2.0 */
#include "image/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"

#define LINE_MAX_BYTES (1024 * 1024) /* of an answer */

struct conversation {
	const struct image_worker_ops *ops;
	void *ctx;
	json_t *result; /* owned */
	bool done;
	int status; /* valid once done */
};

static int take_error(struct conversation *c, const json_t *error, struct err *err)
{
	int64_t code = json_get_int(error, "code", -EIO);

	c->done = true;
	c->status = code < 0 && code > -4096 ? (int)code : -EIO;
	return err_set(err, c->status, "%s",
		       str_or(json_get_string(error, "message"), "the image worker failed"));
}

static void take_progress(const struct conversation *c, const json_t *progress)
{
	const char *id = json_get_string(progress, "id");
	const char *text = json_get_string(progress, "text");
	int64_t current = json_get_int(progress, "current", 0);
	int64_t total = json_get_int(progress, "total", 0);

	if (id && text && current >= 0 && total >= 0 && c->ops && c->ops->progress)
		c->ops->progress(c->ctx, id, text, (uint64_t)current, (uint64_t)total);
}

static void take_line(struct conversation *c, const char *line, size_t size, struct err *err)
{
	AUTO_JSON json_t *answer = NULL;
	const char *warning;

	if (json_parse(line, size, "an answer of the image worker", &answer, NULL) < 0)
		return;
	warning = json_get_string(answer, "warning");
	if (json_get_object(answer, "progress"))
		take_progress(c, json_get_object(answer, "progress"));
	if (warning && c->ops && c->ops->warning)
		c->ops->warning(c->ctx, warning);
	if (json_get_object(answer, "error"))
		take_error(c, json_get_object(answer, "error"), err);
	if (json_get_object(answer, "result")) {
		c->done = true;
		c->status = 0;
		c->result = json_incref(json_get_object(answer, "result"));
	}
}

/* Handles answers until the last one, or the end of the stream. */
static void converse(struct conversation *c, int fd, struct err *err)
{
	AUTO_FREE char *buffer = xmalloc(LINE_MAX_BYTES);
	size_t used = 0;

	while (!c->done && used < LINE_MAX_BYTES) {
		ssize_t n = read(fd, buffer + used, LINE_MAX_BYTES - used);
		char *line = buffer;
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		used += (size_t)n;
		while (!c->done && (end = memchr(line, '\n', used - (size_t)(line - buffer)))) {
			take_line(c, line, (size_t)(end - line), err);
			line = end + 1;
		}
		used -= (size_t)(line - buffer);
		memmove(buffer, line, used);
	}
}

/* Without SIGPIPE: the worker may be gone already. */
static bool send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

int image_worker_run(const char *program, const json_t *request, const struct image_worker_ops *ops,
		     void *ctx, json_t **ret_result, struct err *err)
{
	struct conversation c = { .ops = ops, .ctx = ctx };
	AUTO_FREE char *text = json_text(request);
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	char *const argv[] = { (char *)program, NULL };
	struct proc_fd child_fd;
	int pair[2];
	pid_t pid;
	int status;
	int r = sock_pair(pair, err);

	if (r < 0)
		return r;
	ours = pair[0];
	theirs = pair[1];
	child_fd = (struct proc_fd){ .from = theirs, .to = 3 };
	r = proc_spawn(&(struct proc_spec){ .argv = argv,
					    .fds = &child_fd,
					    .fd_count = 1,
					    .die_with_parent = true,
					    .no_new_privileges = true },
		       &pid, err);
	if (r < 0)
		return r;
	close(TAKE_FD(theirs));
	if (send_all(ours, text, strlen(text)) && send_all(ours, "\n", 1))
		converse(&c, ours, err);
	close(TAKE_FD(ours)); /* cancels what may still run */
	status = proc_wait(pid);
	if (!c.done)
		return err_set(err, -EIO, "the image worker ended unexpectedly (status %d)",
			       status);
	if (c.status == 0)
		*ret_result = c.result;
	return c.status;
}
