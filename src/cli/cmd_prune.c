/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct prune_options {
	bool force;
};

static const struct option_spec prune_options[] = {
	OPT_PRUNE_FORCE(struct prune_options),
	OPT_END,
};

static int prune_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	CLEANUP(prune_result_release) struct prune_result result = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_prune_containers(engine, &result, err);
	if (r < 0)
		return r;
	cli_print_pruned(&result);
	return CLI_STATUS_OK;
}

const struct command cmd_prune = {
	.name = "prune",
	.summary = "delete every container that is not running",
	.groups = (const struct option_group[]){ { NULL, prune_options, 0 }, { 0 } },
	.options_size = sizeof(struct prune_options),
	.run = prune_run,
};
