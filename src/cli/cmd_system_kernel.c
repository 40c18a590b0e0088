/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"

struct kernel_list_options {
	int format;
};

static const struct option_spec kernel_list_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct kernel_list_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static int print_documents(const struct kernel_list *kernels, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	for (size_t i = 0; i < kernels->count; i++) {
		json_t *document = json_object();

		json_set_string(document, "name", kernels->items[i].name);
		json_set_string(document, "path", kernels->items[i].path);
		json_set_string(document, "release", kernels->items[i].release);
		json_object_set_new(document, "active", json_boolean(kernels->items[i].active));
		json_array_append_new(documents, document);
	}
	return output_document(format, documents, false, err);
}

static int kernel_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	static const char *const headings[] = { "NAME", "RELEASE", "ACTIVE", "PATH", NULL };
	const struct kernel_list_options *options = values;
	CLEANUP(kernel_list_release) struct kernel_list kernels = { 0 };
	CLEANUP(table_freep) struct table *table = NULL;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_kernel_list(engine, &kernels, err);
	if (r < 0)
		return r;
	if (options->format != OUTPUT_TABLE)
		return print_documents(&kernels, (enum output_format)options->format, err);
	table = table_new(headings);
	for (size_t i = 0; i < kernels.count; i++) {
		table_row(table);
		table_cell(table, kernels.items[i].name);
		table_cell(table, kernels.items[i].release);
		table_cell(table, kernels.items[i].active ? "*" : NULL);
		table_cell(table, kernels.items[i].path);
	}
	table_print(table);
	return CLI_STATUS_OK;
}

const struct command cmd_system_kernel_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list the kernels that are here",
	.groups = (const struct option_group[]){ { NULL, kernel_list_options, 0 }, { 0 } },
	.options_size = sizeof(struct kernel_list_options),
	.run = kernel_list_run,
};

struct kernel_set_options {
	bool recommended;
	const char *modules;
};

static const struct option_spec kernel_set_options[] = {
	OPT_FLAG("recommended", 0, struct kernel_set_options, recommended,
		 "the one that came with hull"),
	OPT_STRING("modules", 0, "DIR", struct kernel_set_options, modules,
		   "take modules that it needs from its /lib/modules/RELEASE",
		   .complete = COMPLETE_FILES),
	OPT_END,
};

static int kernel_set_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct kernel_set_options *options = values;
	struct engine *engine;
	int r;

	if (options->recommended == (args[0] != NULL))
		return cli_usage(cli, err, "name either a kernel or '--recommended'");
	r = cli_engine(cli, &engine, err);
	return r < 0 ? r : engine_kernel_set(engine, args[0], options->modules, err);
}

const struct command cmd_system_kernel_set = {
	.name = "set",
	.args = "KERNEL | --recommended",
	.summary = "boot containers with this kernel (an ELF vmlinux or a bzImage) from now on",
	.groups = (const struct option_group[]){ { NULL, kernel_set_options, 0 }, { 0 } },
	.options_size = sizeof(struct kernel_set_options),
	.max_args = 1,
	.complete = COMPLETE_FILES,
	.run = kernel_set_run,
};
