/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"

static const char *program = "hull";
static enum log_level threshold = LOG_LEVEL_WARNING;
static unsigned long long origin_ns;

void log_init(const char *name, enum log_level level)
{
	program = name;
	threshold = level;
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
	fd_write_all(2, line, (size_t)n);
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
