/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* "80" or "80/udp". */
static int parse_port(const char *text, uint32_t *ret_port, const char **ret_proto)
{
	AUTO_STRV char **sides = str_split(text, '/', 2);

	*ret_proto = sides[1] && str_eq(sides[1], "udp") ? "udp" : "tcp";
	if (sides[1] && !str_eq(sides[1], *ret_proto))
		return -1;
	return str_parse_u32(sides[0], ret_port) < 0 || !*ret_port || *ret_port > 65535 ? -1 : 0;
}

static void print_port(const struct port_config *port, uint32_t wanted, const char *proto)
{
	bool v6 = strchr(port->host_address, ':');

	for (uint32_t i = 0; i < port->count; i++) {
		if (wanted && (wanted != port->container_port + i || !str_eq(proto, port->proto)))
			continue;
		if (!wanted)
			printf("%u/%s -> ", port->container_port + i, port->proto);
		printf("%s%s%s:%u\n", v6 ? "[" : "", port->host_address, v6 ? "]" : "",
		       port->host_port + i);
	}
}

static int port_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	const char *proto = "tcp";
	struct engine *engine;
	uint32_t wanted = 0;
	int r;

	if (args[1] && parse_port(args[1], &wanted, &proto) < 0)
		return cli_usage(cli, err, "invalid port '%s': it is like 80 or 53/udp", args[1]);
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_get(engine, args[0], &container, err);
	if (r != 0)
		return r;
	VEC_EACH (&container->config.ports, it)
		print_port(it, wanted, proto);
	return CLI_STATUS_OK;
}

const struct command cmd_port = {
	.name = "port",
	.args = "CONTAINER [PORT[/PROTOCOL]]",
	.summary = "show which host ports reach a container's ports",
	.min_args = 1,
	.max_args = 2,
	.complete = COMPLETE_CONTAINERS,
	.run = port_run,
};
