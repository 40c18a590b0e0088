/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

static int rename_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_as_usage(cli, parse_container_name(args[1], err));

	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_rename(engine, args[0], args[1], err);
	if (r < 0)
		return r;
	printf("%s\n", args[1]);
	return CLI_STATUS_OK;
}

const struct command cmd_rename = {
	.name = "rename",
	.args = "CONTAINER NAME",
	.summary = "give a container another name",
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_CONTAINERS,
	.run = rename_run,
};
