/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

#define STOP_TIMEOUT_S 5

struct stop_options {
	bool all;
	const char *signal;
	uint32_t timeout_s;
};

static const struct option_spec stop_options[] = {
	OPT_FLAG("all", 'a', struct stop_options, all, "stop every running container"),
	OPT_STRING("signal", 's', "SIGNAL", struct stop_options, signal,
		   "what to send (default: its stop signal, or TERM)"),
	OPT_U32("time", 't', "SECONDS", struct stop_options, timeout_s,
		"how long it may take before it is killed (default 5)", .alias = "timeout",
		.initial = STOP_TIMEOUT_S),
	OPT_END,
};

static int stop_one(struct cli *cli, const void *values, const char *id, struct err *err)
{
	const struct stop_options *options = values;
	int r = engine_stop(cli->engine, id, options->signal, options->timeout_s, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int stop_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct stop_options *options = values;
	AUTO_STRV char **ids = NULL;
	struct engine *engine;
	int r = 0;

	if (options->signal)
		r = cli_as_usage(cli, parse_signal(options->signal, err));
	if (r == 0)
		r = cli_containers(cli, options->all, args, cli_fits_active, &ids, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r < 0)
		return r;
	engine_stop_announce(cli->engine, ids, options->signal, options->timeout_s);
	return cli_each(cli, ids, stop_one, options);
}

const struct command cmd_stop = {
	.name = "stop",
	.args = "[CONTAINER...]",
	.summary = "stop running containers",
	.groups = (const struct option_group[]){ { NULL, stop_options, 0 }, { 0 } },
	.options_size = sizeof(struct stop_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = stop_run,
};
