/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"

struct top_options {
	int format;
};

static const struct option_spec top_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct top_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

/* 1-02:03:04, without what is zero in front, as of ps(1). */
static char *duration_text(uint64_t seconds)
{
	unsigned long long s = seconds;

	if (s >= 86400)
		return xasprintf("%llu-%02llu:%02llu:%02llu", s / 86400, s / 3600 % 24, s / 60 % 60,
				 s % 60);
	return xasprintf("%02llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
}

static void add_number(struct table *table, uint32_t number)
{
	AUTO_FREE char *text = xasprintf("%" PRIu32, number);

	table_cell(table, text);
}

static void print_table(const struct process_list *list)
{
	static const char *const headings[] = {
		"PID", "PPID", "UID", "AGE", "CPU", "COMMAND", NULL
	};
	CLEANUP(table_freep) struct table *table = table_new(headings);

	for (size_t i = 0; i < list->count; i++) {
		const struct process_info *it = &list->items[i];
		AUTO_FREE char *age = duration_text(it->age_s);
		AUTO_FREE char *cpu = duration_text(it->cpu_ms / 1000);

		table_row(table);
		add_number(table, it->pid);
		add_number(table, it->parent);
		add_number(table, it->uid);
		table_cell(table, age);
		table_cell(table, cpu);
		table_cell(table, it->command);
	}
	table_print(table);
}

static int print_documents(const struct process_list *list, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	for (size_t i = 0; i < list->count; i++) {
		const struct process_info *it = &list->items[i];
		json_t *document = json_pack(
			"{s:I, s:I, s:I, s:I, s:I}", "pid", (json_int_t)it->pid, "parentPid",
			(json_int_t)it->parent, "uid", (json_int_t)it->uid, "ageSeconds",
			(json_int_t)it->age_s, "cpuMilliseconds", (json_int_t)it->cpu_ms);

		json_set_string(document, "command", it->command);
		json_array_append_new(documents, document);
	}
	return output_document(format, documents, false, err);
}

static int top_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct top_options *options = values;
	CLEANUP(process_list_release) struct process_list list = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_top(engine, args[0], &list, err);
	if (r < 0)
		return r;
	if (options->format != OUTPUT_TABLE)
		return print_documents(&list, (enum output_format)options->format, err);
	print_table(&list);
	return CLI_STATUS_OK;
}

const struct command cmd_top = {
	.name = "top",
	.args = "CONTAINER",
	.summary = "list the processes of a running container",
	.groups = (const struct option_group[]){ { NULL, top_options, 0 }, { 0 } },
	.options_size = sizeof(struct top_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_RUNNING,
	.run = top_run,
};
