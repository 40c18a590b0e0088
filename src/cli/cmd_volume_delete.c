/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "engine/volume.h"

struct volume_delete_options {
	bool all;
};

static const struct option_spec volume_delete_options[] = {
	OPT_FLAG("all", 'a', struct volume_delete_options, all, "delete every volume"),
	OPT_END,
};

static int volume_delete_one(struct cli *cli, const void *values, const char *name, struct err *err)
{
	int r = engine_volume_delete(cli->engine, name, err);

	if (r == 0)
		printf("%s\n", name);
	return r;
}

static int volume_delete_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct volume_delete_options *options = values;
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	AUTO_STRV char **names = strv_copy(args);
	struct engine *engine;
	int r;

	if (options->all && *args)
		return cli_usage(cli, err,
				 "explicitly supplied volume(s) conflict with the --all flag");
	if (!options->all && !*args)
		return cli_usage(cli, err, "no volumes specified and --all not supplied");
	r = cli_engine(cli, &engine, err);
	if (r == 0 && options->all)
		r = engine_volume_list(engine, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		strv_push(&names, list.items[i].name);
	return cli_each(cli, names, volume_delete_one, options);
}

const struct command cmd_volume_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "[VOLUME...]",
	.summary = "delete volumes and what is in them",
	.groups = (const struct option_group[]){ { NULL, volume_delete_options, 0 }, { 0 } },
	.options_size = sizeof(struct volume_delete_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_VOLUMES,
	.run = volume_delete_run,
};
