/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int suspend_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	int r = engine_suspend(cli->engine, id, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int resume_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	int r = engine_resume(cli->engine, id, err);

	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int suspend_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, suspend_one, NULL);
}

static int resume_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, resume_one, NULL);
}

const struct command cmd_suspend = {
	.name = "suspend",
	.args = "CONTAINER...",
	.summary = "save running containers to disk and free their memory",
	.description = "What runs in it stands still until 'hull resume' (or 'hull start') goes on "
		       "with it, also after a reboot of the host.",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = suspend_run,
};

const struct command cmd_resume = {
	.name = "resume",
	.args = "CONTAINER...",
	.summary = "go on with suspended containers",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = resume_run,
};
