/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

static const struct command *const image_commands[] = {
	&cmd_image_pull,    &cmd_image_push,   &cmd_image_list,  &cmd_image_inspect,
	&cmd_image_history, &cmd_image_load,   &cmd_image_save,  &cmd_image_import,
	&cmd_image_tag,     &cmd_image_delete, &cmd_image_prune, NULL,
};

const struct command cmd_image = {
	.name = "image",
	.aliases = { "i" },
	.summary = "fetch, list and move images",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = image_commands,
};
