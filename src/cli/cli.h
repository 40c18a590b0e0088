/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands share: the engine, opened when first asked for (so that help and wrong usage need
 * nothing), errors, targets. Results go to stdout, everything else to stderr.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "engine/engine.h"

enum cli_status {
	CLI_STATUS_OK = 0,
	CLI_STATUS_FAILURE = 1,
	CLI_STATUS_USAGE = 64,
	CLI_STATUS_HULL_FAILED = 125, /* of commands that return a process's status */
	CLI_STATUS_NOT_EXECUTABLE = 126,
	CLI_STATUS_NOT_FOUND = 127,
};

struct cli {
	struct engine_options options;
	char *const *environment; /* borrowed: of the process */
	bool no_color;
	int failure_status; /* what an error of the running command gives; CLI_STATUS_FAILURE at
			       first */
	bool usage_error;   /* the error is one of usage */
	enum progress_mode progress_mode; /* set before the engine is first asked for */
	struct progress *progress;        /* owned; NULL until then */
	struct engine *engine;            /* owned; NULL until then */
};

/* Does what the words say; returns the exit status. */
int cli_main(struct cli *cli, int argc, char **argv);
void cli_release(struct cli *cli);

/* Borrowed from cli. */
int cli_engine(struct cli *cli, struct engine **ret_engine, struct err *err);
/* An error of usage: sets err, returns -EINVAL. */
int cli_usage(struct cli *cli, struct err *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Makes the result of a check of words, if negative, an error of usage; returns it. */
int cli_as_usage(struct cli *cli, int r);
/* "Error: …" on stderr. */
void cli_report(struct cli *cli, const struct err *err);
void cli_warn(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Does fn for every target; failures are reported and do not keep the others from being tried.
 * Returns the exit status. */
typedef int (*cli_target_fn)(struct cli *cli, const void *options, const char *target,
			     struct err *err);
int cli_each(struct cli *cli, char *const *targets, cli_target_fn fn, const void *options);
/* Shows one document of all targets, indented: fn adds what it finds to the array, the json_t **
 * that its options are. The status of cli_each, or a negative errno. */
int cli_inspect(struct cli *cli, char *const *targets, cli_target_fn fn, enum output_format format,
		struct err *err);

/* The ids that a command is to act on: those of args or, with all, of every container that fits.
 * Naming both or neither is an error of usage. *ret_ids is owned by the caller. */
typedef bool (*cli_fits_fn)(const struct container *container);
int cli_containers(struct cli *cli, bool all, char *const *args, cli_fits_fn fits, char ***ret_ids,
		   struct err *err);
bool cli_fits_any(const struct container *container);
bool cli_fits_active(const struct container *container); /* its VM lives */

/* Other tools ask before they prune, and are told so in scripts not to. The member `force` of the
 * command's options is read by nobody. */
#define OPT_PRUNE_FORCE(container) \
	OPT_FLAG("force", 'f', container, force, "for scripts: nothing is asked anyway")

/* What a prune removed on stdout, what it gave back on stderr. */
void cli_print_pruned(const struct prune_result *result);

#endif
