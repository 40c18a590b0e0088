/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <assert.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/hint.h"

static const struct command *const root_commands[] = {
	&cmd_run,     &cmd_create,   &cmd_start,  &cmd_stop,     &cmd_restart,  &cmd_kill,
	&cmd_delete,  &cmd_list,     &cmd_exec,   &cmd_copy,     &cmd_export,   &cmd_diff,
	&cmd_commit,  &cmd_attach,   &cmd_logs,   &cmd_inspect,  &cmd_stats,    &cmd_events,
	&cmd_top,     &cmd_wait,     &cmd_port,   &cmd_rename,   &cmd_update,   &cmd_pause,
	&cmd_unpause, &cmd_suspend,  &cmd_resume, &cmd_fork,     &cmd_snapshot, &cmd_prune,
	&cmd_image,   &cmd_network,  &cmd_volume, &cmd_registry, &cmd_system,   &cmd_completion,
	&cmd_help,    &cmd_complete, NULL,
};

const struct command command_root = {
	.name = "hull",
	.args = "COMMAND [ARG...]",
	.summary = "every Linux container in a lightweight VM of its own",
	.min_args = 0,
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = root_commands,
};

/* What docker and podman have at the top; understood, not listed. */
static const struct {
	const char *name;
	const struct command *group, *command;
} shortcuts[] = {
	{ "df", &cmd_system, &cmd_system_df },
	{ "history", &cmd_image, &cmd_image_history },
	{ "images", &cmd_image, &cmd_image_list },
	{ "import", &cmd_image, &cmd_image_import },
	{ "info", &cmd_system, &cmd_system_status },
	{ "load", &cmd_image, &cmd_image_load },
	{ "login", &cmd_registry, &cmd_registry_login },
	{ "logout", &cmd_registry, &cmd_registry_logout },
	{ "pull", &cmd_image, &cmd_image_pull },
	{ "push", &cmd_image, &cmd_image_push },
	{ "rmi", &cmd_image, &cmd_image_delete },
	{ "save", &cmd_image, &cmd_image_save },
	{ "tag", &cmd_image, &cmd_image_tag },
	{ "version", &cmd_system, &cmd_system_version },
};

static bool command_is(const struct command *command, const char *word)
{
	if (str_eq(command->name, word))
		return true;
	for (size_t i = 0; i < COMMAND_ALIASES_MAX; i++)
		if (command->aliases[i] && str_eq(command->aliases[i], word))
			return true;
	return false;
}

static void path_push(struct command_path *path, const struct command *command)
{
	assert(path->count < COMMAND_DEPTH_MAX);
	path->items[path->count++] = command;
}

bool command_path_descend(struct command_path *path, const char *word)
{
	const struct command *last = command_path_last(path);

	for (const struct command *const *it = last->subcommands; it && *it; it++) {
		if (command_is(*it, word)) {
			path_push(path, *it);
			return true;
		}
	}
	if (last != &command_root)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(shortcuts); i++) {
		if (str_eq(shortcuts[i].name, word)) {
			path_push(path, shortcuts[i].group);
			path_push(path, shortcuts[i].command);
			return true;
		}
	}
	return false;
}

const char *command_path_hint(const struct command_path *path, const char *word)
{
	const struct command *last = command_path_last(path);
	struct hint hint = hint_begin(word);

	for (const struct command *const *it = last->subcommands; it && *it; it++)
		if (!(*it)->hidden)
			hint_try(&hint, (*it)->name);
	return hint.best;
}

char *command_path_text(const struct command_path *path)
{
	AUTO_SBUF struct sbuf text = { 0 };

	for (size_t i = 0; i < path->count; i++)
		sbuf_addf(&text, "%s%s", i ? " " : "", path->items[i]->name);
	return sbuf_take(&text);
}
