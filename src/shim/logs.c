/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"

#define HEAD_MAX 48

struct partial {
	char text[LOGS_LINE_MAX];
	size_t size;
};

struct log_writer {
	char *path; /* owned */
	int fd;     /* owned */
	uint64_t size;
	uint64_t dropped; /* records that could not be written */
	struct partial partials[2];
};

static int open_log(struct log_writer *writer)
{
	struct stat st;

	writer->fd =
		open(writer->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (writer->fd < 0 || fstat(writer->fd, &st) < 0)
		return -errno;
	writer->size = (uint64_t)st.st_size;
	return 0;
}

int log_writer_open(const char *path, struct log_writer **ret_writer, struct err *err)
{
	struct log_writer *writer = xcalloc(1, sizeof(*writer));
	int r;

	*writer = (struct log_writer){ .path = xstrdup(path), .fd = -1 };
	r = open_log(writer);
	if (r < 0) {
		log_writer_close(writer);
		return err_set(err, r, "cannot open the log '%s': %m", path);
	}
	*ret_writer = writer;
	return 0;
}

static void rotate(struct log_writer *writer)
{
	AUTO_FREE char *old = xasprintf("%s.1", writer->path);

	if (rename(writer->path, old) < 0)
		return;
	close(TAKE_FD(writer->fd));
	if (open_log(writer) < 0)
		writer->fd = -1; /* tried again at the next record */
}

static size_t head_of_record(char head[HEAD_MAX], int stream, bool whole)
{
	uint64_t now = clock_wall_ns();
	time_t seconds = (time_t)(now / 1000000000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(head, HEAD_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(head + n, HEAD_MAX - n, ".%09lluZ %s %c ",
			      (unsigned long long)(now % 1000000000),
			      stream == 1 ? "stdout" : "stderr", whole ? 'F' : 'P');
	return n;
}

/* One record from two pieces (what was kept back and what came now). */
static void write_record(struct log_writer *writer, int stream, bool whole, const void *kept,
			 size_t kept_size, const void *data, size_t size)
{
	char head[HEAD_MAX];
	size_t head_size = head_of_record(head, stream, whole);
	size_t total = head_size + kept_size + size + 1;
	struct iovec parts[] = { { head, head_size },
				 { (void *)kept, kept_size },
				 { (void *)data, size },
				 { (void *)"\n", 1 } };
	ssize_t n;

	if (writer->size + total > LOGS_ROTATE_BYTES)
		rotate(writer);
	if (writer->fd < 0 && open_log(writer) < 0) {
		writer->dropped++;
		return;
	}
	n = writev(writer->fd, parts, ARRAY_SIZE(parts));
	if (n == (ssize_t)total) {
		writer->size += total;
		return;
	}
	writer->dropped++;
	if (n > 0 && ftruncate(writer->fd, (off_t)writer->size) < 0)
		writer->size += (size_t)n; /* half a record stays: readers skip it */
}

void log_writer_add(struct log_writer *writer, int stream, const void *data, size_t size)
{
	struct partial *partial = &writer->partials[stream == 1 ? 0 : 1];
	const char *p = data;

	while (size > 0) {
		const char *newline = memchr(p, '\n', size);
		size_t n = newline ? (size_t)(newline - p) : size;
		size_t room = sizeof(partial->text) - partial->size;
		bool whole = newline && n <= room;

		if (n > room)
			n = room;
		if (whole || n == room) {
			write_record(writer, stream, whole, partial->text, partial->size, p, n);
			partial->size = 0;
		} else {
			memcpy(partial->text + partial->size, p, n);
			partial->size += n;
		}
		p += n + whole;
		size -= n + whole;
	}
}

void log_writer_flush(struct log_writer *writer)
{
	for (int i = 0; i < 2; i++) {
		struct partial *partial = &writer->partials[i];

		if (partial->size)
			write_record(writer, i + 1, false, partial->text, partial->size, NULL, 0);
		partial->size = 0;
	}
}

struct log_writer *log_writer_close(struct log_writer *writer)
{
	if (!writer)
		return NULL;
	if (writer->fd >= 0) {
		log_writer_flush(writer);
		close(writer->fd);
	}
	free(writer->path);
	free(writer);
	return NULL;
}

int log_line_parse(const char *text, size_t size, struct log_line *ret_line)
{
	struct log_line line;
	char time_text[20];
	struct tm tm = { 0 };
	long long nanoseconds = 0;
	const char *end;

	if (size < 40 || text[19] != '.' || text[29] != 'Z')
		return -EBADMSG;
	memcpy(time_text, text, 19);
	time_text[19] = '\0';
	end = strptime(time_text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end || *end)
		return -EBADMSG;
	for (int i = 20; i < 29; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EBADMSG;
		nanoseconds = nanoseconds * 10 + (text[i] - '0');
	}
	if (memcmp(text + 30, " stdout ", 8) == 0)
		line.stream = 1;
	else if (memcmp(text + 30, " stderr ", 8) == 0)
		line.stream = 2;
	else
		return -EBADMSG;
	if ((text[38] != 'F' && text[38] != 'P') || text[39] != ' ')
		return -EBADMSG;
	line.whole = text[38] == 'F';
	line.time_ns = (int64_t)timegm(&tm) * 1000000000 + nanoseconds;
	line.data = text + 40;
	line.size = size - 40;
	*ret_line = line;
	return 0;
}
