/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int set_paused(struct cli *cli, const char *id, bool pause, struct err *err)
{
	int r = engine_pause(cli->engine, id, pause, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int pause_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	return set_paused(cli, id, true, err);
}

static int unpause_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	return set_paused(cli, id, false, err);
}

static int pause_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, pause_one, NULL);
}

static int unpause_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, unpause_one, NULL);
}

const struct command cmd_pause = {
	.name = "pause",
	.args = "CONTAINER...",
	.summary = "hold running containers where they are",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = pause_run,
};

const struct command cmd_unpause = {
	.name = "unpause",
	.args = "CONTAINER...",
	.summary = "let paused containers go on",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = unpause_run,
};
