/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "engine/registry.h"

struct registry_list_options {
	bool quiet;
	int format;
};

static const struct option_spec registry_list_options[] = {
	OPT_FLAG("quiet", 'q', struct registry_list_options, quiet, "print hosts alone"),
	OPT_CHOICE("format", 0, output_format_names, struct registry_list_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void print_table(const struct login_list *list)
{
	static const char *const headings[] = { "HOSTNAME", "USERNAME", "MODIFIED", "CREATED",
						NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);

	VEC_EACH (list, it) {
		AUTO_FREE char *modified = it->modified_at ? str_time(it->modified_at) : NULL;
		AUTO_FREE char *created = it->created_at ? str_time(it->created_at) : NULL;

		table_row(table);
		table_cell(table, it->host);
		table_cell(table, it->username);
		table_cell(table, modified);
		table_cell(table, created);
	}
	table_print(table);
}

static int print_documents(const struct login_list *list, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	VEC_EACH (list, it) {
		AUTO_FREE char *modified = it->modified_at ? str_time(it->modified_at) : NULL;
		AUTO_FREE char *created = it->created_at ? str_time(it->created_at) : NULL;
		json_t *document = json_object();

		json_set_string(document, "hostname", it->host);
		json_set_string(document, "username", it->username);
		json_set_string(document, "modificationDate", modified);
		json_set_string(document, "creationDate", created);
		json_array_append_new(documents, document);
	}
	return output_document(format, documents, false, err);
}

static int registry_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct registry_list_options *options = values;
	CLEANUP(login_list_release) struct login_list list = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_registry_list(engine, &list, err);
	if (r < 0)
		return r;
	if (options->quiet) {
		VEC_EACH (&list, it)
			printf("%s\n", it->host);
	} else if (options->format == OUTPUT_TABLE) {
		print_table(&list);
	} else {
		r = print_documents(&list, (enum output_format)options->format, err);
	}
	return r;
}

const struct command cmd_registry_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list the registries that we are logged in to",
	.groups = (const struct option_group[]){ { NULL, registry_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct registry_list_options),
	.run = registry_list_run,
};
