/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"

struct inspect_options {
	int format;
};

static const struct option_spec inspect_options[] = {
	OPT_CHOICE("format", 0, output_document_names, struct inspect_options, format,
		   "how to print it (default json)"),
	OPT_END,
};

static int inspect_one(struct cli *cli, const void *ctx, const char *id, struct err *err)
{
	json_t *const *documents = ctx;
	CLEANUP(container_freep) struct container *container = NULL;
	int r = engine_get(cli->engine, id, &container, err);

	if (r == 0)
		json_array_append_new(*documents, document_of_container(cli->engine, container));
	return r;
}

static int inspect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct inspect_options *options = values;

	return cli_inspect(cli, args, inspect_one,
			   OUTPUT_JSON + (enum output_format)options->format, err);
}

const struct command cmd_inspect = {
	.name = "inspect",
	.args = "CONTAINER...",
	.summary = "show all that is known of containers",
	.groups = (const struct option_group[]){ { NULL, inspect_options, 0 }, { 0 } },
	.options_size = sizeof(struct inspect_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_CONTAINERS,
	.run = inspect_run,
};
