/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/process_options.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/parse.h"

#define ID_UNSET UINT32_MAX

const struct option_spec process_options[] = {
	OPT_LIST("env", 'e', "K[=V]", struct process_options, env,
		 "set a variable, or pass on our own of that name"),
	OPT_LIST("env-file", 0, "FILE", struct process_options, env_file,
		 "read variables from FILE, one K=V a line", .complete = COMPLETE_FILES),
	OPT_FLAG("interactive", 'i', struct process_options, interactive,
		 "keep its standard input open and feed it ours", .warmth = WARM),
	OPT_FLAG("tty", 't', struct process_options, tty, "give it a terminal", .warmth = WARM),
	OPT_STRING("user", 'u', "USER[:GROUP]", struct process_options, user,
		   "run as this user, by name or number"),
	OPT_U32("uid", 0, "UID", struct process_options, uid, "run as this user, by number",
		.initial = ID_UNSET),
	OPT_U32("gid", 0, "GID", struct process_options, gid, "run as this group, by number",
		.initial = ID_UNSET),
	OPT_STRING("workdir", 'w', "DIR", struct process_options, workdir, "start in DIR",
		   .alias = "cwd"),
	OPT_LIST("ulimit", 0, "TYPE=SOFT[:HARD]", struct process_options, ulimit,
		 "limit a resource: nofile=1024:2048, core=unlimited"),
	OPT_STRING("detach-keys", 0, "KEYS", struct process_options, detach_keys,
		   "what to type to leave it running (default ctrl-p,ctrl-q; empty: nothing)",
		   .warmth = WARM),
	OPT_END,
};

static int apply_user(struct cli *cli, const struct process_options *options,
		      struct process_config *process, struct err *err)
{
	bool numbers = options->uid != ID_UNSET || options->gid != ID_UNSET;

	if (options->user && numbers)
		return cli_usage(cli, err, "'--user' conflicts with '--uid' and '--gid'");
	if (options->user && !*options->user)
		return cli_usage(cli, err, "'--user' is empty");
	if (options->user)
		process->user = xstrdup(options->user);
	else if (options->gid != ID_UNSET)
		process->user = xasprintf("%u:%u", options->uid == ID_UNSET ? 0 : options->uid,
					  options->gid);
	else if (options->uid != ID_UNSET)
		process->user = xasprintf("%u", options->uid);
	return 0;
}

static int apply_environment(struct cli *cli, const struct process_options *options,
			     struct process_config *process, struct err *err)
{
	int r = 0;

	STRV_EACH (options->env_file, it) {
		r = env_file(&process->environment, *it, cli->environment, err);
		if (r < 0)
			return r;
	}
	STRV_EACH (options->env, it) {
		r = env_set(&process->environment, *it, cli->environment, err);
		if (r < 0)
			return cli_as_usage(cli, r);
	}
	return 0;
}

int process_options_apply(struct cli *cli, const struct process_options *options,
			  struct process_config *process, struct err *err)
{
	int r = apply_user(cli, options, process, err);

	if (r == 0)
		r = apply_environment(cli, options, process, err);
	STRV_EACH (r == 0 ? options->ulimit : NULL, it) {
		struct rlimit_config limit;

		r = parse_ulimit(*it, &limit, err);
		if (r < 0)
			return cli_as_usage(cli, r);
		VEC_PUSH(&process->rlimits, limit);
	}
	if (options->workdir && options->workdir[0] != '/')
		return cli_usage(cli, err, "'--workdir' is not an absolute path: '%s'",
				 options->workdir);
	process->working_directory = xstrdup(options->workdir);
	process->terminal = options->tty;
	process->stdin_open = options->interactive;
	return r;
}

struct stdio_options process_options_stdio(const struct process_options *options)
{
	return (struct stdio_options){
		.input = options->interactive,
		.output = true,
		.terminal = options->tty,
		.signals = true,
		.detach_keys = options->detach_keys,
	};
}
