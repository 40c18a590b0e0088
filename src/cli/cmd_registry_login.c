/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/fetch_options.h"
#include "cli/password.h"
#include "engine/registry.h"

struct registry_login_options {
	const char *username;
	bool password_stdin;
	int scheme;
};

static const struct option_spec registry_login_options[] = {
	OPT_STRING("username", 'u', "NAME", struct registry_login_options, username,
		   "who we are (else it is asked for)"),
	OPT_FLAG("password-stdin", 0, struct registry_login_options, password_stdin,
		 "read the password from the standard input"),
	OPT_CHOICE("scheme", 0, scheme_names, struct registry_login_options, scheme,
		   "how to speak to the registry (default auto: HTTP to local ones)"),
	OPT_END,
};

static void forget(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}

static int registry_login_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct registry_login_options *options = values;
	CLEANUP(forget) char *password = NULL;
	AUTO_FREE char *username = xstrdup(options->username);
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	if (r == 0 && options->password_stdin && !username)
		return cli_usage(cli, err, "'--password-stdin' needs '--username'");
	if (r == 0 && !username)
		r = password_ask("Username", false, &username, err);
	if (r == 0)
		r = options->password_stdin ? password_read(&password, err)
					    : password_ask("Password", true, &password, err);
	if (r == 0)
		r = engine_registry_login(engine, args[0], scheme_names[options->scheme], username,
					  password, err);
	if (r < 0)
		return r;
	printf("%s\n", args[0]);
	return CLI_STATUS_OK;
}

const struct command cmd_registry_login = {
	.name = "login",
	.args = "HOST",
	.summary = "tell a registry who we are, and keep that in ~/.docker/config.json",
	.groups = (const struct option_group[]){ { NULL, registry_login_options, 0 }, { 0 } },
	.options_size = sizeof(struct registry_login_options),
	.min_args = 1,
	.max_args = 1,
	.run = registry_login_run,
};
