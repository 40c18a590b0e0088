/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/network_options.h"
#include "engine/network.h"

struct network_connect_options {
	char **aliases;
	const char *address, *mac;
};

#define OPTS struct network_connect_options

static const struct option_spec network_connect_options[] = {
	OPT_LIST("alias", 0, "NAME", OPTS, aliases, "a further name of it in this network"),
	OPT_STRING("ip", 0, "ADDRESS", OPTS, address, "the address that it gets"),
	OPT_STRING("mac", 0, "ADDRESS", OPTS, mac, "the MAC address that it gets"),
	OPT_END,
};

static int network_connect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct network_connect_options *flags = values;
	const struct connect_options options = { .address = flags->address,
						 .mac = flags->mac,
						 .aliases = flags->aliases };
	struct engine *engine;
	int r = flags->address ? parse_address(flags->address, err) : 0;

	if (r == 0 && flags->mac)
		r = parse_mac(flags->mac, err);
	STRV_EACH (flags->aliases, it)
		r = r < 0 ? r : parse_host_name(*it, err);
	if (r < 0)
		return cli_as_usage(cli, r);
	r = cli_engine(cli, &engine, err);
	return r < 0 ? r : engine_network_connect(engine, args[0], args[1], &options, err);
}

const struct command cmd_network_connect = {
	.name = "connect",
	.args = "NETWORK CONTAINER",
	.summary = "put a container into a further network",
	.groups = (const struct option_group[]){ { NULL, network_connect_options, 0 }, { 0 } },
	.options_size = sizeof(struct network_connect_options),
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_NETWORKS,
	.run = network_connect_run,
};

static int network_disconnect_run(struct cli *cli, const void *options, char **args,
				  struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);

	return r < 0 ? r : engine_network_disconnect(engine, args[0], args[1], err);
}

const struct command cmd_network_disconnect = {
	.name = "disconnect",
	.args = "NETWORK CONTAINER",
	.summary = "take a container out of a network",
	.min_args = 2,
	.max_args = 2,
	.complete = COMPLETE_NETWORKS,
	.run = network_disconnect_run,
};
