/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

static const struct command *const system_commands[] = {
	&cmd_system_start,  &cmd_system_stop, &cmd_system_status,   &cmd_system_logs,
	&cmd_system_doctor, &cmd_system_df,   &cmd_system_prune,    &cmd_system_version,
	&cmd_system_kernel, &cmd_system_dns,  &cmd_system_property, NULL,
};

const struct command cmd_system = {
	.name = "system",
	.summary = "look after hull itself",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = system_commands,
};

static const struct command *const kernel_commands[] = {
	&cmd_system_kernel_list,
	&cmd_system_kernel_set,
	NULL,
};

const struct command cmd_system_kernel = {
	.name = "kernel",
	.summary = "choose the kernel that containers boot",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = kernel_commands,
};

static const struct command *const property_commands[] = { &cmd_system_property_list, NULL };

const struct command cmd_system_property = {
	.name = "property",
	.summary = "show the settings in effect",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = property_commands,
};
