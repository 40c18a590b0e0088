/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/attached.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run_options.h"

/* A container that never ran is of no use to anyone who only knows that `run` failed. */
static void remove_unstarted(struct engine *engine, const char *id, bool remove, int status)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_FREE char *removed = NULL;

	if (engine_get(engine, id, &container, NULL) < 0)
		return;
	if (!container->started_at || status == CLI_STATUS_NOT_FOUND ||
	    status == CLI_STATUS_NOT_EXECUTABLE || remove)
		engine_delete(engine, id, remove, false, &removed, NULL);
}

/* A warm start: what the snapshot holds has been started long ago. */
static int run_snapshot(struct cli *cli, const struct run_options *options, const char *snapshot,
			struct err *err)
{
	const struct restore_options restore = { .snapshot = snapshot,
						 .name = options->name,
						 .remove = options->remove,
						 .must_run = true };
	struct stdio_options stdio = process_options_stdio(&options->process);
	AUTO_FREE char *id = NULL;
	struct engine *engine;
	int status = 0;
	int r = cli_engine(cli, &engine, err);

	if (r == 0)
		r = engine_snapshot_restore(engine, &restore, &id, err);
	if (r < 0)
		return r;
	if (options->detach) {
		printf("%s\n", id);
		return CLI_STATUS_OK;
	}
	stdio.terminal = true; /* if the container has one */
	r = engine_attach(engine, id, &stdio, &status, err);
	return r < 0 ? r : attached_status(status);
}

/* An image that goes on from a snapshot. */
static int run_warm(struct cli *cli, const struct run_options *options, char **args,
		    const char *snapshot, struct err *err)
{
	const struct option_spec *cold = options_first_colder(&cmd_run, options, WARM_FIND);

	if (args[1])
		return err_set(err, -EINVAL,
			       "image %s goes on from a snapshot, whose program runs already: it "
			       "takes no other",
			       args[0]);
	if (cold)
		return err_set(err, -EINVAL,
			       "image %s goes on from a snapshot, whose program runs already: "
			       "'--%s' cannot be chosen",
			       args[0], cold->name);
	return run_snapshot(cli, options, snapshot, err);
}

static int run_saved(struct cli *cli, const struct run_options *options, struct err *err)
{
	const struct option_spec *cold = options_first_colder(&cmd_run, options, WARM);

	if (cold)
		return err_set(err, -EINVAL,
			       "snapshot %s goes on as it was saved: '--%s' cannot be chosen",
			       options->snapshot, cold->name);
	return run_snapshot(cli, options, options->snapshot, err);
}

static int run_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct run_options *options = values;
	struct stdio_options stdio = process_options_stdio(&options->process);
	AUTO_FREE char *id = NULL;
	AUTO_FREE char *snapshot = NULL;
	int status = 0;
	int r;

	if (options->snapshot && *args)
		return cli_usage(cli, err, "'--snapshot' takes no image and no program");
	if (!options->snapshot && !*args)
		return cli_usage(cli, err, "'run' needs IMAGE [ARG...]");
	cli->failure_status = CLI_STATUS_HULL_FAILED;
	if (options->snapshot)
		return run_saved(cli, options, err);
	r = run_options_create(cli, options, args, &id, &snapshot, err);
	if (r < 0)
		return r;
	if (snapshot)
		return run_warm(cli, options, args, snapshot, err);
	r = engine_start(cli->engine, id, options->detach ? NULL : &stdio, &status, err);
	log_timeline("engine is done");
	if (r < 0) {
		remove_unstarted(cli->engine, id, options->remove, status);
		return attached_failure(cli, r, status);
	}
	if (!options->detach)
		return attached_status(status);
	printf("%s\n", id);
	return CLI_STATUS_OK;
}

const struct command cmd_run = {
	.name = "run",
	.args = "IMAGE [ARG...] | --snapshot SNAPSHOT",
	.summary = "run a program of an image in a new container",
	.groups = run_groups,
	.options_size = sizeof(struct run_options),
	.max_args = ARGS_MANY,
	.options_first = true,
	.complete = COMPLETE_IMAGES,
	.run = run_run,
};
