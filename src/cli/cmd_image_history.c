/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "image/platform.h"

struct history_options {
	const char *platform;
	int format;
};

static const struct option_spec history_options[] = {
	OPT_STRING("platform", 0, "OS/ARCH[/VARIANT]", struct history_options, platform,
		   "of the image for this platform"),
	OPT_CHOICE("format", 0, output_format_names, struct history_options, format,
		   "how to print it (default table)"),
	OPT_END,
};

/* The image for the platform asked for, else the host's, else the first; NULL with err set. */
static const struct image *choose_image(const struct image_detail *detail, const char *asked,
					struct err *err)
{
	struct platform wanted = platform_host();
	AUTO_FREE char *text = NULL;

	if (asked && platform_parse(asked, &wanted, err) < 0)
		return NULL;
	for (size_t i = 0; i < detail->image_count; i++)
		if (platform_matches(&wanted, &detail->images[i]->platform))
			return detail->images[i];
	if (!asked && detail->image_count)
		return detail->images[0];
	text = platform_text(&wanted);
	err_set(err, -ENOENT, "image '%s' has no content for platform %s", detail->row.reference,
		text);
	return NULL;
}

/* The steps, newest first, each with the compressed size of the layer that it made. */
static json_t *steps_of(const struct image *image, const json_t *manifest)
{
	const json_t *layers = json_get_array(manifest, "layers");
	json_t *steps = json_array();
	size_t layer = 0;
	size_t i;
	json_t *entry;

	json_array_foreach (json_get_array(image->config, "history"), i, entry) {
		json_t *step = json_object();
		int64_t size = 0;

		if (!json_get_bool(entry, "empty_layer", false))
			size = json_get_int(json_array_get(layers, layer++), "size", 0);
		json_set_string(step, "created", json_get_string(entry, "created"));
		json_set_string(step, "createdBy", json_get_string(entry, "created_by"));
		json_set_string(step, "comment", json_get_string(entry, "comment"));
		json_object_set_new(step, "size", json_integer(size));
		json_array_insert_new(steps, 0, step);
	}
	return steps;
}

static void print_table(const json_t *steps)
{
	static const char *const headings[] = { "CREATED", "SIZE", "CREATED-BY", "COMMENT", NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);
	json_t *step;
	size_t i;

	json_array_foreach (steps, i, step) {
		AUTO_FREE char *size = str_size((uint64_t)json_get_int(step, "size", 0));
		AUTO_FREE char *by = xstrdup(str_or(json_get_string(step, "createdBy"), ""));

		err_sanitize(by);
		table_row(table);
		table_cell(table, json_get_string(step, "created"));
		table_cell(table, size);
		table_cell(table, by);
		table_cell(table, json_get_string(step, "comment"));
	}
	table_print(table);
}

static int history_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct history_options *options = values;
	CLEANUP(image_detail_release) struct image_detail detail = { 0 };
	const struct image *image;
	AUTO_JSON json_t *manifest = NULL;
	AUTO_JSON json_t *steps = NULL;
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_image_get(engine, args[0], &detail, err);
	if (r < 0)
		return r;
	image = choose_image(&detail, options->platform, err);
	if (!image)
		return err->code;
	r = content_read_json(engine_get_root(engine), image->manifest.digest, &manifest, err);
	if (r < 0)
		return r;
	steps = steps_of(image, manifest);
	if (options->format != OUTPUT_TABLE)
		return output_document((enum output_format)options->format, steps, false, err);
	print_table(steps);
	return CLI_STATUS_OK;
}

const struct command cmd_image_history = {
	.name = "history",
	.args = "IMAGE",
	.summary = "show the steps that made an image",
	.groups = (const struct option_group[]){ { NULL, history_options, 0 }, { 0 } },
	.options_size = sizeof(struct history_options),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_IMAGES,
	.run = history_run,
};
