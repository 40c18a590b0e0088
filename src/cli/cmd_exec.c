/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/attached.h"
#include "cli/commands.h"
#include "cli/process_options.h"

struct exec_flags {
	struct process_options process;
	bool detach, privileged;
};

static const struct option_spec exec_flags[] = {
	OPT_FLAG("detach", 'd', struct exec_flags, detach, "leave it running and print the id"),
	OPT_FLAG("privileged", 0, struct exec_flags, privileged, "give it all capabilities"),
	OPT_END,
};

static int exec_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct exec_flags *flags = values;
	/* The configuration of a container, for its process alone: that has no init of its own. */
	CLEANUP(container_config_release) struct container_config config;
	struct stdio_options stdio = process_options_stdio(&flags->process);
	struct exec_options exec = {
		.arguments = args + 1,
		.process = &config.process,
		.detach = flags->detach,
		.privileged = flags->privileged,
	};
	struct engine *engine;
	int status = 0;
	int r;

	container_config_init(&config);
	cli->failure_status = CLI_STATUS_HULL_FAILED;
	r = process_options_apply(cli, &flags->process, &config.process, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r != 0)
		return r;
	r = engine_exec(engine, args[0], &exec, flags->detach ? NULL : &stdio, &status, err);
	if (r < 0)
		return attached_failure(cli, r, status);
	if (!flags->detach)
		return attached_status(status);
	printf("%s\n", args[0]);
	return CLI_STATUS_OK;
}

const struct command cmd_exec = {
	.name = "exec",
	.args = "CONTAINER COMMAND [ARG...]",
	.summary = "run a further program in a running container",
	.groups = (const struct option_group[]){ { NULL, exec_flags, 0 },
						 PROCESS_GROUP(struct exec_flags, process),
						 { 0 } },
	.options_size = sizeof(struct exec_flags),
	.min_args = 2,
	.max_args = ARGS_MANY,
	.options_first = true,
	.complete = COMPLETE_RUNNING,
	.run = exec_run,
};
