/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

static const struct command *const volume_commands[] = {
	&cmd_volume_create, &cmd_volume_list,  &cmd_volume_inspect,
	&cmd_volume_delete, &cmd_volume_prune, NULL,
};

const struct command cmd_volume = {
	.name = "volume",
	.aliases = { "v" },
	.summary = "keep data apart from containers",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = volume_commands,
};
