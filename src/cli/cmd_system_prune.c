/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct system_prune_options {
	bool all, volumes, force;
};

static const struct option_spec system_prune_options[] = {
	OPT_FLAG("all", 'a', struct system_prune_options, all,
		 "delete every image that no container uses, too"),
	OPT_FLAG("volumes", 0, struct system_prune_options, volumes,
		 "delete anonymous volumes that no container uses, too"),
	OPT_PRUNE_FORCE(struct system_prune_options),
	OPT_END,
};

static int system_prune_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct system_prune_options *options = values;
	CLEANUP(prune_result_release) struct prune_result result = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_system_prune(engine, options->all, options->volumes, &result, err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	cli_print_pruned(&result);
	return CLI_STATUS_OK;
}

const struct command cmd_system_prune = {
	.name = "prune",
	.summary = "delete all that is not in use: stopped containers, stale templates, leftovers",
	.groups = (const struct option_group[]){ { NULL, system_prune_options, 0 }, { 0 } },
	.options_size = sizeof(struct system_prune_options),
	.run = system_prune_run,
};
