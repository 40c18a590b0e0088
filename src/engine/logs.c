/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a container's log, or its machine's console: backwards for the last lines, then onwards.
 */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/launch.h"
#include "shim/logs.h"

#define LOG_FILE_MAX (64ull * 1024 * 1024)
#define RECHECK_MS 1000 /* a shim killed by force leaves no trace in the directory */

struct reader {
	const struct log_options *options;
	log_record_fn fn;
	void *ctx;
	char *pending; /* owned: the start of a record whose end is not there yet */
	size_t pending_size;
};

static int deliver_line(struct reader *reader, const char *text, size_t size)
{
	struct log_line line;
	AUTO_FREE char *copy = NULL;

	if (reader->options->boot) {
		struct log_record record = { .stream = 1, .data = text, .size = size };

		return reader->fn(reader->ctx, &record);
	}
	if (log_line_parse(text, size ? size - 1 : 0, &line) < 0 ||
	    line.time_ns < reader->options->since_ns)
		return 0;
	copy = xmalloc(line.size + 1);
	memcpy(copy, line.data, line.size);
	copy[line.size] = '\n';
	return reader->fn(reader->ctx, &(struct log_record){ .stream = line.stream,
							     .time_ns = line.time_ns,
							     .data = copy,
							     .size = line.size + line.whole });
}

/* Delivers the whole lines of text; the rest is kept. */
static int deliver(struct reader *reader, const char *text, size_t size)
{
	reader->pending = xrealloc(reader->pending, reader->pending_size + size, 1);
	memcpy(reader->pending + reader->pending_size, text, size);
	reader->pending_size += size;

	size_t start = 0;
	int r = 0;

	while (r == 0 && start < reader->pending_size) {
		const char *newline =
			memchr(reader->pending + start, '\n', reader->pending_size - start);
		size_t n;

		if (!newline)
			break;
		n = (size_t)(newline - (reader->pending + start)) + 1;
		r = deliver_line(reader, reader->pending + start, n);
		start += n;
	}
	memmove(reader->pending, reader->pending + start, reader->pending_size - start);
	reader->pending_size -= start;
	return r;
}

/* Where the last n lines of text begin. Parts of one line count as one. */
static size_t start_of_last(const char *text, size_t size, int64_t n)
{
	size_t at = size;

	if (n < 0)
		return 0;
	while (at > 0) {
		size_t line = at - 1;

		while (line > 0 && text[line - 1] != '\n')
			line--;
		if (at - line < 40 || text[line + 38] != 'P')
			n--;
		if (n < 0)
			return at;
		at = line;
	}
	return 0;
}

/* What is in the rotated file and the current one, as one text; *ret_offset is how much of the
 * current one that is. */
static int read_existing(const char *path, struct sbuf *text, int *ret_fd, struct err *err)
{
	AUTO_FREE char *old_path = xasprintf("%s.1", path);
	AUTO_FREE char *old = NULL;
	AUTO_FREE char *current = NULL;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	int r;

	if (file_read(old_path, LOG_FILE_MAX, &old, &size, NULL) == 0)
		sbuf_add_bytes(text, old, size);
	if (fd < 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (fd >= 0) {
		r = fd_read_text(fd, LOG_FILE_MAX, &current, &size);
		if (r < 0)
			return err_set(err, r, "cannot read '%s': %m", path);
		sbuf_add_bytes(text, current, size);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int read_more(struct reader *reader, int fd)
{
	char buffer[65536];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(fd, buffer, sizeof(buffer))) > 0)
		r = deliver(reader, buffer, (size_t)n);
	return r;
}

/* Onto the new file once ours has been rotated away. */
static void follow_rotation(const char *path, int *fd)
{
	struct stat ours;
	struct stat now;

	if (stat(path, &now) < 0 || (*fd >= 0 && fstat(*fd, &ours) == 0 &&
				     ours.st_ino == now.st_ino && ours.st_dev == now.st_dev))
		return;
	if (*fd >= 0)
		close(*fd);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
}

static int follow(struct engine *engine, const struct container *container, struct reader *reader,
		  const char *path, int *fd, struct err *err)
{
	AUTO_FREE char *dir = launch_container_dir(engine->root, container->uuid);
	AUTO_FREE char *lock = launch_lock_path(engine->root, container->uuid);
	AUTO_CLOSE int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];
	int r = 0;

	if (watch < 0 || inotify_add_watch(watch, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		return err_set(err, -errno, "cannot watch '%s': %m", dir);
	while (r == 0) {
		bool running = lock_is_held(lock);

		if (*fd >= 0)
			r = read_more(reader, *fd);
		follow_rotation(path, fd);
		if (r == 0 && *fd >= 0)
			r = read_more(reader, *fd);
		if (!running || r < 0)
			break;
		fd_wait(watch, POLLIN, RECHECK_MS);
		while (read(watch, events, sizeof(events)) > 0)
			;
	}
	return r;
}

int engine_logs(struct engine *engine, const char *id, const struct log_options *options,
		log_record_fn fn, void *ctx, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_SBUF struct sbuf text = { 0 };
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int fd = -1;
	struct reader reader = { .options = options, .fn = fn, .ctx = ctx };
	size_t start;
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	dir = launch_container_dir(engine->root, container->uuid);
	path = path_join(dir, options->boot ? "boot.log" : "log");
	r = read_existing(path, &text, &fd, err);
	if (r < 0)
		return r;
	start = text.text ? start_of_last(text.text, text.length, options->lines) : 0;
	if (text.text)
		r = deliver(&reader, text.text + start, text.length - start);
	if (r == 0 && options->follow)
		r = follow(engine, container, &reader, path, &fd, err);
	if (r == 0 && options->boot && reader.pending_size)
		r = deliver_line(&reader, reader.pending, reader.pending_size);
	free(reader.pending);
	return r;
}
