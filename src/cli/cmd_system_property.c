/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/facts.h"

struct property_options {
	int format;
};

static const struct option_spec property_options[] = {
	OPT_CHOICE("format", 0, output_format_names, struct property_options, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void set_list(json_t *facts, const char *name, char *const *texts)
{
	AUTO_SBUF struct sbuf text = { 0 };

	STRV_EACH (texts, it)
		sbuf_addf(&text, "%s%s", text.length ? " " : "", *it);
	json_set_string(facts, name, str_or(text.text, ""));
}

static int property_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	static const char *const headings[] = { "PROPERTY", "VALUE", NULL };
	const struct property_options *options = values;
	AUTO_JSON json_t *facts = json_object();
	const struct engine_config *config;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r < 0)
		return r;
	config = engine_get_config(engine);
	json_object_set_new(facts, "container.cpus", json_integer(config->cpus));
	json_object_set_new(facts, "container.memory",
			    json_integer((json_int_t)config->memory_bytes));
	json_set_string(facts, "kernel.path", str_or(config->kernel_path, ""));
	json_set_string(facts, "registry.default", config->registry_default);
	set_list(facts, "registry.insecure", config->registry_insecure);
	set_list(facts, "registry.mirrors", config->registry_mirrors);
	json_set_string(facts, "vm.accel", config->accel);
	json_set_string(facts, "vm.qemu", str_or(config->qemu, ""));
	json_set_string(facts, "vm.template", config->template ? "on" : "off");
	json_set_string(facts, "vm.image-templates", config->image_templates ? "on" : "off");
	return facts_print(headings, facts, (enum output_format)options->format, err);
}

const struct command cmd_system_property_list = {
	.name = "list",
	.aliases = { "ls" },
	.summary = "list the settings of the configuration file, with the defaults of the others",
	.groups = (const struct option_group[]){ { NULL, property_options, 0 }, { 0 } },
	.options_size = sizeof(struct property_options),
	.run = property_run,
};
