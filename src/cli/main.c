/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

/* An empty variable is as good as none. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

int main(int argc, char **argv)
{
	struct cli cli = {
		.options = {
			.root = variable("HULL_ROOT"),
			.run = variable("HULL_RUN"),
			.config_path = variable("HULL_CONFIG"),
			.accel = variable("HULL_ACCEL"),
			.default_platform = variable("HULL_DEFAULT_PLATFORM"),
			.home = variable("HOME"),
			.xdg_data_home = variable("XDG_DATA_HOME"),
			.xdg_runtime_dir = variable("XDG_RUNTIME_DIR"),
			.xdg_config_home = variable("XDG_CONFIG_HOME"),
			.search_path = variable("PATH"),
			.environment = environ,
		},
		.environment = environ,
		.no_color = variable("NO_COLOR") != NULL,
	};
	int status;

	/* A peer that hangs up is an error of write(2), told where it happens. */
	signal(SIGPIPE, SIG_IGN);
	log_init("hull", LOG_LEVEL_WARNING);
	status = cli_main(&cli, argc, argv);
	cli_release(&cli);
	return status;
}
