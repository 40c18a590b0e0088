/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

#define LINES_ALL UINT32_MAX

struct logs_options {
	bool boot, follow, timestamps;
	uint32_t lines;
	const char *since;
};

static const struct option_spec logs_options[] = {
	OPT_FLAG("boot", 0, struct logs_options, boot, "show the console of its VM instead"),
	OPT_FLAG("follow", 'f', struct logs_options, follow, "go on until it stops"),
	OPT_U32("lines", 'n', "N", struct logs_options, lines, "show the last N lines",
		.alias = "tail", .initial = LINES_ALL),
	OPT_STRING("since", 0, "TIME", struct logs_options, since,
		   "show what is newer: 10m (ago), 2026-01-02T03:04:05Z, Unix seconds"),
	OPT_FLAG("timestamps", 0, struct logs_options, timestamps,
		 "put the time in front of each line"),
	OPT_END,
};

struct printer {
	bool follow, timestamps;
	bool in_line[2]; /* of stdout, stderr: the last line had no end yet */
};

static void add_timestamp(struct sbuf *out, int64_t time_ns)
{
	time_t seconds = (time_t)(time_ns / 1000000000);
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	sbuf_addf(out, "%s.%09dZ ", text, (int)(time_ns % 1000000000));
}

static void add_stamped(struct printer *printer, struct sbuf *out, const struct log_record *record)
{
	bool *in_line = &printer->in_line[record->stream == 2];
	const char *data = record->data;
	size_t left = record->size;

	while (left) {
		const char *end = memchr(data, '\n', left);
		size_t length = end ? (size_t)(end - data) + 1 : left;

		if (!*in_line)
			add_timestamp(out, record->time_ns);
		sbuf_add_bytes(out, data, length);
		*in_line = !end;
		data += length;
		left -= length;
	}
}

static int print_record(void *ctx, const struct log_record *record)
{
	struct printer *printer = ctx;
	AUTO_SBUF struct sbuf stamped = { 0 };
	const char *data = record->data;
	size_t size = record->size;

	if (printer->timestamps) {
		add_stamped(printer, &stamped, record);
		data = stamped.text;
		size = stamped.length;
	}
	if (record->stream == 2) {
		fflush(stdout); /* keeps their order where both are one terminal */
		return fd_write_all(STDERR_FILENO, data, size);
	}
	if (fwrite(data, 1, size, stdout) != size || (printer->follow && fflush(stdout) == EOF))
		return -errno;
	return 0;
}

static int logs_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct logs_options *options = values;
	struct printer printer = { .follow = options->follow, .timestamps = options->timestamps };
	struct log_options wanted = {
		.boot = options->boot,
		.follow = options->follow,
		.lines = options->lines == LINES_ALL ? -1 : (int64_t)options->lines,
	};
	struct engine *engine;
	int r = 0;

	if (options->since)
		r = cli_as_usage(cli, parse_since(options->since, (int64_t)clock_wall_ns(),
						  &wanted.since_ns, err));
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_logs(engine, args[0], &wanted, print_record, &printer, err);
	return r == -EPIPE ? CLI_STATUS_OK : r;
}

const struct command cmd_logs = {
	.name = "logs",
	.args = "CONTAINER",
	.summary = "show what a container's process has written",
	.groups = (const struct option_group[]){ { NULL, logs_options, 0 }, { 0 } },
	.options_size = sizeof(struct logs_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_CONTAINERS,
	.run = logs_run,
};
