/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/commands.h"

static int system_start_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : engine_system_start(engine, err);
}

const struct command cmd_system_start = {
	.name = "start",
	.summary = "make ready now what the first container would have to wait for",
	.description = "Nothing has to be started before containers run; this makes the template "
		       "that they start from.",
	.run = system_start_run,
};

static int system_stop_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : engine_system_stop(engine, err);
}

const struct command cmd_system_stop = {
	.name = "stop",
	.summary = "stop every container",
	.run = system_stop_run,
};
