/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "engine/network.h"

struct network_prune_options {
	bool force;
};

static const struct option_spec network_prune_options[] = {
	OPT_PRUNE_FORCE(struct network_prune_options),
	OPT_END,
};

static int network_prune_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	CLEANUP(prune_result_release) struct prune_result result = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_network_prune(engine, &result, err);
	STRV_EACH (result.removed, it)
		printf("%s\n", *it);
	return r;
}

const struct command cmd_network_prune = {
	.name = "prune",
	.summary = "delete the networks that no container is in",
	.groups = (const struct option_group[]){ { NULL, network_prune_options, 0 }, { 0 } },
	.options_size = sizeof(struct network_prune_options),
	.run = network_prune_run,
};
