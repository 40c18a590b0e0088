/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <ctype.h>

#include "base/cleanup.h"
#include "cli/options.h"

#define LEFT_COLUMNS_MAX 34

char *help_usage(const struct command_path *path)
{
	const struct command *command = command_path_last(path);
	AUTO_FREE char *words = command_path_text(path);
	AUTO_SBUF struct sbuf text = { 0 };

	sbuf_addf(&text, "Usage: %s [OPTIONS]", words);
	if (command->args)
		sbuf_addf(&text, " %s", command->args);
	else if (command->subcommands)
		sbuf_add(&text, " COMMAND");
	return sbuf_take(&text);
}

/* Adds text broken at spaces, each line but the first after `indent` spaces; the cursor is there.
 */
static void add_wrapped(struct sbuf *out, size_t indent, const char *text)
{
	size_t column = indent;

	while (*text) {
		size_t length = strcspn(text, " ");

		if (column > indent && column + 1 + length > HELP_COLUMNS) {
			sbuf_addf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			sbuf_add(out, " ");
			column++;
		}
		sbuf_add_bytes(out, text, length);
		column += length;
		text += length;
		text += strspn(text, " ");
	}
	sbuf_add(out, "\n");
}

static void add_row(struct sbuf *out, const char *left, size_t width, const char *right)
{
	sbuf_addf(out, "  %-*s", (int)width, left);
	if (strlen(left) > width)
		sbuf_addf(out, "\n  %*s", (int)width, "");
	sbuf_add(out, "  ");
	add_wrapped(out, width + 4, right);
}

/* "-m, --memory SIZE". */
static char *option_left(const struct option_spec *spec)
{
	AUTO_SBUF struct sbuf text = { 0 };

	if (spec->letter)
		sbuf_addf(&text, "-%c, ", spec->letter);
	sbuf_addf(&text, "--%s", spec->name);
	if (spec->alias)
		sbuf_addf(&text, ", --%s", spec->alias);
	if (spec->value)
		sbuf_addf(&text, " %s", spec->value);
	for (int i = 0; spec->choices && spec->choices[i]; i++)
		sbuf_addf(&text, "%s%s", i ? "|" : " ", spec->choices[i]);
	return sbuf_take(&text);
}

static size_t options_width(const struct option_spec *specs, size_t width)
{
	for (const struct option_spec *it = specs; it->name; it++) {
		AUTO_FREE char *left = option_left(it);

		if (strlen(left) > width && strlen(left) <= LEFT_COLUMNS_MAX)
			width = strlen(left);
	}
	return width;
}

static void add_options(struct sbuf *out, const char *title, const struct option_spec *specs,
			size_t width)
{
	sbuf_addf(out, "\n%s:\n", title);
	for (const struct option_spec *it = specs; it->name; it++) {
		AUTO_FREE char *left = option_left(it);

		add_row(out, left, width, it->help);
	}
}

static char *command_left(const struct command *command)
{
	AUTO_SBUF struct sbuf text = { 0 };

	sbuf_add(&text, command->name);
	for (size_t i = 0; i < COMMAND_ALIASES_MAX && command->aliases[i]; i++)
		sbuf_addf(&text, ", %s", command->aliases[i]);
	return sbuf_take(&text);
}

static void add_commands(struct sbuf *out, const struct command *group)
{
	size_t width = 0;

	for (const struct command *const *it = group->subcommands; *it; it++) {
		AUTO_FREE char *left = command_left(*it);

		if (!(*it)->hidden && strlen(left) > width)
			width = strlen(left);
	}
	sbuf_add(out, "\nCommands:\n");
	for (const struct command *const *it = group->subcommands; *it; it++) {
		AUTO_FREE char *left = command_left(*it);

		if (!(*it)->hidden)
			add_row(out, left, width, (*it)->summary);
	}
}

void help_render(const struct command_path *path, struct sbuf *out)
{
	const struct command *command = command_path_last(path);
	const struct option_spec *common = command == &command_root ? root_options : common_options;
	AUTO_FREE char *usage = help_usage(path);
	size_t width = options_width(common, 0);

	sbuf_addf(out, "%s\n\n%c%s.\n", usage, toupper((unsigned char)command->summary[0]),
		  command->summary + 1);
	if (command->description) {
		sbuf_add(out, "\n");
		add_wrapped(out, 0, command->description);
	}
	if (command->subcommands)
		add_commands(out, command);
	for (const struct option_group *it = command->groups; it && it->options; it++)
		width = options_width(it->options, width);
	for (const struct option_group *it = command->groups; it && it->options; it++)
		add_options(out, str_or(it->title, "Options"), it->options, width);
	add_options(out, "Common options", common, width);
}
