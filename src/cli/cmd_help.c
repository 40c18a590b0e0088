/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"

static int help_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct command_path path = { { &command_root }, 1 };
	AUTO_SBUF struct sbuf text = { 0 };

	STRV_EACH (args, it)
		if (!command_path_descend(&path, *it))
			return cli_usage(cli, err, "unknown command '%s'", *it);
	help_render(&path, &text);
	fputs(text.text, stdout);
	return CLI_STATUS_OK;
}

const struct command cmd_help = {
	.name = "help",
	.args = "[COMMAND...]",
	.summary = "show what a command is for",
	.max_args = ARGS_MANY,
	.run = help_run,
};
