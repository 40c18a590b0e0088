/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int wait_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	int status = 0;
	int r = engine_wait(cli->engine, id, &status, err);

	if (r < 0)
		return r;
	printf("%d\n", status);
	fflush(stdout); /* the next may take its time */
	return 0;
}

static int wait_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, wait_one, NULL);
}

const struct command cmd_wait = {
	.name = "wait",
	.args = "CONTAINER...",
	.summary = "wait until containers have ended and print their exit statuses",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_RUNNING,
	.run = wait_run,
};
