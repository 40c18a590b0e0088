/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/commands.h"

enum pause_choice { PAUSE_TRUE, PAUSE_FALSE };
static const char *const pause_names[] = { "true", "false", NULL };

struct commit_flags {
	const char *author, *message;
	char **changes;
	int pause, progress;
};

static const struct option_spec commit_flags[] = {
	OPT_STRING("author", 'a', "NAME", struct commit_flags, author, "who made the image"),
	OPT_LIST("change", 'c', "INSTRUCTION", struct commit_flags, changes,
		 "configure the image: CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, LABEL, ..."),
	OPT_STRING("message", 'm', "TEXT", struct commit_flags, message,
		   "a word for the image's history"),
	OPT_CHOICE("pause", 'p', pause_names, struct commit_flags, pause,
		   "let the container stand still meanwhile (default true)"),
	OPT_CHOICE("progress", 0, progress_mode_names, struct commit_flags, progress,
		   "how to show progress (default auto)"),
	OPT_END,
};

static int commit_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct commit_flags *flags = values;
	const struct commit_options options = { .reference = args[1],
						.changes = flags->changes,
						.author = flags->author,
						.message = flags->message,
						.pause = flags->pause == PAUSE_TRUE };
	AUTO_FREE char *reference = NULL;
	struct engine *engine;
	int r;

	cli->progress_mode = (enum progress_mode)flags->progress;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_commit(engine, args[0], &options, &reference, err);
	progress_finish(cli->progress);
	if (r == 0)
		printf("%s\n", reference);
	return r;
}

const struct command cmd_commit = {
	.name = "commit",
	.args = "CONTAINER IMAGE",
	.summary = "make an image of a container's root file system",
	.groups = (const struct option_group[]){ { NULL, commit_flags, 0 }, { 0 } },
	.options_size = sizeof(struct commit_flags),
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_CONTAINERS,
	.run = commit_run,
};
