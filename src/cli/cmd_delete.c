/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct delete_options {
	bool all, force, volumes;
};

static const struct option_spec delete_options[] = {
	OPT_FLAG("all", 'a', struct delete_options, all, "delete every container"),
	OPT_FLAG("force", 'f', struct delete_options, force, "delete running ones too"),
	OPT_FLAG("volumes", 'v', struct delete_options, volumes,
		 "delete their anonymous volumes, too"),
	OPT_END,
};

static int delete_one(struct cli *cli, const void *values, const char *id, struct err *err)
{
	const struct delete_options *options = values;
	AUTO_FREE char *deleted = NULL;
	int r = engine_delete(cli->engine, id, options->force, options->volumes, &deleted, err);

	if (r == 0)
		printf("%s\n", deleted);
	return r;
}

static int delete_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct delete_options *options = values;
	AUTO_STRV char **ids = NULL;
	struct engine *engine;
	int r = cli_containers(cli, options->all, args, cli_fits_any, &ids, err);

	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r < 0 ? r : cli_each(cli, ids, delete_one, options);
}

const struct command cmd_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "[CONTAINER...]",
	.summary = "delete containers and what they wrote",
	.groups = (const struct option_group[]){ { NULL, delete_options, 0 }, { 0 } },
	.options_size = sizeof(struct delete_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = delete_run,
};
