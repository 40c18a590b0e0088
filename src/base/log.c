/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

static const char *program = "hull";
static enum log_level threshold = LOG_LEVEL_WARNING;
static int log_fd = 2;
static size_t room; /* bytes, where it is not stderr */
static unsigned long long origin_ns;

void log_init(const char *name, enum log_level level)
{
	program = name;
	threshold = level;
}

void log_redirect(int fd, size_t most)
{
	log_fd = fd;
	room = most;
}

/* False when there is no room for it. */
static bool write_stamp(size_t size)
{
	AUTO_FREE char *stamp = str_time(time(NULL));
	size_t total = strlen(stamp) + 1 + size;

	if (total > room)
		return false;
	room -= total;
	fd_write_all(log_fd, stamp, strlen(stamp));
	fd_write_all(log_fd, " ", 1);
	return true;
}

bool log_enabled(enum log_level level)
{
	return level <= threshold;
}

void log_print(enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char line[2048];
	int saved = errno;
	va_list args;
	int n;

	if (!log_enabled(level))
		return;
	n = snprintf(line, sizeof(line), "%s: %s: ", program, names[level]);
	va_start(args, format);
	errno = saved;
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	va_end(args);
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (log_fd == 2 || write_stamp((size_t)n))
		fd_write_all(log_fd, line, (size_t)n);
	errno = saved;
}

void log_timeline_origin(unsigned long long monotonic_ns)
{
	origin_ns = monotonic_ns;
}

unsigned long long log_timeline_get_origin(void)
{
	return origin_ns;
}

void log_timeline(const char *point)
{
	unsigned long long now = clock_monotonic_ns();

	if (!origin_ns)
		origin_ns = now;
	log_debug("%8.1f ms  %s", (double)(now - origin_ns) / 1e6, point);
}
