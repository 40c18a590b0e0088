/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

static const struct option_spec update_options[] = {
	OPT_HUNDREDTHS("cpus", 'c', "N", struct config_limits, cpu_hundredths,
		       "number of CPUs, like 2 or 0.5", .minimum = 1),
	OPT_SIZE("memory", 'm', "SIZE", struct config_limits, memory_bytes, "memory", .minimum = 1),
	OPT_U32("pids-limit", 0, "N", struct config_limits, pids_limit,
		"most processes it may have", .minimum = 1),
	OPT_STRING("restart", 0, "POLICY", struct config_limits, restart,
		   "when to start it again: no, on-failure[:N], always, unless-stopped"),
	OPT_END,
};

static int update_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	int r = engine_update(cli->engine, id, options, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int update_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct config_limits *options = values;
	struct engine *engine;
	int r = 0;

	if (!options->cpu_hundredths && !options->memory_bytes && !options->pids_limit &&
	    !options->restart)
		return cli_usage(cli, err, "say what to change");
	if (options->restart)
		r = cli_as_usage(cli, parse_restart(options->restart, err));
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r < 0 ? r : cli_each(cli, args, update_one, options);
}

const struct command cmd_update = {
	.name = "update",
	.args = "CONTAINER...",
	.summary = "change limits and restart policy of containers",
	.groups = (const struct option_group[]){ { NULL, update_options, 0 }, { 0 } },
	.options_size = sizeof(struct config_limits),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = update_run,
};
