/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/table.h"
#include "engine/network.h"

struct network_list_options {
	bool quiet;
	int format;
};

static const struct option_spec network_list_options[] = {
	OPT_FLAG("quiet", 'q', struct network_list_options, quiet, "print names alone"),
	OPT_CHOICE("format", 0, output_format_names, struct network_list_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void print_table(const struct network_list *list)
{
	static const char *const headings[] = { "NETWORK", "SUBNET", "MODE", NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);
	char subnet[SUBNET_TEXT_MAX];

	for (size_t i = 0; i < list->count; i++) {
		subnet_text(&list->items[i].subnet, subnet);
		table_row(table);
		table_cell(table, list->items[i].name);
		table_cell(table, subnet);
		table_cell(table, network_mode(&list->items[i]));
	}
	table_print(table);
}

static int print_documents(const struct network_list *list, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(documents, document_of_network(&list->items[i]));
	return output_document(format, documents, false, err);
}

static int network_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct network_list_options *options = values;
	CLEANUP(network_list_release) struct network_list list = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_network_list(engine, &list, err);
	if (r < 0)
		return r;
	if (options->quiet)
		for (size_t i = 0; i < list.count; i++)
			printf("%s\n", list.items[i].name);
	else if (options->format == OUTPUT_TABLE)
		print_table(&list);
	else
		r = print_documents(&list, (enum output_format)options->format, err);
	return r;
}

const struct command cmd_network_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list networks",
	.groups = (const struct option_group[]){ { NULL, network_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct network_list_options),
	.run = network_list_run,
};
