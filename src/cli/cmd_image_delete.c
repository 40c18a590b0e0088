/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct image_delete_options {
	bool all, force;
};

static const struct option_spec image_delete_options[] = {
	OPT_FLAG("all", 'a', struct image_delete_options, all, "delete every image"),
	OPT_FLAG("force", 'f', struct image_delete_options, force,
		 "delete those that containers use too"),
	OPT_END,
};

static int image_delete_one(struct cli *cli, const void *values, const char *target,
			    struct err *err)
{
	const struct image_delete_options *options = values;
	AUTO_FREE char *reference = NULL;
	int r = engine_image_delete(cli->engine, target, options->force, &reference, err);

	if (r == 0)
		printf("%s\n", reference);
	return r;
}

static int image_delete_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct image_delete_options *options = values;
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	AUTO_STRV char **references = NULL;
	struct engine *engine;
	int r;

	if (options->all && *args)
		return cli_usage(cli, err,
				 "explicitly supplied image(s) conflict with the --all flag");
	if (!options->all && !*args)
		return cli_usage(cli, err, "no images specified and --all not supplied");
	r = cli_engine(cli, &engine, err);
	if (r == 0 && options->all)
		r = engine_image_list(engine, &rows, err);
	if (r < 0)
		return r;
	references = strv_copy(args);
	for (size_t i = 0; i < rows.count; i++)
		strv_push(&references, rows.items[i].reference);
	return cli_each(cli, references, image_delete_one, options);
}

const struct command cmd_image_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "[IMAGE...]",
	.summary = "delete images",
	.groups = (const struct option_group[]){ { NULL, image_delete_options, 0 }, { 0 } },
	.options_size = sizeof(struct image_delete_options),
	.max_args = ARGS_MANY,
	.complete = COMPLETE_IMAGES,
	.run = image_delete_run,
};
