/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "engine/volume.h"

struct volume_inspect_options {
	int format;
};

static const struct option_spec volume_inspect_options[] = {
	OPT_CHOICE("format", 0, output_document_names, struct volume_inspect_options, format,
		   "how to print it (default json)"),
	OPT_END,
};

static int volume_inspect_one(struct cli *cli, const void *ctx, const char *name, struct err *err)
{
	json_t *const *documents = ctx;
	CLEANUP(volume_release) struct volume volume = { 0 };
	AUTO_FREE char *source = NULL;
	int r = engine_volume_get(cli->engine, name, &volume, err);

	if (r < 0)
		return r;
	source = engine_volume_source(cli->engine, &volume);
	json_array_append_new(*documents, document_of_volume(&volume, source));
	return 0;
}

static int volume_inspect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct volume_inspect_options *options = values;

	return cli_inspect(cli, args, volume_inspect_one,
			   OUTPUT_JSON + (enum output_format)options->format, err);
}

const struct command cmd_volume_inspect = {
	.name = "inspect",
	.args = "VOLUME...",
	.summary = "show all that is known of volumes",
	.groups = (const struct option_group[]){ { NULL, volume_inspect_options, 0 }, { 0 } },
	.options_size = sizeof(struct volume_inspect_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_VOLUMES,
	.run = volume_inspect_run,
};
