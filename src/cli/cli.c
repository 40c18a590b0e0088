/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/help.h"
#include "cli/options.h"
#include "config.h"

void cli_release(struct cli *cli)
{
	if (cli->engine)
		engine_close(cli->engine);
	cli->engine = NULL;
	cli->progress = progress_free(cli->progress);
}

int cli_engine(struct cli *cli, struct engine **ret_engine, struct err *err)
{
	int r;

	if (!cli->engine) {
		struct engine_ui ui;

		if (!cli->progress)
			cli->progress = progress_new(cli->progress_mode, !cli->no_color);
		ui = progress_ui(cli->progress);
		r = engine_open(&cli->options, &ui, &cli->engine, err);
		if (r < 0)
			return r;
		log_timeline("engine opened");
	}
	*ret_engine = cli->engine;
	return 0;
}

int cli_usage(struct cli *cli, struct err *err, const char *format, ...)
{
	char message[ERR_MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	cli->usage_error = true;
	return err_set(err, -EINVAL, "%s", message);
}

int cli_as_usage(struct cli *cli, int r)
{
	cli->usage_error |= r < 0;
	return r;
}

void cli_report(struct cli *cli, const struct err *err)
{
	progress_finish(cli->progress);
	if (err->message[0])
		fprintf(stderr, "Error: %s\n", err->message);
	else
		fprintf(stderr, "Error: %s\n", strerror(-err->code));
	log_debug("the error's code is %d (%s)", err->code, strerror(-err->code));
}

void cli_warn(struct cli *cli, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	progress_finish(cli->progress);
	fprintf(stderr, "Warning: %s\n", str_or(text, "?"));
}

int cli_each(struct cli *cli, char *const *targets, cli_target_fn fn, const void *options)
{
	int status = CLI_STATUS_OK;

	STRV_EACH (targets, it) {
		struct err err = { 0 };
		int r = fn(cli, options, *it, &err);

		if (r < 0) {
			err.code = r;
			fflush(stdout);
			cli_report(cli, &err);
			status = CLI_STATUS_FAILURE;
		}
	}
	return status;
}

int cli_inspect(struct cli *cli, char *const *targets, cli_target_fn fn, enum output_format format,
		struct err *err)
{
	AUTO_JSON json_t *documents = json_array();
	struct engine *engine;
	int status;
	int r = cli_engine(cli, &engine, err);

	if (r < 0)
		return r;
	status = cli_each(cli, targets, fn, &documents);
	r = output_document(format, documents, true, err);
	return r < 0 ? r : status;
}

bool cli_fits_any(const struct container *container)
{
	return true;
}

bool cli_fits_active(const struct container *container)
{
	return container->state == CONTAINER_RUNNING || container->state == CONTAINER_PAUSED ||
	       container->state == CONTAINER_STOPPING;
}

int cli_containers(struct cli *cli, bool all, char *const *args, cli_fits_fn fits, char ***ret_ids,
		   struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	struct engine *engine;
	int r;

	if (all && *args)
		return cli_usage(
			cli, err,
			"explicitly supplied container ID(s) conflict with the --all flag");
	if (!all && !*args)
		return cli_usage(cli, err, "no containers specified and --all not supplied");
	if (!all) {
		*ret_ids = strv_copy(args);
		return 0;
	}
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_list(engine, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		if (fits(list.items[i]))
			strv_push(ret_ids, list.items[i]->config.id);
	return 0;
}

void cli_print_pruned(const struct prune_result *result)
{
	AUTO_FREE char *size =
		result->reclaimed_bytes ? str_size(result->reclaimed_bytes) : xstrdup("Zero KB");

	STRV_EACH (result->removed, it)
		printf("%s\n", *it);
	fflush(stdout);
	fprintf(stderr, "Reclaimed %s in disk space\n", size);
}

static void print_help(const struct command_path *path)
{
	AUTO_SBUF struct sbuf text = { 0 };

	help_render(path, &text);
	fputs(text.text, stdout);
}

/* The error with what is right instead, for errors of usage. */
static int fail(struct cli *cli, const struct command_path *path, const struct err *err)
{
	cli_report(cli, err);
	if (cli->usage_error) {
		AUTO_FREE char *usage = help_usage(path);

		fprintf(stderr, "%s\n", usage);
		return CLI_STATUS_USAGE;
	}
	return cli->failure_status;
}

static int check_arguments(struct cli *cli, const struct command *command, char **args,
			   struct err *err)
{
	int count = (int)strv_count(args);

	if (count < command->min_args)
		return cli_usage(cli, err, "'%s' needs %s%s", command->name,
				 count ? "more arguments: " : "", command->args);
	if (command->max_args != ARGS_MANY && count > command->max_args)
		return cli_usage(cli, err, "unexpected argument '%s'", args[command->max_args]);
	return 0;
}

static void apply_common(struct cli *cli, const struct common_options *common)
{
	if (common->root)
		cli->options.root = common->root;
	if (common->debug) {
		cli->options.debug = true;
		log_init("hull", LOG_LEVEL_DEBUG);
	}
}

static int run_command(struct cli *cli, const struct command_path *path, int argc, char **argv)
{
	const struct command *command = command_path_last(path);
	AUTO_FREE void *values = xcalloc(1, command->options_size + 1);
	struct common_options common = { 0 };
	struct err err = { 0 };
	int first = 0;
	int r;

	options_init(command, values);
	r = options_parse(command, argc, argv, values, &common, &first, &err);
	if (r < 0) {
		cli->usage_error = true;
	} else if (common.help) {
		print_help(path);
	} else {
		apply_common(cli, &common);
		log_timeline("words understood");
		r = check_arguments(cli, command, argv + first, &err);
		if (r == 0)
			r = command->run(cli, values, argv + first, &err);
	}
	options_release(command, values);
	if (r < 0) {
		err.code = r;
		return fail(cli, path, &err);
	}
	return r;
}

static int unknown_command(struct cli *cli, const struct command_path *path, const char *word)
{
	const char *hint = command_path_hint(path, word);
	struct err err = { 0 };

	if (hint)
		cli_usage(cli, &err, "unknown command '%s'; did you mean '%s'?", word, hint);
	else
		cli_usage(cli, &err, "unknown command '%s'", word);
	return fail(cli, path, &err);
}

/* Goes down the tree of commands word by word. */
static int dispatch(struct cli *cli, int argc, char **argv)
{
	struct command_path path = { { &command_root }, 1 };

	while (command_path_last(&path)->subcommands) {
		struct common_options common = { 0 };
		struct err err = { 0 };
		int first = 0;

		if (options_parse(command_path_last(&path), argc, argv, NULL, &common, &first,
				  &err) < 0) {
			cli->usage_error = true;
			return fail(cli, &path, &err);
		}
		apply_common(cli, &common);
		if (common.version) {
			printf("hull %s\n", HULL_VERSION);
			return CLI_STATUS_OK;
		}
		if (common.help || first >= argc) {
			print_help(&path);
			return CLI_STATUS_OK;
		}
		if (!command_path_descend(&path, argv[first]))
			return unknown_command(cli, &path, argv[first]);
		argc -= first;
		argv += first;
	}
	return run_command(cli, &path, argc, argv);
}

int cli_main(struct cli *cli, int argc, char **argv)
{
	int status;

	cli->failure_status = CLI_STATUS_FAILURE;
	status = dispatch(cli, argc, argv);
	progress_finish(cli->progress);
	/* A reader that has seen enough (`hull ls | head -1`) is no failure of ours to report. */
	if (fflush(stdout) == EOF && errno != EPIPE) {
		fprintf(stderr, "Error: cannot write the result: %s\n", strerror(errno));
		return status ? status : cli->failure_status;
	}
	return status;
}
