/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

struct kill_options {
	bool all;
	const char *signal;
};

static const struct option_spec kill_options[] = {
	OPT_FLAG("all", 'a', struct kill_options, all, "send it to every running container"),
	OPT_STRING("signal", 's', "SIGNAL", struct kill_options, signal,
		   "what to send (default KILL)"),
	OPT_END,
};

static int kill_one(struct cli *cli, const void *values, const char *id, struct err *err)
{
	const struct kill_options *options = values;
	int r = engine_kill(cli->engine, id, options->signal, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int kill_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct kill_options *options = values;
	AUTO_STRV char **ids = NULL;
	struct engine *engine;
	int r = 0;

	if (options->signal)
		r = cli_as_usage(cli, parse_signal(options->signal, err));
	if (r == 0)
		r = cli_containers(cli, options->all, args, cli_fits_active, &ids, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r < 0 ? r : cli_each(cli, ids, kill_one, options);
}

const struct command cmd_kill = {
	.name = "kill",
	.args = "[CONTAINER...]",
	.summary = "send a signal to running containers",
	.groups = (const struct option_group[]){ { NULL, kill_options, 0 }, { 0 } },
	.options_size = sizeof(struct kill_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = kill_run,
};
