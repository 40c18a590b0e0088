/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct load_options {
	const char *input;
	int progress;
};

static const struct option_spec load_options[] = {
	OPT_STRING("input", 'i', "FILE", struct load_options, input,
		   "read FILE instead of standard input", .complete = COMPLETE_FILES),
	OPT_CHOICE("progress", 0, progress_mode_names, struct load_options, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int load_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct load_options *options = values;
	AUTO_STRV char **references = NULL;
	struct engine *engine;
	int r;

	if (!options->input && isatty(STDIN_FILENO))
		return cli_usage(cli, err, "no archive: name it with '--input', or redirect it");
	cli->progress_mode = (enum progress_mode)options->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_image_load(engine, options->input, &references, err);
	progress_finish(cli->progress);
	STRV_EACH (r == 0 ? references : NULL, it)
		printf("%s\n", *it);
	return r;
}

const struct command cmd_image_load = {
	.name = "load",
	.summary = "read images from an archive (OCI layout or docker save)",
	.groups = (const struct option_group[]){ { NULL, load_options, 0 }, { 0 } },
	.options_size = sizeof(struct load_options),
	.run = load_run,
};
