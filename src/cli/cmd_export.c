/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output_file.h"

struct export_options {
	const char *output;
	int progress;
};

static const struct option_spec export_options[] = {
	OPT_STRING("output", 'o', "FILE", struct export_options, output,
		   "write FILE instead of standard output", .complete = COMPLETE_FILES),
	OPT_CHOICE("progress", 0, progress_mode_names, struct export_options, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int export_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct export_options *options = values;
	const char *path = NULL;
	struct engine *engine;
	int r = output_file_choose(cli, options->output, &path, err);

	if (r < 0)
		return r;
	cli->progress_mode = (enum progress_mode)options->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_export(engine, args[0], path, err);
	progress_finish(cli->progress);
	return r;
}

const struct command cmd_export = {
	.name = "export",
	.args = "CONTAINER",
	.summary = "write a container's root file system as a tar archive",
	.groups = (const struct option_group[]){ { NULL, export_options, 0 }, { 0 } },
	.options_size = sizeof(struct export_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_CONTAINERS,
	.run = export_run,
};
