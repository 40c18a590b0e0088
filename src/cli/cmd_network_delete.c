/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "engine/network.h"

static int network_delete_one(struct cli *cli, const void *options, const char *name,
			      struct err *err)
{
	int r = engine_network_delete(cli->engine, name, err);

	if (r == 0)
		printf("%s\n", name);
	return r;
}

static int network_delete_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, network_delete_one, options);
}

const struct command cmd_network_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "NETWORK...",
	.summary = "delete networks that no container is in",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_NETWORKS,
	.run = network_delete_run,
};
