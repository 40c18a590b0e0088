/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/fetch_options.h"

struct pull_options {
	struct fetch_flags fetch;
	bool all_platforms;
};

static const struct option_spec pull_options[] = {
	OPT_FLAG("all-platforms", 0, struct pull_options, all_platforms,
		 "fetch the content of every platform"),
	OPT_END,
};

static int pull_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct pull_options *options = values;
	AUTO_FREE char *platform = fetch_flags_platform(&options->fetch);
	struct fetch_options fetch = fetch_flags_apply(cli, &options->fetch, platform);
	AUTO_FREE char *reference = NULL;
	struct engine *engine;
	int r;

	if (platform && options->all_platforms)
		return cli_usage(cli, err, "'--all-platforms' conflicts with naming a platform");
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_image_pull(engine, args[0], &fetch, options->all_platforms, &reference,
				      err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	printf("%s\n", reference);
	return CLI_STATUS_OK;
}

const struct command cmd_image_pull = {
	.name = "pull",
	.args = "IMAGE",
	.summary = "fetch an image from its registry",
	.groups = (const struct option_group[]){ { NULL, pull_options, 0 },
						 FETCH_GROUP(struct pull_options, fetch),
						 { 0 } },
	.options_size = sizeof(struct pull_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_IMAGES,
	.run = pull_run,
};
