/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/parse.h"
#include "engine/network.h"

struct network_create_options {
	bool internal;
	const char *subnet, *subnet6;
	char **labels, **options;
};

#define OPTS struct network_create_options

static const struct option_spec network_create_options[] = {
	OPT_FLAG("internal", 0, OPTS, internal,
		 "no way out of it: its containers reach each other"),
	OPT_STRING("subnet", 0, "ADDRESS/PREFIX", OPTS, subnet,
		   "its IPv4 addresses (default: a free /24)"),
	OPT_STRING("subnet-v6", 0, "ADDRESS/PREFIX", OPTS, subnet6,
		   "its IPv6 addresses (default: a random local /64)"),
	OPT_LIST("label", 'l', "KEY[=VALUE]", OPTS, labels, "attach a label"),
	OPT_LIST("option", 0, "KEY=VALUE", OPTS, options, "set an option: mtu=1500"),
	OPT_END,
};

static int network_create_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct network_create_options *flags = values;
	AUTO_JSON json_t *labels = json_object();
	AUTO_JSON json_t *options = json_object();
	const struct network_options network = { .name = args[0],
						 .subnet = flags->subnet,
						 .subnet6 = flags->subnet6,
						 .internal = flags->internal,
						 .labels = labels,
						 .options = options };
	struct engine *engine;
	int r = 0;

	STRV_EACH (flags->labels, it)
		r = r < 0 ? r : parse_label(*it, labels, err);
	STRV_EACH (flags->options, it)
		r = r < 0 ? r : parse_label(*it, options, err);
	if (r < 0)
		return cli_as_usage(cli, r);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_network_create(engine, &network, err);
	if (r < 0)
		return r == -EINVAL ? cli_as_usage(cli, r) : r;
	printf("%s\n", args[0]);
	return CLI_STATUS_OK;
}

const struct command cmd_network_create = {
	.name = "create",
	.args = "NAME",
	.summary = "make a network",
	.groups = (const struct option_group[]){ { NULL, network_create_options, 0 }, { 0 } },
	.options_size = sizeof(struct network_create_options),
	.min_args = 1,
	.max_args = 1,
	.run = network_create_run,
};
