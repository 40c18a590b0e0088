/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

static const struct command *const network_commands[] = {
	&cmd_network_create,  &cmd_network_delete,     &cmd_network_list,  &cmd_network_inspect,
	&cmd_network_connect, &cmd_network_disconnect, &cmd_network_prune, NULL,
};

const struct command cmd_network = {
	.name = "network",
	.aliases = { "n" },
	.summary = "make and connect networks",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = network_commands,
};
