/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/table.h"
#include "engine/network.h"
#include "image/ref.h"

struct list_options {
	bool all, quiet;
	int format;
	char **filters;
};

static const struct option_spec list_options[] = {
	OPT_FLAG("all", 'a', struct list_options, all, "list those that are not running too"),
	OPT_FLAG("quiet", 'q', struct list_options, quiet, "print ids alone"),
	OPT_CHOICE("format", 0, output_format_names, struct list_options, format,
		   "how to print them (default table)"),
	OPT_LIST("filter", 0, "KEY=VALUE", struct list_options, filters,
		 "list those that fit: name=TEXT, id=PREFIX, status=STATE, label=KEY[=VALUE], "
		 "ancestor=IMAGE, health=STATUS"),
	OPT_END,
};

/* --- filters --- */

typedef bool (*filter_fn)(const struct container *container, const char *value);

static bool filter_name(const struct container *container, const char *value)
{
	return strstr(container->config.id, value) != NULL;
}

static bool filter_id(const struct container *container, const char *value)
{
	return str_starts(container->config.id, value) || str_starts(container->uuid, value);
}

static bool filter_status(const struct container *container, const char *value)
{
	return str_eq(container_state_names[container->state], value);
}

static bool filter_health(const struct container *container, const char *value)
{
	return str_eq(container_health_names[container->health], value);
}

static bool filter_label(const struct container *container, const char *value)
{
	AUTO_STRV char **sides = str_split(value, '=', 2);
	const char *have = json_get_string(container->config.labels, sides[0]);

	return have && (!sides[1] || str_eq(have, sides[1]));
}

static bool filter_ancestor(const struct container *container, const char *value)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	AUTO_FREE char *text = NULL;

	if (image_ref_parse(value, NULL, &ref, NULL) < 0)
		return false;
	text = image_ref_text(&ref);
	return str_eq(container->config.image.reference, text);
}

static const struct {
	const char *key;
	filter_fn fits;
} filters[] = {
	{ "name", filter_name },         { "id", filter_id },
	{ "status", filter_status },     { "label", filter_label },
	{ "ancestor", filter_ancestor }, { "health", filter_health },
};

static filter_fn find_filter(const char *text, const char **ret_value)
{
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		const char *rest = str_after(text, filters[i].key);

		if (rest && *rest == '=') {
			*ret_value = rest + 1;
			return filters[i].fits;
		}
	}
	return NULL;
}

static bool is_listed(const struct container *container, const struct list_options *options)
{
	bool all = options->all;

	STRV_EACH (options->filters, it) {
		const char *value = "";
		filter_fn fits = find_filter(*it, &value);

		if (!fits(container, value))
			return false;
		all |= fits == filter_status; /* who asks for a state means it */
	}
	return all || cli_fits_active(container);
}

/* --- formats --- */

static void print_ports(struct table *table, const struct container_config *config)
{
	AUTO_SBUF struct sbuf text = { 0 };

	VEC_EACH (&config->ports, it) {
		sbuf_addf(&text, "%s%s:%u", text.length ? ", " : "", it->host_address,
			  it->host_port);
		if (it->count > 1)
			sbuf_addf(&text, "-%u", it->host_port + it->count - 1);
		sbuf_addf(&text, "->%u", it->container_port);
		if (it->count > 1)
			sbuf_addf(&text, "-%u", it->container_port + it->count - 1);
		sbuf_addf(&text, "/%s", it->proto);
	}
	table_cell(table, text.text);
}

/* In its first network; of one that runs. */
static void print_address(struct table *table, struct engine *engine,
			  const struct container *container)
{
	CLEANUP(attachment_list_release) struct attachment_list list = { 0 };
	AUTO_FREE char *address = NULL;

	if (cli_fits_active(container) &&
	    engine_container_networks(engine, container, &list, NULL) == 0 && list.count)
		address = xstrndup(list.items[0].ipv4_address,
				   strcspn(list.items[0].ipv4_address, "/"));
	table_cell(table, address);
}

static void print_state(struct table *table, const struct container *container)
{
	const char *state = container_state_names[container->state];

	if (container->held)
		table_cellf(table, "%s (disk full)", state);
	else if (container->health && cli_fits_active(container))
		table_cellf(table, "%s (%s)", state, container_health_names[container->health]);
	else
		table_cell(table, state);
}

static void print_table(struct engine *engine, const struct container_list *list)
{
	static const char *const headings[] = { "ID",   "IMAGE",  "OS",      "ARCH",  "STATE", "IP",
						"CPUS", "MEMORY", "STARTED", "PORTS", NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);

	for (size_t i = 0; i < list->count; i++) {
		const struct container *container = list->items[i];
		const struct container_config *config = &container->config;
		AUTO_FREE char *memory = str_size(config->memory_bytes);
		AUTO_FREE char *started =
			container->started_at ? str_time(container->started_at) : NULL;

		table_row(table);
		table_cell(table, config->id);
		table_cell(table, config->image.reference);
		table_cell(table, config->platform.os);
		table_cell(table, config->platform.architecture);
		print_state(table, container);
		print_address(table, engine, container);
		table_cellf(table, "%g",
			    config->cpu_percent ? config->cpu_percent / 100.0 : config->cpus);
		table_cell(table, memory);
		table_cell(table, started);
		print_ports(table, config);
	}
	table_print(table);
}

static int print_documents(struct engine *engine, const struct container_list *list,
			   enum output_format format, struct err *err)
{
	AUTO_JSON json_t *documents = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(documents, document_of_container(engine, list->items[i]));
	return output_document(format, documents, false, err);
}

static int list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct list_options *options = values;
	CLEANUP(container_list_release) struct container_list list = { 0 };
	const char *value;
	struct engine *engine;
	int r;

	STRV_EACH (options->filters, it)
		if (!find_filter(*it, &value))
			return cli_usage(cli, err, "unknown filter '%s'", *it);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_list(engine, &list, err);
	if (r < 0)
		return r;
	for (size_t i = list.count; i-- > 0;) {
		if (!is_listed(list.items[i], options)) {
			container_free(list.items[i]);
			VEC_REMOVE(&list, i);
		}
	}
	if (options->quiet)
		for (size_t i = 0; i < list.count; i++)
			printf("%s\n", list.items[i]->config.id);
	else if (options->format == OUTPUT_TABLE)
		print_table(engine, &list);
	else
		r = print_documents(engine, &list, (enum output_format)options->format, err);
	return r;
}

const struct command cmd_list = {
	.name = "list",
	.aliases = { "ls", "ps" },
	.summary = "list containers",
	.groups = (const struct option_group[]){ { NULL, list_options, 0 }, { 0 } },
	.options_size = sizeof(struct list_options),
	.run = list_run,
};
