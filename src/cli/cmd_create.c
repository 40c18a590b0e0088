/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/run_options.h"

static int create_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	AUTO_FREE char *id = NULL;
	int r = run_options_create(cli, options, args, &id, NULL, err);

	if (r < 0)
		return r;
	printf("%s\n", id);
	return CLI_STATUS_OK;
}

const struct command cmd_create = {
	.name = "create",
	.args = "IMAGE [ARG...]",
	.summary = "make a container without starting it",
	.groups = create_groups,
	.options_size = sizeof(struct run_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.options_first = true,
	.complete = COMPLETE_IMAGES,
	.run = create_run,
};
