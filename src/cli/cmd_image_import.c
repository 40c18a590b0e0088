/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define BUILTIN_REFERENCE "busybox:latest"

struct import_options {
	bool builtin;
	const char *snapshot;
	char **changes;
	const char *platform;
	int progress;
};

static const struct option_spec import_options[] = {
	OPT_FLAG("builtin", 0, struct import_options, builtin,
		 "make " BUILTIN_REFERENCE " (or IMAGE) of the busybox that came with hull"),
	OPT_STRING("from-snapshot", 0, "SNAPSHOT", struct import_options, snapshot,
		   "make an image whose containers go on from the snapshot",
		   .complete = COMPLETE_SNAPSHOTS),
	OPT_LIST("change", 'c', "INSTRUCTION", struct import_options, changes,
		 "configure the image: CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, LABEL, ..."),
	OPT_STRING("platform", 0, "OS/ARCH[/VARIANT]", struct import_options, platform,
		   "what it runs on (default: what we run on)"),
	OPT_CHOICE("progress", 0, progress_mode_names, struct import_options, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int import_builtin(struct cli *cli, char **args, char **ret_reference, struct err *err)
{
	struct engine *engine;
	int r;

	if (args[0] && args[1])
		return cli_usage(cli, err, "'--builtin' takes no archive");
	r = cli_engine(cli, &engine, err);
	return r < 0 ? r
		     : engine_image_import_builtin(engine, str_or(args[0], BUILTIN_REFERENCE),
						   ret_reference, err);
}

static int import_snapshot(struct cli *cli, const struct import_options *options, char **args,
			   char **ret_reference, struct err *err)
{
	struct engine *engine;
	int r;

	if (!args[0] || args[1] || options->changes || options->platform)
		return cli_usage(cli, err,
				 "'--from-snapshot' takes the name of the image and nothing else");
	r = cli_engine(cli, &engine, err);
	return r < 0 ? r
		     : engine_image_import_snapshot(engine, options->snapshot, args[0],
						    ret_reference, err);
}

static int import_archive(struct cli *cli, const struct import_options *options, char **args,
			  char **ret_reference, struct err *err)
{
	struct engine *engine;
	int r;

	if (!args[0] || !args[1])
		return cli_usage(cli, err,
				 "import needs an archive ('-' for standard input) and "
				 "the name of the image");
	r = cli_engine(cli, &engine, err);
	return r < 0 ? r
		     : engine_image_import(engine, args[0], args[1], options->changes,
					   options->platform, ret_reference, err);
}

static int import_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct import_options *options = values;
	AUTO_FREE char *reference = NULL;
	int r;

	cli->progress_mode = (enum progress_mode)options->progress;
	if (options->builtin && options->snapshot)
		return cli_usage(cli, err, "'--builtin' conflicts with '--from-snapshot'");
	if (options->snapshot)
		r = import_snapshot(cli, options, args, &reference, err);
	else if (options->builtin)
		r = import_builtin(cli, args, &reference, err);
	else
		r = import_archive(cli, options, args, &reference, err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	printf("%s\n", reference);
	return CLI_STATUS_OK;
}

const struct command cmd_image_import = {
	.name = "import",
	.args = "[ROOTFS.tar] [IMAGE]",
	.summary = "make an image of a root file system, or of a snapshot",
	.groups = (const struct option_group[]){ { NULL, import_options, 0 }, { 0 } },
	.options_size = sizeof(struct import_options),
	.max_args = 2,
	.complete = COMPLETE_FILES,
	.run = import_run,
};
