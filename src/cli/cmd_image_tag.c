/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"

static int tag_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	AUTO_FREE char *reference = NULL;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_image_tag(engine, args[0], args[1], &reference, err);
	if (r < 0)
		return r;
	printf("%s\n", reference);
	return CLI_STATUS_OK;
}

const struct command cmd_image_tag = {
	.name = "tag",
	.args = "IMAGE NAME",
	.summary = "give an image a further name",
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_IMAGES,
	.run = tag_run,
};
