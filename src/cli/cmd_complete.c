/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for shells: `hull __complete -- WORD...` prints what the last word may become, one a
 * line with a description after a tab, and ":files" where names of files belong. The scripts that
 * cmd_completion.c prints only carry words to here and candidates back, so that there is nothing in
 * them to fall behind the command table.
 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "engine/network.h"
#include "engine/volume.h"
#include "image/ref.h"

/* Where the last word stands. */
struct position {
	struct command_path path;
	const struct option_spec *option; /* the word is the value of this; or NULL */
	size_t arguments;                 /* of the command, before the word */
	bool beyond;                      /* the word belongs to the program in the container */
};

static void offer(const char *word, const char *prefix, const char *candidate,
		  const char *description)
{
	if (str_starts(candidate, word))
		printf("%s%s\t%s\n", prefix, candidate, str_or(description, ""));
}

static void offer_containers(struct cli *cli, const char *word, bool running)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	struct engine *engine;

	if (cli_engine(cli, &engine, NULL) < 0 || engine_list(engine, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < list.count; i++)
		if (!running || cli_fits_active(list.items[i]))
			offer(word, "", list.items[i]->config.id,
			      list.items[i]->config.image.reference);
}

static void offer_images(struct cli *cli, const char *word)
{
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	struct engine *engine;

	if (cli_engine(cli, &engine, NULL) < 0 || engine_image_list(engine, &rows, NULL) < 0)
		return;
	for (size_t i = 0; i < rows.count; i++) {
		AUTO_FREE char *name = image_ref_short(rows.items[i].reference);

		offer(word, "", name, NULL);
	}
}

static void offer_networks(struct cli *cli, const char *word)
{
	CLEANUP(network_list_release) struct network_list list = { 0 };
	struct engine *engine;

	if (cli_engine(cli, &engine, NULL) < 0 || engine_network_list(engine, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < list.count; i++)
		offer(word, "", list.items[i].name, network_mode(&list.items[i]));
}

static void offer_volumes(struct cli *cli, const char *word)
{
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	struct engine *engine;

	if (cli_engine(cli, &engine, NULL) < 0 || engine_volume_list(engine, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < list.count; i++)
		offer(word, "", list.items[i].name, volume_kind_names[list.items[i].kind]);
}

static void offer_snapshots(struct cli *cli, const char *word)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };
	struct engine *engine;

	if (cli_engine(cli, &engine, NULL) < 0 || engine_snapshot_list(engine, &list, NULL) < 0)
		return;
	VEC_EACH (&list, it)
		offer(word, "", it->name, it->config.id);
}

static void offer_kind(struct cli *cli, enum complete_kind kind, const char *word)
{
	switch (kind) {
	case COMPLETE_NOTHING:
		break;
	case COMPLETE_FILES:
		printf(":files\n");
		break;
	case COMPLETE_CONTAINERS:
	case COMPLETE_RUNNING:
		offer_containers(cli, word, kind == COMPLETE_RUNNING);
		break;
	case COMPLETE_IMAGES:
		offer_images(cli, word);
		break;
	case COMPLETE_NETWORKS:
		offer_networks(cli, word);
		break;
	case COMPLETE_VOLUMES:
		offer_volumes(cli, word);
		break;
	case COMPLETE_SNAPSHOTS:
		offer_snapshots(cli, word);
		break;
	}
}

static void offer_value(struct cli *cli, const struct option_spec *option, const char *prefix,
			const char *word)
{
	for (const char *const *it = option->choices; it && *it; it++)
		offer(word, prefix, *it, NULL);
	offer_kind(cli, option->complete, word);
}

static void offer_options(const struct option_spec *specs, const char *word)
{
	for (const struct option_spec *it = specs; it->name; it++) {
		AUTO_FREE char *name = xasprintf("--%s", it->name);
		AUTO_FREE char *letter = it->letter ? xasprintf("-%c", it->letter) : NULL;

		offer(word, "", name, it->help);
		if (letter && strlen(word) < 2)
			offer(word, "", letter, it->help);
	}
}

static void offer_commands(const struct command *group, const char *word)
{
	for (const struct command *const *it = group->subcommands; *it; it++)
		if (!(*it)->hidden)
			offer(word, "", (*it)->name, (*it)->summary);
}

/* Reads the words before the last. False when they make no sense. */
static bool locate(char *const *words, size_t count, struct position *position)
{
	*position = (struct position){ .path = { { &command_root }, 1 } };
	for (size_t i = 0; i < count; i++) {
		const struct command *command = command_path_last(&position->path);

		position->option = NULL;
		if (words[i][0] == '-' && words[i][1] && !position->beyond) {
			const struct option_spec *option = options_find(command, words[i]);

			if (!option || option->type == OPTION_FLAG || strchr(words[i], '='))
				continue;
			if (i + 1 == count)
				position->option = option;
			i++;
		} else if (!command->subcommands) {
			position->arguments++;
			position->beyond |= command->options_first;
		} else if (!command_path_descend(&position->path, words[i])) {
			return false;
		}
	}
	return true;
}

static void offer_word(struct cli *cli, const struct position *position, const char *word)
{
	const struct command *command = command_path_last(&position->path);
	const struct option_spec *option = options_find(command, word);
	const char *equals = strchr(word, '=');

	if (position->option) {
		offer_value(cli, position->option, "", word);
	} else if (position->beyond) {
		printf(":files\n");
	} else if (option && equals && str_starts(word, "--")) {
		AUTO_FREE char *prefix = xstrndup(word, (size_t)(equals - word) + 1);

		offer_value(cli, option, prefix, equals + 1);
	} else if (*word == '-') {
		for (const struct option_group *it = command->groups; it && it->options; it++)
			offer_options(it->options, word);
		offer_options(command == &command_root ? root_options : common_options, word);
	} else if (command->subcommands) {
		offer_commands(command, word);
	} else if (command->max_args == ARGS_MANY ||
		   position->arguments < (size_t)command->max_args) {
		offer_kind(cli, command->complete, word);
	}
}

static int complete_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	struct position position;
	size_t count = strv_count(args);

	cli->progress_mode = PROGRESS_NONE;
	if (locate(args, count - 1, &position))
		offer_word(cli, &position, args[count - 1]);
	return CLI_STATUS_OK;
}

const struct command cmd_complete = {
	.name = "__complete",
	.args = "WORD...",
	.summary = "print what the last word may become",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.options_first = true,
	.hidden = true,
	.run = complete_run,
};
