/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net_start.h"

#include "base/json.h"
#include "base/str.h"

static char **words(const char *text)
{
	return text ? str_split(text, ' ', 0) : NULL;
}

uint32_t net_start_mtu(const struct network *network)
{
	uint32_t mtu = 0;
	const char *text = json_get_string(network->options, "mtu");

	return text && str_parse_u32(text, &mtu) == 0 ? mtu : 0;
}

void net_start_init(struct net_start *start, const struct launch *launch,
		    const struct network *network)
{
	*start = (struct net_start){ .nameservers = words(launch->nameservers),
				     .host_ports = words(launch->host_ports) };
	subnet_text(&network->subnet, start->subnet);
	if (network->subnet6.family)
		subnet_text(&network->subnet6, start->subnet6);
	start->spec = (struct net_spec){
		.run = launch->root, /* as with sockets of containers: logins differ in run
					directories */
		.id = network->name,
		.program = launch->netd,
		.name = network->name,
		.subnet = start->subnet,
		.subnet6 = network->subnet6.family ? start->subnet6 : NULL,
		.domain = launch->domain,
		.nameservers = start->nameservers,
		.host_ports = start->host_ports,
		.mtu = net_start_mtu(network),
		.internal = network->internal,
		.tap = launch->tap,
		.debug = launch->debug,
	};
}

void net_start_release(struct net_start *start)
{
	start->nameservers = strv_free(start->nameservers);
	start->host_ports = strv_free(start->host_ports);
}
