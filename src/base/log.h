/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics of the programs' top layers, on stderr. Libraries return errors instead. A line names
 * its object: log_info("container=%s started", id). The timeline prints, with --debug, when each
 * step of an operation was reached.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* program is the prefix of each line (borrowed for the process's life). */
void log_init(const char *program, enum log_level level);
/* Lines go to fd (borrowed) instead of stderr, with the time in front, until they are `most` bytes.
 */
void log_redirect(int fd, size_t most);
bool log_enabled(enum log_level level);
void log_print(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_print(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A point of the timeline of an operation, printed at debug level with the milliseconds since the
 * origin: CLOCK_MONOTONIC nanoseconds, by default the first point of the process. A program that
 * does part of an operation gets the origin from the one that began it, so that one timeline
 * results.
 */
void log_timeline_origin(unsigned long long monotonic_ns);
unsigned long long log_timeline_get_origin(void);
void log_timeline(const char *point);

#endif
