/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/table.h"

struct df_options {
	int format;
};

static const struct option_spec df_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct df_options, format,
		   "how to print it (default table)"),
	OPT_END,
};

#define KINDS 5

static int df_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	static const char *const headings[] = { "TYPE", "TOTAL",       "ACTIVE",
						"SIZE", "RECLAIMABLE", NULL };
	static const char *const titles[KINDS] = { "Images", "Containers", "Local Volumes",
						   "Snapshots", "Templates" };
	static const char *const names[KINDS] = { "images", "containers", "volumes", "snapshots",
						  "templates" };
	const struct df_options *options = values;
	CLEANUP(table_freep) struct table *table = NULL;
	AUTO_JSON json_t *document = NULL;
	struct system_usage usage = { 0 };
	const struct usage *kinds[KINDS] = { &usage.images, &usage.containers, &usage.volumes,
					     &usage.snapshots, &usage.templates };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_system_usage(engine, &usage, err);
	if (r < 0)
		return r;
	if (options->format != OUTPUT_TABLE) {
		document = json_object();
		for (int i = 0; i < KINDS; i++)
			json_object_set_new(document, names[i], document_of_usage(kinds[i]));
		return output_document((enum output_format)options->format, document, true, err);
	}
	table = table_new(headings);
	for (int i = 0; i < KINDS; i++) {
		AUTO_FREE char *size = str_size(kinds[i]->size_bytes);
		AUTO_FREE char *reclaimable = str_size(kinds[i]->reclaimable_bytes);

		table_row(table);
		table_cell(table, titles[i]);
		table_cellf(table, "%llu", (unsigned long long)kinds[i]->total);
		table_cellf(table, "%llu", (unsigned long long)kinds[i]->active);
		table_cell(table, size);
		table_cell(table, reclaimable);
	}
	table_print(table);
	return CLI_STATUS_OK;
}

const struct command cmd_system_df = {
	.name = "df",
	.summary = "show what takes how much space on disk",
	.groups = (const struct option_group[]){ { NULL, df_options, 0 }, { 0 } },
	.options_size = sizeof(struct df_options),
	.run = df_run,
};
