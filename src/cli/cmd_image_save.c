/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output_file.h"

struct save_options {
	const char *output, *platform;
	int progress;
};

static const struct option_spec save_options[] = {
	OPT_STRING("output", 'o', "FILE", struct save_options, output,
		   "write FILE instead of standard output", .complete = COMPLETE_FILES),
	OPT_STRING("platform", 0, "OS/ARCH[/VARIANT]", struct save_options, platform,
		   "save this platform alone"),
	OPT_CHOICE("progress", 0, progress_mode_names, struct save_options, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int save_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct save_options *options = values;
	const char *path = NULL;
	struct engine *engine;
	int r = output_file_choose(cli, options->output, &path, err);

	if (r < 0)
		return r;
	cli->progress_mode = (enum progress_mode)options->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_image_save(engine, args, options->platform, path, err);
	progress_finish(cli->progress);
	STRV_EACH (r == 0 ? args : NULL, it)
		fprintf(path ? stdout : stderr, "%s\n", *it);
	return r;
}

const struct command cmd_image_save = {
	.name = "save",
	.args = "IMAGE...",
	.summary = "write images into an archive (OCI layout that docker loads too)",
	.groups = (const struct option_group[]){ { NULL, save_options, 0 }, { 0 } },
	.options_size = sizeof(struct save_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_IMAGES,
	.run = save_run,
};
