/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/table.h"
#include "engine/volume.h"

struct volume_list_options {
	bool quiet;
	int format;
};

static const struct option_spec volume_list_options[] = {
	OPT_FLAG("quiet", 'q', struct volume_list_options, quiet, "print names alone"),
	OPT_CHOICE("format", 0, output_format_names, struct volume_list_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void print_options(struct table *table, const struct volume *volume)
{
	AUTO_SBUF struct sbuf text = { 0 };
	const char *name;
	json_t *value;

	json_object_foreach (volume->options, name, value)
		sbuf_addf(&text, "%s%s=%s", text.length ? "," : "", name, json_string_value(value));
	table_cell(table, text.text);
}

static void print_table(const struct volume_list *list)
{
	static const char *const headings[] = { "NAME", "TYPE", "DRIVER", "OPTIONS", NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);

	for (size_t i = 0; i < list->count; i++) {
		table_row(table);
		table_cell(table, list->items[i].name);
		table_cell(table, list->items[i].anonymous ? "anonymous" : "named");
		table_cell(table, "local");
		print_options(table, &list->items[i]);
	}
	table_print(table);
}

static int volume_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct volume_list_options *options = values;
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	AUTO_JSON json_t *documents = json_array();
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_volume_list(engine, &list, err);
	if (r < 0)
		return r;
	if (options->quiet) {
		for (size_t i = 0; i < list.count; i++)
			printf("%s\n", list.items[i].name);
		return CLI_STATUS_OK;
	}
	if (options->format == OUTPUT_TABLE) {
		print_table(&list);
		return CLI_STATUS_OK;
	}
	for (size_t i = 0; i < list.count; i++) {
		AUTO_FREE char *source = engine_volume_source(engine, &list.items[i]);

		json_array_append_new(documents, document_of_volume(&list.items[i], source));
	}
	return output_document((enum output_format)options->format, documents, false, err);
}

const struct command cmd_volume_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list volumes",
	.groups = (const struct option_group[]){ { NULL, volume_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct volume_list_options),
	.run = volume_list_run,
};
