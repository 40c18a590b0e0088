/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct copy_flags {
	bool archive, follow;
	int progress;
};

static const struct option_spec copy_flags[] = {
	OPT_FLAG("archive", 'a', struct copy_flags, archive,
		 "keep owners, and set-user-ID and set-group-ID bits"),
	OPT_FLAG("follow-link", 'L', struct copy_flags, follow,
		 "copy what a source that is a link leads to"),
	OPT_CHOICE("progress", 0, progress_mode_names, struct copy_flags, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int copy_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct copy_flags *flags = values;
	const struct copy_options options = { .source = args[0],
					      .destination = args[1],
					      .archive = flags->archive,
					      .follow = flags->follow };
	struct engine *engine;
	int r;

	if (str_eq(args[0], "-") && isatty(STDIN_FILENO))
		return cli_usage(cli, err, "an archive does not come from a terminal");
	if (str_eq(args[1], "-") && isatty(STDOUT_FILENO))
		return cli_usage(cli, err, "an archive is not for a terminal");
	r = engine_copy_check(&options, err);
	if (r < 0)
		return cli_as_usage(cli, r);
	cli->progress_mode = (enum progress_mode)flags->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_copy(engine, &options, err);
	progress_finish(cli->progress);
	return r;
}

const struct command cmd_copy = {
	.name = "copy",
	.aliases = { "cp" },
	.args = "SOURCE DESTINATION",
	.summary = "copy files between containers (CONTAINER:PATH) and the host",
	.description = "One side is CONTAINER:PATH, the other as well, or a path of the host, or "
		       "'-' for a tar archive on standard input or output.",
	.groups = (const struct option_group[]){ { NULL, copy_flags, 0 }, { 0 } },
	.options_size = sizeof(struct copy_flags),
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_FILES,
	.run = copy_run,
};
