/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct image_prune_options {
	bool all, force;
};

static const struct option_spec image_prune_options[] = {
	OPT_FLAG("all", 'a', struct image_prune_options, all,
		 "delete every image that no container uses, not only content without a name"),
	OPT_PRUNE_FORCE(struct image_prune_options),
	OPT_END,
};

static int image_prune_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct image_prune_options *options = values;
	CLEANUP(prune_result_release) struct prune_result result = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_image_prune(engine, options->all, &result, err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	cli_print_pruned(&result);
	return CLI_STATUS_OK;
}

const struct command cmd_image_prune = {
	.name = "prune",
	.summary = "delete what is not needed any more",
	.groups = (const struct option_group[]){ { NULL, image_prune_options, 0 }, { 0 } },
	.options_size = sizeof(struct image_prune_options),
	.run = image_prune_run,
};
