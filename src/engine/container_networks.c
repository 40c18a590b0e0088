/* SPDX-License-Identifier: Apache-2.0 */
/* The network side of a container that is made or started. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/networks.h"
#include "shim/launch.h"

#define SEPARATE_MAX 32 /* ports of a range */

static struct network_config copy_network(const struct network_config *from)
{
	return (struct network_config){
		.network = xstrdup(from->network),
		.mac_address = xstrdup(from->mac_address),
		.mtu = from->mtu,
		.address = xstrdup(from->address),
		.aliases = strv_copy(from->aliases),
	};
}

/* `none` is no network at all. */
static int resolve_networks(struct engine *engine, const struct container_config *given,
			    struct container_config *config, struct err *err)
{
	static const struct network_config standard = { .network = (char *)NETWORK_DEFAULT };
	int r = 0;

	if (given->networks.count > NETWORKS_MAX)
		return err_set(err, -E2BIG, "a container can be in at most %d networks",
			       NETWORKS_MAX);
	VEC_EACH (&given->networks, it) {
		CLEANUP(network_release) struct network network = { 0 };

		if (str_eq(it->network, NETWORK_NONE))
			return 0;
		r = networks_require(engine, it->network, &network, err);
		if (r < 0)
			return r;
		VEC_PUSH(&config->networks, copy_network(it));
	}
	if (!given->networks.count)
		VEC_PUSH(&config->networks, copy_network(&standard));
	return 0;
}

static bool is_published(const struct container_config *config, uint32_t port, const char *proto)
{
	VEC_EACH (&config->ports, it)
		if (str_eq(it->proto, proto) && port >= it->container_port &&
		    port < it->container_port + it->count)
			return true;
	return false;
}

/* "80/tcp", "80", "53/udp": what an image says is not to be trusted. */
static int parse_exposed(const char *text, uint32_t *ret_port, const char **ret_proto)
{
	AUTO_STRV char **sides = str_split(text, '/', 2);

	*ret_proto = sides[1] && str_eq(sides[1], "udp") ? "udp" : "tcp";
	if (sides[1] && !str_eq(sides[1], *ret_proto))
		return -EINVAL;
	return str_parse_u32(sides[0], ret_port) < 0 || !*ret_port || *ret_port > 65535 ? -EINVAL
											: 0;
}

/* Exposed ports go to the same number of the host if that is free, else to another: the network's
 * process finds out. */
static void add_exposed(const json_t *exposed, const char *address, struct container_config *config)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)exposed, key, value) {
		const char *proto;
		uint32_t port = 0;

		if (parse_exposed(key, &port, &proto) < 0 || is_published(config, port, proto) ||
		    config->ports.count >= PUBLISH_MAX)
			continue;
		VEC_PUSH(&config->ports, ((struct port_config){ .host_address = xstrdup(address),
								.host_port = port,
								.container_port = port,
								.proto = xstrdup(proto),
								.count = 1,
								.automatic = true }));
	}
}

static int resolve_ports(const struct create_options *options, const struct image_process *image,
			 struct container_config *config, struct err *err)
{
	const struct container_config *given = options->config;

	if (!config->networks.count) {
		if (given->ports.count)
			return err_set(err, -EINVAL,
				       "a container without a network cannot publish ports");
		return 0;
	}
	VEC_EACH (&given->ports, it)
		VEC_PUSH(&config->ports,
			 ((struct port_config){ xstrdup(it->host_address), it->host_port,
						it->container_port, xstrdup(it->proto), it->count,
						it->automatic }));
	if (options->publish_all)
		add_exposed(image->exposed_ports, "0.0.0.0", config);
	else if (!options->no_publish && !given->ports.count)
		add_exposed(image->exposed_ports, "127.0.0.1", config);
	return 0;
}

int networks_resolve(struct engine *engine, const struct create_options *options,
		     const struct image_process *image, struct container_config *config,
		     struct err *err)
{
	const struct container_config *given = options->config;
	int r = resolve_networks(engine, given, config, err);

	if (r == 0)
		r = resolve_ports(options, image, config, err);
	config->dns.nameservers = strv_copy(given->dns.nameservers);
	config->dns.domain = xstrdup(given->dns.domain);
	config->dns.search_domains = strv_copy(given->dns.search_domains);
	config->dns.options = strv_copy(given->dns.options);
	config->no_dns = given->no_dns;
	config->add_hosts = strv_copy(given->add_hosts);
	return r;
}

/* Several ports are published one by one, since each may have to go elsewhere. */
void networks_separate_ports(struct container_config *config)
{
	size_t count = config->ports.count;

	for (size_t i = 0; i < count; i++) {
		struct port_config port = config->ports.items[i];

		if (port.count > SEPARATE_MAX)
			continue; /* the start will say that they are taken */

		for (uint32_t k = 1; k < port.count; k++)
			VEC_PUSH(&config->ports,
				 ((struct port_config){ .host_address = xstrdup(port.host_address),
							.host_port = port.host_port + k,
							.container_port = port.container_port + k,
							.proto = xstrdup(port.proto),
							.count = 1,
							.automatic = true }));
		config->ports.items[i].count = 1;
		config->ports.items[i].automatic = true;
	}
}

/* A list in one text; no item holds a space. */
static char *joined(char *const *strv)
{
	AUTO_SBUF struct sbuf text = { 0 };

	STRV_EACH (strv, it)
		sbuf_addf(&text, "%s%s", text.length ? " " : "", *it);
	return text.length ? sbuf_take(&text) : NULL;
}

void networks_fill_launch(const struct engine *engine, struct launch *launch)
{
	launch->netd = path_join(engine->programs, "hull-netd");
	launch->domain = xstrdup(engine->config.dns_domain);
	launch->nameservers = joined(engine->config.dns_nameservers);
	launch->host_ports = joined(engine->config.network_host_ports);
	launch->tap = engine->config.network_tap;
}

void networks_announce(struct engine *engine, const char *uuid)
{
	CLEANUP(container_freep) struct container *container = NULL;

	if (containers_get_uuid(engine->store, uuid, &container, NULL) < 0)
		return;
	VEC_EACH (&container->config.ports, it)
		if (it->automatic)
			engine_note(engine, "port %u/%s is at %s:%u", it->container_port, it->proto,
				    it->host_address, it->host_port);
}
