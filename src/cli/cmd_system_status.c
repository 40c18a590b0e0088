/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/facts.h"
#include "config.h"

struct status_options {
	int format;
};

static const struct option_spec status_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct status_options, format,
		   "how to print it (default table)"),
	OPT_END,
};

static int status_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	static const char *const headings[] = { "FIELD", "VALUE", NULL };
	const struct status_options *options = values;
	CLEANUP(container_list_release) struct container_list containers = { 0 };
	CLEANUP(image_rows_release) struct image_rows images = { 0 };
	AUTO_JSON json_t *facts = json_object();
	struct engine *engine;
	json_int_t active = 0;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_list(engine, &containers, err);
	if (r == 0)
		r = engine_image_list(engine, &images, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < containers.count; i++)
		active += cli_fits_active(containers.items[i]);
	json_set_string(facts, "status", "ready");
	json_set_string(facts, "version", HULL_VERSION);
	json_set_string(facts, "root", engine_get_root(engine));
	json_set_string(facts, "run", engine_get_run(engine));
	json_object_set_new(facts, "containers", json_integer((json_int_t)containers.count));
	json_object_set_new(facts, "running", json_integer(active));
	json_object_set_new(facts, "images", json_integer((json_int_t)images.count));
	return facts_print(headings, facts, (enum output_format)options->format, err);
}

const struct command cmd_system_status = {
	.name = "status",
	.summary = "show where hull keeps things and what there is",
	.groups = (const struct option_group[]){ { NULL, status_options, 0 }, { 0 } },
	.options_size = sizeof(struct status_options),
	.run = status_run,
};
