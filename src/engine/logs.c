/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a container's log, or its machine's console: from the rotated file (<path>.1) into the
 * current one, a block at a time, so that memory does not grow with the log. The last lines are
 * found by reading blocks backwards first.
 */
#include "engine/internal.h"

#include <assert.h>
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

#define BLOCK ((size_t)64 * 1024) /* more than the longest record */
#define RECORD_HEAD 40            /* of a record: time, stream, P or F */
#define RECHECK_MS 1000           /* a shim killed by force leaves no trace in the directory */

static_assert(BLOCK > LOGS_LINE_MAX + RECORD_HEAD, "a record fits into a block");

struct reader {
	const struct log_options *options;
	log_record_fn fn;
	void *ctx;
	char *pending; /* owned: the start of a record whose end is not there yet, below a block */
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

/* What was kept back, as far as it is of use: half a line of a console is, half a record is not. */
static int flush_pending(struct reader *reader)
{
	size_t size = reader->pending_size;

	reader->pending_size = 0;
	return reader->options->boot && size ? deliver_line(reader, reader->pending, size) : 0;
}

/* Delivers the whole lines of the block (at most BLOCK bytes); the rest is kept. */
static int deliver(struct reader *reader, const char *text, size_t size)
{
	int r = 0;

	while (r == 0 && size) {
		const char *newline = memchr(text, '\n', size);
		size_t n = newline ? (size_t)(newline - text) + 1 : size;

		if (reader->pending_size + n > BLOCK)
			r = flush_pending(reader);
		if (r == 0 && newline && !reader->pending_size) {
			r = deliver_line(reader, text, n);
		} else if (r == 0) {
			if (!reader->pending)
				reader->pending = xmalloc(BLOCK);
			memcpy(reader->pending + reader->pending_size, text, n);
			reader->pending_size += n;
		}
		if (r == 0 && newline && reader->pending_size) {
			r = deliver_line(reader, reader->pending, reader->pending_size);
			reader->pending_size = 0;
		}
		text += n;
		size -= n;
	}
	return r;
}

/* Delivers what fd has from its position on, up to size bytes. */
static int read_on(struct reader *reader, int fd, uint64_t size)
{
	char block[BLOCK];
	int r = 0;

	while (r == 0 && size) {
		ssize_t n = read(fd, block, size < sizeof(block) ? size : sizeof(block));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		size -= (uint64_t)n;
		r = deliver(reader, block, (size_t)n);
	}
	return r;
}

/*
 * Goes back over the lines that begin in the block at offset start, of which the buffer has size
 * bytes and what follows them as far as a record's head. Parts of one line count as one. True when
 * more than *n were passed: *end is where the last n begin. *end is the start of the line that was
 * looked at last.
 */
static bool pass_lines(const char *block, size_t size, size_t lookahead, off_t start, off_t *end,
		       int64_t *n)
{
	const size_t available = size + lookahead;

	while (size > 0) {
		const char *newline = memrchr(block, '\n', size);
		size_t line = newline ? (size_t)(newline - block) + 1 : 0;
		off_t at = start + (off_t)line;

		if (!newline && start > 0)
			return false; /* it begins in an earlier block */
		if (at < *end) {
			bool is_part = *end - at >= RECORD_HEAD &&
				       line + RECORD_HEAD <= available &&
				       block[line + RECORD_HEAD - 2] == 'P';

			*n -= !is_part;
			if (*n < 0)
				return true;
			*end = at;
		}
		size = newline ? (size_t)(newline - block) : 0;
	}
	return false;
}

/* Where the last *n lines of the file's first size bytes begin; *n is counted down, and below zero
 * if they do not reach its start. */
static int find_last(int fd, off_t size, int64_t *n, off_t *ret_start)
{
	char block[BLOCK + RECORD_HEAD];
	off_t end = size; /* of the line before which we look */
	off_t at = size;

	while (at > 0) {
		size_t length = at < (off_t)BLOCK ? (size_t)at : BLOCK;
		size_t lookahead = size - at < RECORD_HEAD ? (size_t)(size - at) : RECORD_HEAD;
		int r;

		at -= (off_t)length;
		r = fd_pread_exact(fd, block, length + lookahead, at);
		if (r < 0)
			return r;
		if (pass_lines(block, length, lookahead, at, &end, n))
			break;
	}
	*ret_start = end;
	return 0;
}

struct log_file {
	int fd; /* owned; -1: not there */
	off_t size, start;
};

static void log_file_release(struct log_file *file)
{
	cleanup_closep(&file->fd);
}

static bool is_same_file(int fd, int other)
{
	struct stat a;
	struct stat b;

	return fd >= 0 && other >= 0 && fstat(fd, &a) == 0 && fstat(other, &b) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int open_log_file(const char *path, struct log_file *file, struct err *err)
{
	struct stat st = { 0 };

	cleanup_closep(&file->fd);
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file->fd < 0 && errno == ENOENT)
		return 0;
	if (file->fd < 0 || fstat(file->fd, &st) < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	file->start = 0;
	file->size = st.st_size;
	return 0;
}

/* The current file first: if it is rotated away meanwhile, it shows up as the old one. */
static int open_both(const char *path, struct log_file *old, struct log_file *current,
		     struct err *err)
{
	AUTO_FREE char *old_path = xasprintf("%s.1", path);
	int r;

	do {
		r = open_log_file(path, current, err);
		if (r == 0)
			r = open_log_file(old_path, old, err);
	} while (r == 0 && is_same_file(old->fd, current->fd));
	return r;
}

static int find_start(struct log_file *old, struct log_file *current, int64_t lines)
{
	int r = 0;

	if (lines < 0)
		return 0;
	if (current->fd >= 0)
		r = find_last(current->fd, current->size, &lines, &current->start);
	if (r == 0 && lines < 0)
		old->start = old->size;
	else if (r == 0 && old->fd >= 0)
		r = find_last(old->fd, old->size, &lines, &old->start);
	return r;
}

static int read_from_start(struct reader *reader, const struct log_file *file)
{
	if (file->fd < 0)
		return 0;
	if (lseek(file->fd, file->start, SEEK_SET) < 0)
		return -errno;
	return read_on(reader, file->fd, (uint64_t)(file->size - file->start));
}

/* Onto the new file once ours has been rotated away, by way of what was rotated away since. */
static int follow_rotation(struct reader *reader, const char *path, int *fd)
{
	AUTO_FREE char *old_path = xasprintf("%s.1", path);
	CLEANUP(log_file_release) struct log_file now = { .fd = -1 };
	CLEANUP(log_file_release) struct log_file old = { .fd = -1 };
	int r;

	if (open_log_file(path, &now, NULL) < 0 || now.fd < 0 || is_same_file(now.fd, *fd))
		return 0;
	r = *fd >= 0 ? read_on(reader, *fd, UINT64_MAX) : 0; /* its last records */
	if (r == 0 && *fd >= 0 && open_log_file(old_path, &old, NULL) == 0 && old.fd >= 0 &&
	    !is_same_file(old.fd, *fd) && !is_same_file(old.fd, now.fd))
		r = read_on(reader, old.fd, UINT64_MAX);
	cleanup_closep(fd);
	*fd = TAKE_FD(now.fd);
	return r;
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
			r = read_on(reader, *fd, UINT64_MAX);
		if (r == 0)
			r = follow_rotation(reader, path, fd);
		if (r == 0 && *fd >= 0)
			r = read_on(reader, *fd, UINT64_MAX);
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
	CLEANUP(log_file_release) struct log_file old = { .fd = -1 };
	CLEANUP(log_file_release) struct log_file current = { .fd = -1 };
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	struct reader reader = { .options = options, .fn = fn, .ctx = ctx };
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	dir = launch_container_dir(engine->root, container->uuid);
	path = path_join(dir, options->boot ? "boot.log" : "log");
	r = open_both(path, &old, &current, err);
	if (r < 0)
		return r;
	r = find_start(&old, &current, options->lines);
	if (r < 0)
		return err_set(err, r, "cannot read '%s': %m", path);
	r = read_from_start(&reader, &old);
	if (r == 0)
		r = read_from_start(&reader, &current);
	if (r == 0 && options->follow)
		r = follow(engine, container, &reader, path, &current.fd, err);
	if (r == 0)
		r = flush_pending(&reader);
	free(reader.pending);
	return r;
}
