/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

#define STOP_TIMEOUT_S 5

struct restart_options {
	const char *signal;
	uint32_t timeout_s;
};

static const struct option_spec restart_options[] = {
	OPT_STRING("signal", 's', "SIGNAL", struct restart_options, signal,
		   "what to send (default: its stop signal, or TERM)"),
	OPT_U32("time", 't', "SECONDS", struct restart_options, timeout_s,
		"how long it may take before it is killed (default 5)", .alias = "timeout",
		.initial = STOP_TIMEOUT_S),
	OPT_END,
};

static int restart_one(struct cli *cli, const void *values, const char *id, struct err *err)
{
	const struct restart_options *options = values;
	int status = 0;
	int r = engine_stop(cli->engine, id, options->signal, options->timeout_s, err);

	if (r == 0)
		r = engine_start(cli->engine, id, NULL, &status, err);
	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int restart_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct restart_options *options = values;
	struct engine *engine;
	int r = 0;

	if (options->signal)
		r = cli_as_usage(cli, parse_signal(options->signal, err));
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r < 0 ? r : cli_each(cli, args, restart_one, options);
}

const struct command cmd_restart = {
	.name = "restart",
	.args = "CONTAINER...",
	.summary = "stop containers, then start them again",
	.groups = (const struct option_group[]){ { NULL, restart_options, 0 }, { 0 } },
	.options_size = sizeof(struct restart_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = restart_run,
};
