/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "engine/volume.h"

struct volume_prune_options {
	bool anonymous, force;
};

static const struct option_spec volume_prune_options[] = {
	OPT_FLAG("anonymous", 0, struct volume_prune_options, anonymous,
		 "leave those that have a name"),
	OPT_PRUNE_FORCE(struct volume_prune_options),
	OPT_END,
};

static int volume_prune_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct volume_prune_options *options = values;
	CLEANUP(prune_result_release) struct prune_result result = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_volume_prune(engine, options->anonymous, &result, err);
	if (r < 0)
		return r;
	cli_print_pruned(&result);
	return CLI_STATUS_OK;
}

const struct command cmd_volume_prune = {
	.name = "prune",
	.summary = "delete every volume that no container has",
	.groups = (const struct option_group[]){ { NULL, volume_prune_options, 0 }, { 0 } },
	.options_size = sizeof(struct volume_prune_options),
	.run = volume_prune_run,
};
