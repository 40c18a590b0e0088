/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

enum events_format {
	EVENTS_TEXT,
	EVENTS_JSON,
};

static const char *const format_names[] = { "text", "json", NULL };

struct events_options {
	int format;
};

static const struct option_spec events_options[] = {
	OPT_CHOICE("format", 0, format_names, struct events_options, format,
		   "a line of text (default) or of JSON for each"),
	OPT_END,
};

static void print_text(const struct container_event *event, const char *when)
{
	const struct container *container = event->container;

	printf("%s container %s %s (image=%s", when, event->action, container->config.id,
	       container->config.image.reference);
	if (str_eq(event->action, "die") && container->has_exit_code)
		printf(", exitCode=%d", container->exit_code);
	if (str_eq(event->action, "health_status"))
		printf(", health=%s", container_health_names[container->health]);
	printf(")\n");
}

static void print_json(const struct container_event *event, const char *when)
{
	const struct container *container = event->container;
	AUTO_JSON json_t *document = json_object();
	AUTO_FREE char *text = NULL;

	json_set_string(document, "time", when);
	json_set_string(document, "action", event->action);
	json_set_string(document, "id", container->config.id);
	json_set_string(document, "image", container->config.image.reference);
	if (str_eq(event->action, "die") && container->has_exit_code)
		json_object_set_new(document, "exitCode", json_integer(container->exit_code));
	if (str_eq(event->action, "health_status"))
		json_set_string(document, "health", container_health_names[container->health]);
	text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
	printf("%s\n", text);
}

static int print_event(void *ctx, const struct container_event *event)
{
	const struct events_options *options = ctx;
	AUTO_FREE char *when = event ? str_time(event->time) : NULL;

	if (event && options->format == EVENTS_JSON)
		print_json(event, when);
	else if (event)
		print_text(event, when);
	return fflush(stdout) == EOF ? -errno : 0;
}

static int events_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_events(engine, print_event, (void *)values, err);
	return r == -EPIPE ? CLI_STATUS_OK : r;
}

const struct command cmd_events = {
	.name = "events",
	.summary = "tell what happens to containers, as it happens",
	.groups = (const struct option_group[]){ { NULL, events_options, 0 }, { 0 } },
	.options_size = sizeof(struct events_options),
	.run = events_run,
};
