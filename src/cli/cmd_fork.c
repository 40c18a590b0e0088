/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"

#define COUNT_MAX 1000

struct fork_flags {
	uint32_t count;
	const char *name, *signal;
};

static const struct option_spec fork_flags[] = {
	OPT_U32("count", 'n', "N", struct fork_flags, count, "how many (default 1)", .initial = 1,
		.minimum = 1),
	OPT_STRING("name", 0, "NAME", struct fork_flags, name,
		   "call the new one NAME, several NAME-1, NAME-2 ..."),
	OPT_STRING("signal", 's', "SIGNAL", struct fork_flags, signal,
		   "send it to the main process of each new one"),
	OPT_END,
};

static int check(struct cli *cli, const struct fork_flags *flags, struct err *err)
{
	if (flags->count > COUNT_MAX)
		return cli_usage(cli, err, "at most %d at once", COUNT_MAX);
	if (flags->name && parse_container_name(flags->name, err) < 0)
		return cli_as_usage(cli, err->code);
	if (flags->signal && parse_signal(flags->signal, err) < 0)
		return cli_as_usage(cli, err->code);
	return 0;
}

static int fork_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct fork_flags *flags = values;
	const struct fork_options options = {
		.source = args[0],
		.count = flags->count,
		.name = flags->name,
		.signal = flags->signal,
	};
	AUTO_STRV char **ids = NULL;
	struct engine *engine;
	int r = check(cli, flags, err);

	if (r != 0)
		return r;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_fork(engine, &options, &ids, err);
	STRV_EACH (ids, it)
		printf("%s\n", *it);
	return r;
}

const struct command cmd_fork = {
	.name = "fork",
	.args = "CONTAINER|SNAPSHOT",
	.summary = "make running copies of a running container, or of a snapshot",
	.groups = (const struct option_group[]){ { NULL, fork_flags, 0 }, { 0 } },
	.options_size = sizeof(struct fork_flags),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_RUNNING,
	.run = fork_run,
};
