/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"

struct doctor_options {
	int format;
};

static const struct option_spec doctor_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct doctor_options, format,
		   "how to print it (default table)"),
	OPT_END,
};

static void print_text(const struct doctor_report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		const struct doctor_item *item = &report->items[i];

		printf("%-6s %s: %s\n",
		       item->broken   ? "[FAIL]"
		       : item->advice ? "[hint]"
				      : "[ok]",
		       item->name, item->finding);
		if (item->advice)
			printf("       -> %s\n", item->advice);
	}
}

static int print_documents(const struct doctor_report *report, enum output_format format,
			   struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	for (size_t i = 0; i < report->count; i++) {
		json_t *document = json_object();

		json_set_string(document, "name", report->items[i].name);
		json_set_string(document, "finding", report->items[i].finding);
		json_set_string(document, "advice", report->items[i].advice);
		json_object_set_new(document, "broken", json_boolean(report->items[i].broken));
		json_array_append_new(documents, document);
	}
	return output_document(format, documents, true, err);
}

static int doctor_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct doctor_options *options = values;
	CLEANUP(doctor_report_release) struct doctor_report report = { 0 };
	struct engine *engine;
	bool broken = false;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_doctor(engine, &report, err);
	progress_finish(cli->progress);
	if (r < 0)
		return r;
	if (options->format == OUTPUT_TABLE)
		print_text(&report);
	else
		r = print_documents(&report, (enum output_format)options->format, err);
	for (size_t i = 0; i < report.count; i++)
		broken |= report.items[i].broken;
	return r < 0 ? r : broken ? CLI_STATUS_FAILURE : CLI_STATUS_OK;
}

const struct command cmd_system_doctor = {
	.name = "doctor",
	.summary = "find out whether hull can work here, and what would make it faster",
	.groups = (const struct option_group[]){ { NULL, doctor_options, 0 }, { 0 } },
	.options_size = sizeof(struct doctor_options),
	.run = doctor_run,
};
