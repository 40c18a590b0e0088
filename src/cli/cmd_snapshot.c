/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/table.h"

/* --- create --- */

struct snapshot_create_flags {
	const char *name;
	bool volumes;
};

static const struct option_spec snapshot_create_flags[] = {
	OPT_STRING("name", 0, "NAME", struct snapshot_create_flags, name,
		   "call it so (default: the container's name and a number)"),
	OPT_FLAG("volumes", 0, struct snapshot_create_flags, volumes,
		 "keep the volumes that it can write to, too"),
	OPT_END,
};

static int snapshot_create_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct snapshot_create_flags *flags = values;
	const struct snapshot_options options = { .container = args[0],
						  .name = flags->name,
						  .volumes = flags->volumes };
	AUTO_FREE char *name = NULL;
	struct engine *engine;
	int r = 0;

	if (flags->name && parse_container_name(flags->name, err) < 0)
		return cli_as_usage(cli, err->code);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_snapshot_create(engine, &options, &name, err);
	if (r < 0)
		return r;
	printf("%s\n", name);
	return CLI_STATUS_OK;
}

const struct command cmd_snapshot_create = {
	.name = "create",
	.args = "CONTAINER",
	.summary = "keep the state of a container",
	.description = "Of a running one its machine and disks, of another its disks. A running "
		       "one runs on.",
	.groups = (const struct option_group[]){ { NULL, snapshot_create_flags, 0 }, { 0 } },
	.options_size = sizeof(struct snapshot_create_flags),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_CONTAINERS,
	.run = snapshot_create_run,
};

/* --- list --- */

struct snapshot_list_flags {
	bool quiet;
	int format;
};

static const struct option_spec snapshot_list_flags[] = {
	OPT_FLAG("quiet", 'q', struct snapshot_list_flags, quiet, "print names alone"),
	OPT_CHOICE("format", 0, output_format_names, struct snapshot_list_flags, format,
		   "how to print them (default table)"),
	OPT_END,
};

static void print_row(struct engine *engine, struct table *table, const struct snapshot *snapshot)
{
	struct snapshot_usage usage;
	AUTO_FREE char *size = NULL;
	AUTO_FREE char *shared = NULL;
	AUTO_FREE char *created = str_time(snapshot->created_at);
	const json_t *parent = json_get_object(snapshot->parts, "parent");

	engine_snapshot_usage(engine, snapshot, &usage);
	size = str_size(usage.own_bytes);
	shared = str_size(usage.shared_bytes);
	table_row(table);
	table_cellf(table, "%.12s", snapshot->uuid);
	table_cell(table, snapshot->name);
	table_cell(table, snapshot->config.id);
	table_cell(table, snapshot->has_memory ? "running" : "stopped");
	table_cell(table, size);
	table_cell(table, created);
	table_cell(table, shared);
	table_cell(table, str_or(json_get_string(parent, "name"), ""));
}

static int print_list(struct engine *engine, const struct snapshot_list *list, int format,
		      const char *container, struct err *err)
{
	static const char *const headings[] = { "ID",      "NAME",   "CONTAINER", "STATE", "SIZE",
						"CREATED", "SHARED", "PARENT",    NULL };
	CLEANUP(table_freep) struct table *table = table_new(headings);
	AUTO_JSON json_t *documents = json_array();

	VEC_EACH (list, it) {
		struct snapshot_usage usage;

		if (container && !str_eq(it->config.id, container) &&
		    !str_eq(it->container_uuid, container))
			continue;
		if (format == OUTPUT_TABLE) {
			print_row(engine, table, it);
			continue;
		}
		engine_snapshot_usage(engine, it, &usage);
		json_array_append_new(documents, document_of_snapshot(it, &usage));
	}
	if (format != OUTPUT_TABLE)
		return output_document((enum output_format)format, documents, false, err);
	table_print(table);
	return CLI_STATUS_OK;
}

static int snapshot_list_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct snapshot_list_flags *flags = values;
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_snapshot_list(engine, &list, err);
	if (r < 0)
		return r;
	if (!flags->quiet)
		return print_list(engine, &list, flags->format, args[0], err);
	VEC_EACH (&list, it)
		if (!args[0] || str_eq(it->config.id, args[0]))
			printf("%s\n", it->name);
	return CLI_STATUS_OK;
}

const struct command cmd_snapshot_list = {
	.name = "list",
	.aliases = { "ls" },
	.args = "[CONTAINER]",
	.summary = "list snapshots",
	.groups = (const struct option_group[]){ { NULL, snapshot_list_flags, 0 }, { 0 } },
	.options_size = sizeof(struct snapshot_list_flags),
	.max_args = 1,
	.complete = COMPLETE_CONTAINERS,
	.run = snapshot_list_run,
};

/* --- inspect --- */

struct snapshot_inspect_flags {
	int format;
};

static const struct option_spec snapshot_inspect_flags[] = {
	OPT_CHOICE("format", 0, output_document_names, struct snapshot_inspect_flags, format,
		   "how to print it (default json)"),
	OPT_END,
};

static int inspect_one(struct cli *cli, const void *ctx, const char *name, struct err *err)
{
	json_t *const *documents = ctx;
	CLEANUP(snapshot_release) struct snapshot snapshot = { 0 };
	struct snapshot_usage usage;
	int r = engine_snapshot_get(cli->engine, name, &snapshot, &usage, err);

	if (r == 0)
		json_array_append_new(*documents, document_of_snapshot(&snapshot, &usage));
	return r;
}

static int snapshot_inspect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct snapshot_inspect_flags *flags = values;

	return cli_inspect(cli, args, inspect_one, OUTPUT_JSON + (enum output_format)flags->format,
			   err);
}

const struct command cmd_snapshot_inspect = {
	.name = "inspect",
	.args = "SNAPSHOT...",
	.summary = "show all that is known of snapshots",
	.groups = (const struct option_group[]){ { NULL, snapshot_inspect_flags, 0 }, { 0 } },
	.options_size = sizeof(struct snapshot_inspect_flags),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_SNAPSHOTS,
	.run = snapshot_inspect_run,
};

/* --- delete --- */

static int delete_one(struct cli *cli, const void *ctx, const char *name, struct err *err)
{
	AUTO_FREE char *deleted = NULL;
	int r = engine_snapshot_delete(cli->engine, name, &deleted, err);

	if (r == 0)
		printf("%s\n", deleted);
	return r;
}

static int snapshot_delete_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : cli_each(cli, args, delete_one, NULL);
}

const struct command cmd_snapshot_delete = {
	.name = "delete",
	.aliases = { "rm" },
	.args = "SNAPSHOT...",
	.summary = "delete snapshots; what was made from them stays",
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_SNAPSHOTS,
	.run = snapshot_delete_run,
};

/* --- restore --- */

struct snapshot_restore_flags {
	const char *name;
	bool in_place, disks_only;
};

static const struct option_spec snapshot_restore_flags[] = {
	OPT_STRING("name", 0, "NAME", struct snapshot_restore_flags, name,
		   "call the new container so instead of by a generated id"),
	OPT_FLAG("in-place", 0, struct snapshot_restore_flags, in_place,
		 "set the container itself back; what runs in it is killed"),
	OPT_FLAG("disks-only", 0, struct snapshot_restore_flags, disks_only,
		 "leave the memory: the container does not run"),
	OPT_END,
};

static int snapshot_restore_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct snapshot_restore_flags *flags = values;
	const struct restore_options options = { .snapshot = args[0],
						 .name = flags->name,
						 .in_place = flags->in_place,
						 .disks_only = flags->disks_only };
	AUTO_FREE char *id = NULL;
	struct engine *engine;
	int r;

	if (flags->name && flags->in_place)
		return cli_usage(cli, err, "'--name' conflicts with '--in-place'");
	if (flags->name && parse_container_name(flags->name, err) < 0)
		return cli_as_usage(cli, err->code);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_snapshot_restore(engine, &options, &id, err);
	if (r < 0)
		return r;
	printf("%s\n", id);
	return CLI_STATUS_OK;
}

const struct command cmd_snapshot_restore = {
	.name = "restore",
	.args = "SNAPSHOT",
	.summary = "make a container of a snapshot, running as it was then",
	.groups = (const struct option_group[]){ { NULL, snapshot_restore_flags, 0 }, { 0 } },
	.options_size = sizeof(struct snapshot_restore_flags),
	.min_args = 1,
	.max_args = 1,
	.complete = COMPLETE_SNAPSHOTS,
	.run = snapshot_restore_run,
};

/* --- all of them --- */

static const struct command *const snapshot_commands[] = {
	&cmd_snapshot_create, &cmd_snapshot_list,    &cmd_snapshot_inspect,
	&cmd_snapshot_delete, &cmd_snapshot_restore, NULL,
};

const struct command cmd_snapshot = {
	.name = "snapshot",
	.summary = "keep states of containers and go back to them",
	.max_args = ARGS_MANY,
	.options_first = true,
	.subcommands = snapshot_commands,
};
