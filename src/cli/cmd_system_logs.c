/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"

#define LINES_ALL UINT32_MAX

struct system_logs_options {
	bool follow;
	uint32_t lines;
};

static const struct option_spec system_logs_options[] = {
	OPT_FLAG("follow", 'f', struct system_logs_options, follow,
		 "go on with what is new, until they are deleted"),
	OPT_U32("lines", 'n', "N", struct system_logs_options, lines,
		"show the last N lines of each", .alias = "tail", .initial = LINES_ALL),
	OPT_END,
};

/* Flushed: who follows them through a pipe waits for each. */
static int print_line(void *ctx, const struct system_line *line)
{
	if (printf("%s %s: %s\n", line->container, line->source, line->text) < 0 ||
	    fflush(stdout) != 0)
		return -errno;
	return 0;
}

static int system_logs_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct system_logs_options *flags = values;
	const struct system_log_options options = {
		.lines = flags->lines == LINES_ALL ? -1 : (int64_t)flags->lines,
		.follow = flags->follow,
	};
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_system_logs(engine, args, &options, print_line, NULL, err);
	return r == -EPIPE ? CLI_STATUS_OK : r;
}

const struct command cmd_system_logs = {
	.name = "logs",
	.args = "[CONTAINER...]",
	.summary = "show what the programs behind containers have complained of",
	.groups = (const struct option_group[]){ { NULL, system_logs_options, 0 }, { 0 } },
	.options_size = sizeof(struct system_logs_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = system_logs_run,
};
