/* SPDX-License-Identifier: Apache-2.0 */
/* The options that describe a process, common to run, create and exec. */
#ifndef CLI_PROCESS_OPTIONS_H
#define CLI_PROCESS_OPTIONS_H

#include "cli/cli.h"

struct process_options {
	char **env, **env_file, **ulimit;
	bool interactive, tty;
	const char *user, *workdir, *detach_keys;
	uint32_t uid, gid; /* UINT32_MAX: not given */
};

extern const struct option_spec process_options[];
#define PROCESS_GROUP(container, member)                                        \
	{                                                                       \
		"Process options", process_options, offsetof(container, member) \
	}

/* Fills what the options say into process (initialised). */
int process_options_apply(struct cli *cli, const struct process_options *options,
			  struct process_config *process, struct err *err);
/* How our own stdio is joined to such a process. */
struct stdio_options process_options_stdio(const struct process_options *options);

#endif
