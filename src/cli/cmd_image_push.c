/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/fetch_options.h"
#include "engine/registry.h"

struct image_push_options {
	const char *platform;
	int scheme, progress;
};

static const struct option_spec image_push_options[] = {
	OPT_STRING("platform", 0, "OS/ARCH[/VARIANT]", struct image_push_options, platform,
		   "send this platform alone (default: all that are here)"),
	OPT_CHOICE("scheme", 0, scheme_names, struct image_push_options, scheme,
		   "how to speak to the registry (default auto: HTTP to local ones)"),
	OPT_CHOICE("progress", 0, progress_mode_names, struct image_push_options, progress,
		   "how to show progress (default auto: ansi on a terminal, else plain)"),
	OPT_END,
};

static int image_push_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct image_push_options *options = values;
	const struct push_options push = { .platform = options->platform,
					   .scheme = scheme_names[options->scheme] };
	AUTO_FREE char *reference = NULL;
	struct engine *engine;
	int r;

	cli->progress_mode = (enum progress_mode)options->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_image_push(engine, args[0], &push, &reference, err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	printf("%s\n", reference);
	return CLI_STATUS_OK;
}

const struct command cmd_image_push = {
	.name = "push",
	.args = "IMAGE",
	.summary = "send an image to the registry in its name",
	.groups = (const struct option_group[]){ { NULL, image_push_options, 0 }, { 0 } },
	.options_size = sizeof(struct image_push_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_IMAGES,
	.run = image_push_run,
};
