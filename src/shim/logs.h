/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's log: what its main process wrote, stdout and stderr apart, a line a record, in the
 *CRI log format (text, one record a line):
 *
 *	2026-01-02T03:04:05.123456789Z stdout F the line
 *
 * F ends a line, P is a part of one (long lines, or output without a newline yet). A file of
 * LOGS_ROTATE_BYTES is renamed to "<path>.1", replacing the one before. Losing log lines never
 *stops a container: what cannot be written (disk full) is counted and dropped.
 */
#ifndef SHIM_LOGS_H
#define SHIM_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LOGS_ROTATE_BYTES (16 * 1024 * 1024)
#define LOGS_LINE_MAX (16 * 1024) /* longer lines are written in parts */

struct log_writer;

int log_writer_open(const char *path, struct log_writer **ret_writer, struct err *err);
/* stream: 1 stdout, 2 stderr. Whole lines are written; the start of a line is kept back until its
 * end comes, it grows too long, or log_writer_flush. */
void log_writer_add(struct log_writer *writer, int stream, const void *data, size_t size);
/* Writes unfinished lines, as parts. */
void log_writer_flush(struct log_writer *writer);
struct log_writer *log_writer_close(struct log_writer *writer);

struct log_line {
	int stream;
	int64_t time_ns;
	bool whole;       /* the line ends here: a newline belongs after data */
	const char *data; /* borrowed from the reader's buffer */
	size_t size;
};

/* Parses a record (without its newline). 0 or -EBADMSG. */
int log_line_parse(const char *text, size_t size, struct log_line *ret_line);

#endif
