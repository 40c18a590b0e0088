/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/attached.h"
#include "cli/commands.h"

struct start_options {
	bool attach, interactive;
	const char *detach_keys;
};

static const struct option_spec start_options[] = {
	OPT_FLAG("attach", 'a', struct start_options, attach,
		 "show its output, pass on signals, return its status"),
	OPT_FLAG("interactive", 'i', struct start_options, interactive,
		 "feed it our input as well"),
	OPT_STRING("detach-keys", 0, "KEYS", struct start_options, detach_keys,
		   "what to type to leave it running (default ctrl-p,ctrl-q)"),
	OPT_END,
};

static int start_one(struct cli *cli, const void *options, const char *id, struct err *err)
{
	struct engine *engine;
	int status = 0;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_start(engine, id, NULL, &status, err);
	if (r == 0)
		printf("%s\n", id);
	return r;
}

static int start_attached(struct cli *cli, const struct start_options *options, const char *id,
			  struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct stdio_options stdio = {
		.input = options->interactive,
		.output = true,
		.signals = true,
		.detach_keys = options->detach_keys,
	};
	struct engine *engine;
	int status = 0;
	int r;

	cli->failure_status = CLI_STATUS_HULL_FAILED;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_get(engine, id, &container, err);
	if (r != 0)
		return r;
	stdio.terminal = container->config.process.terminal;
	r = engine_start(engine, id, &stdio, &status, err);
	return r < 0 ? attached_failure(cli, r, status) : attached_status(status);
}

static int start_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct start_options *options = values;

	if (!options->attach && !options->interactive)
		return cli_each(cli, args, start_one, NULL);
	if (args[1])
		return cli_usage(cli, err, "only one container can be attached to");
	return start_attached(cli, options, args[0], err);
}

const struct command cmd_start = {
	.name = "start",
	.args = "CONTAINER...",
	.summary = "start containers that are not running",
	.groups = (const struct option_group[]){ { NULL, start_options, 0 }, { 0 } },
	.options_size = sizeof(struct start_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = start_run,
};
