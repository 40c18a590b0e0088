/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "cli/attached.h"
#include "cli/commands.h"

struct attach_options {
	bool no_stdin;
	const char *detach_keys;
};

static const struct option_spec attach_options[] = {
	OPT_FLAG("no-stdin", 0, struct attach_options, no_stdin, "do not feed it our input"),
	OPT_STRING("detach-keys", 0, "KEYS", struct attach_options, detach_keys,
		   "what to type to leave it running (default ctrl-p,ctrl-q)"),
	OPT_END,
};

static int attach_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct attach_options *options = values;
	CLEANUP(container_freep) struct container *container = NULL;
	struct stdio_options stdio = {
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
		r = engine_get(engine, args[0], &container, err);
	if (r != 0)
		return r;
	stdio.input = container->config.process.stdin_open && !options->no_stdin;
	stdio.terminal = container->config.process.terminal;
	r = engine_attach(engine, args[0], &stdio, &status, err);
	return r < 0 ? attached_failure(cli, r, status) : attached_status(status);
}

const struct command cmd_attach = {
	.name = "attach",
	.args = "CONTAINER",
	.summary = "join our terminal to a running container's process",
	.groups = (const struct option_group[]){ { NULL, attach_options, 0 }, { 0 } },
	.options_size = sizeof(struct attach_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_RUNNING,
	.run = attach_run,
};
