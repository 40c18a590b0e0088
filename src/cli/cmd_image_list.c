/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/image_name.h"
#include "cli/output.h"
#include "cli/table.h"
#include "image/ref.h"

struct image_list_options {
	bool quiet, verbose;
	int format;
};

static const struct option_spec image_list_options[] = {
	OPT_FLAG("quiet", 'q', struct image_list_options, quiet, "print names alone"),
	OPT_FLAG("verbose", 'v', struct image_list_options, verbose,
		 "print a line for each platform"),
	OPT_CHOICE("format", 0, output_format_names, struct image_list_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void print_names(const struct image_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		AUTO_FREE char *name = image_ref_short(rows->items[i].reference);

		printf("%s\n", name);
	}
}

static void print_table(const struct image_rows *rows)
{
	static const char *const headings[] = { "NAME", "TAG", "DIGEST", NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);

	for (size_t i = 0; i < rows->count; i++) {
		CLEANUP(image_name_release)
		struct image_name name = image_name_of(rows->items[i].reference);
		AUTO_FREE char *digest = image_short_digest(rows->items[i].digest);

		table_row(table);
		table_cell(table, name.name);
		table_cell(table, name.tag);
		table_cell(table, digest);
	}
	table_print(table);
}

static void add_variants(struct table *table, const struct image_detail *detail)
{
	CLEANUP(image_name_release) struct image_name name = image_name_of(detail->row.reference);
	AUTO_FREE char *index = image_short_digest(detail->row.digest);

	for (size_t i = 0; i < detail->image_count; i++) {
		const struct image *image = detail->images[i];
		AUTO_FREE char *size = str_size(image->layers_size);
		AUTO_FREE char *manifest = image_short_digest(image->manifest.digest);

		table_row(table);
		table_cell(table, name.name);
		table_cell(table, name.tag);
		table_cell(table, index);
		table_cell(table, image->platform.os);
		table_cell(table, image->platform.architecture);
		table_cell(table, image->platform.variant);
		table_cell(table, size);
		table_cell(table, json_get_string(image->config, "created"));
		table_cell(table, manifest);
	}
}

/* Fills either; an image whose content is damaged is told of and left out. */
static void list_details(struct cli *cli, const struct image_rows *rows, struct table *table,
			 json_t *documents)
{
	for (size_t i = 0; i < rows->count; i++) {
		CLEANUP(image_detail_release) struct image_detail detail = { 0 };
		struct err err = { 0 };

		if (engine_image_get(cli->engine, rows->items[i].reference, &detail, &err) < 0) {
			cli_warn(cli, "%s", err.message);
			continue;
		}
		if (table)
			add_variants(table, &detail);
		else
			json_array_append_new(documents, document_of_image(&detail));
	}
}

static void print_verbose(struct cli *cli, const struct image_rows *rows)
{
	static const char *const headings[] = { "NAME",      "TAG",     "INDEX-DIGEST",
						"OS",        "ARCH",    "VARIANT",
						"FULL-SIZE", "CREATED", "MANIFEST-DIGEST",
						NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);

	list_details(cli, rows, table, NULL);
	table_print(table);
}

static int image_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct image_list_options *options = values;
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	AUTO_JSON json_t *documents = NULL;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_image_list(engine, &rows, err);
	if (r < 0)
		return r;
	if (options->quiet) {
		print_names(&rows);
	} else if (options->format != OUTPUT_TABLE) {
		documents = json_array();
		list_details(cli, &rows, NULL, documents);
		return output_document((enum output_format)options->format, documents, false, err);
	} else if (options->verbose) {
		print_verbose(cli, &rows);
	} else {
		print_table(&rows);
	}
	return CLI_STATUS_OK;
}

const struct command cmd_image_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list images",
	.groups = (const struct option_group[]){ { NULL, image_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct image_list_options),
	.run = image_list_run,
};
