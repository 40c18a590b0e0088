/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"

struct diff_options {
	int format;
};

static const struct option_spec diff_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct diff_options, format,
		   "table (default), json or yaml"),
	OPT_END,
};

/* Names may hold any bytes, documents only text. */
static json_t *text_json(const char *path)
{
	json_t *json = json_string(path);

	if (json)
		return json;
	AUTO_FREE char *copy = xstrdup(path);

	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(copy);
}

static int print_document(enum output_format format, const struct change_list *list,
			  struct err *err)
{
	AUTO_JSON json_t *json = json_array();

	VEC_EACH (list, it)
		json_array_append_new(json, json_pack("{s:s#, s:o}", "kind", &it->kind, 1, "path",
						      text_json(it->path)));
	return output_document(format, json, false, err);
}

static int diff_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct diff_options *options = values;
	CLEANUP(change_list_release) struct change_list list = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_diff(engine, args[0], &list, err);
	if (r < 0)
		return r;
	if (options->format != OUTPUT_TABLE)
		return print_document((enum output_format)options->format, &list, err);
	VEC_EACH (&list, it) {
		err_sanitize(it->path);
		printf("%c %s\n", it->kind, it->path);
	}
	return CLI_STATUS_OK;
}

const struct command cmd_diff = {
	.name = "diff",
	.args = "CONTAINER",
	.summary = "list what a container has added (A), changed (C) and deleted (D)",
	.groups = (const struct option_group[]){ { NULL, diff_options, 0 }, { 0 } },
	.options_size = sizeof(struct diff_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_CONTAINERS,
	.run = diff_run,
};
