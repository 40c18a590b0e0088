/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"

struct image_inspect_options {
	int format;
};

static const struct option_spec image_inspect_options[] = {
	OPT_CHOICE("format", 0, output_document_names, struct image_inspect_options, format,
		   "how to print it (default json)"),
	OPT_END,
};

static int image_inspect_one(struct cli *cli, const void *ctx, const char *reference,
			     struct err *err)
{
	json_t *const *documents = ctx;
	CLEANUP(image_detail_release) struct image_detail detail = { 0 };
	int r = engine_image_get(cli->engine, reference, &detail, err);

	if (r == 0)
		json_array_append_new(*documents, document_of_image(&detail));
	return r;
}

static int image_inspect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct image_inspect_options *options = values;

	return cli_inspect(cli, args, image_inspect_one,
			   OUTPUT_JSON + (enum output_format)options->format, err);
}

const struct command cmd_image_inspect = {
	.name = "inspect",
	.args = "IMAGE...",
	.summary = "show all that is known of images",
	.groups = (const struct option_group[]){ { NULL, image_inspect_options, 0 }, { 0 } },
	.options_size = sizeof(struct image_inspect_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_IMAGES,
	.run = image_inspect_run,
};
