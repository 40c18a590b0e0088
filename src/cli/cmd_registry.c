/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "engine/registry.h"

static const struct command *const registry_commands[] = {
	&cmd_registry_login,
	&cmd_registry_logout,
	&cmd_registry_list,
	NULL,
};

const struct command cmd_registry = {
	.name = "registry",
	.aliases = { "r" },
	.summary = "log in to registries",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = registry_commands,
};

static int registry_logout_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_registry_logout(engine, args[0], err);
	if (r == 0)
		printf("%s\n", args[0]);
	return r;
}

const struct command cmd_registry_logout = {
	.name = "logout",
	.args = "HOST",
	.summary = "forget who we are to a registry",
	.min_args = 1,
	.max_args = 1,
	.run = registry_logout_run,
};
