/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/version.h"
#include "config.h"

struct version_options {
	int format;
};

static const struct option_spec version_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct version_options, format,
		   "how to print it (default table)"),
	OPT_END,
};

static int version_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	static const char *const headings[] = { "COMPONENT", "VERSION", "BUILD", "COMMIT", NULL };
	const struct version_options *options = values;
	CLEANUP(table_freep) struct table *table = NULL;
	AUTO_JSON json_t *documents = NULL;

	if (options->format != OUTPUT_TABLE) {
		documents = json_pack("[{s:s, s:s, s:s, s:s}]", "component", "hull", "version",
				      HULL_VERSION, "build", HULL_BUILD, "commit", version_commit);
		return output_document((enum output_format)options->format, documents, false, err);
	}
	table = table_new(headings);
	table_row(table);
	table_cell(table, "hull");
	table_cell(table, HULL_VERSION);
	table_cell(table, HULL_BUILD);
	table_cell(table, version_commit);
	table_print(table);
	return CLI_STATUS_OK;
}

const struct command cmd_system_version = {
	.name = "version",
	.summary = "show the version",
	.groups = (const struct option_group[]){ { NULL, version_options, 0 }, { 0 } },
	.options_size = sizeof(struct version_options),
	.run = version_run,
};
