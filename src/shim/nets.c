/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/nets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/client.h"
#include "store/networks.h"

#define REJOIN_MS 1000 /* between attempts that fail */

struct net {
	struct nets *nets;
	const struct network_config *config; /* borrowed from the container */
	struct network network;              /* owned */
	struct lease lease;                  /* owned */
	char ipv4[INET6_ADDRSTRLEN];
	char ipv6[INET6_ADDRSTRLEN];
	int nic, link;             /* owned; the machine's end and the network's */
	struct net_client *client; /* owned; NULL while it is not joined */
	struct loop_source *source;
	struct loop_source *retry; /* timer */
};

struct nets {
	const struct launch *launch;
	struct store *store;
	struct container *container;
	char **nameservers, **host_ports; /* owned */
	struct loop *loop;                /* NULL until joined */
	size_t count;
	struct net items[MSG_INTERFACES_MAX];
};

static struct nets *nets_free(struct nets *nets)
{
	if (!nets)
		return NULL;
	for (size_t i = 0; i < nets->count; i++) {
		struct net *net = &nets->items[i];

		loop_remove(net->source);
		loop_remove(net->retry);
		net_client_free(net->client);
		network_release(&net->network);
		lease_release(&net->lease);
		if (net->nic >= 0)
			close(net->nic);
		if (net->link >= 0)
			close(net->link);
	}
	strv_free(nets->nameservers);
	strv_free(nets->host_ports);
	free(nets);
	return NULL;
}

static void nets_freep(struct nets **nets)
{
	nets_free(*nets);
}

static int open_net(struct nets *nets, const struct network_config *config,
		    struct lease_list *leases, struct err *err)
{
	struct net *net = &nets->items[nets->count++];
	int fds[2];
	int r;

	*net = (struct net){ .nets = nets, .config = config, .nic = -1, .link = -1 };
	r = networks_get(nets->store, config->network, &net->network, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < leases->count; i++) {
		if (!str_eq(leases->items[i].network, config->network))
			continue;
		net->lease = leases->items[i];
		leases->items[i] = (struct lease){ 0 };
	}
	if (!net->lease.network)
		return err_set(err, -ENOENT, "the container has no address in network %s",
			       config->network);
	subnet_host_text(&net->network.subnet, net->lease.host, net->ipv4);
	if (net->network.subnet6.family)
		subnet_host_text(&net->network.subnet6, net->lease.host, net->ipv6);
	r = net_pair(fds, err);
	if (r < 0)
		return r;
	net->nic = fds[0];
	net->link = fds[1];
	return 0;
}

static char **words(const char *text)
{
	return text ? str_split(text, ' ', 0) : NULL;
}

int nets_open(const struct launch *launch, struct store *store, struct container *container,
	      struct nets **ret_nets, struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };
	CLEANUP(nets_freep) struct nets *nets = xcalloc(1, sizeof(*nets));
	int r = 0;

	nets->launch = launch;
	nets->store = store;
	nets->container = container;
	nets->nameservers = words(launch->nameservers);
	nets->host_ports = words(launch->host_ports);
	if (container->config.networks.count > MSG_INTERFACES_MAX)
		return err_set(err, -E2BIG, "the container is in too many networks");
	if (container->config.networks.count)
		r = leases_list(store, container->uuid, NULL, &leases, err);
	VEC_EACH (&container->config.networks, it)
		if (r == 0)
			r = open_net(nets, it, &leases, err);
	if (r < 0)
		return r;
	*ret_nets = TAKE_PTR(nets);
	return 0;
}

size_t nets_count(const struct nets *nets)
{
	return nets->count;
}

int nets_nic(const struct nets *nets, size_t i)
{
	return nets->items[i].nic;
}

/* --- what the guest is told --- */

static uint32_t option_mtu(const struct network *network)
{
	uint32_t mtu = 0;
	const char *text = json_get_string(network->options, "mtu");

	return text && str_parse_u32(text, &mtu) == 0 ? mtu : 0;
}

static void describe_interface(const struct net *net, bool is_exit, struct msg_interface *interface)
{
	const struct subnet *subnet = &net->network.subnet;
	const struct subnet *subnet6 = &net->network.subnet6;
	unsigned mac[6] = { 0 };
	uint8_t bytes[16];

	*interface = (struct msg_interface){
		.mtu = net->config->mtu ? net->config->mtu : option_mtu(&net->network),
		.ipv4_prefix = subnet->prefix,
		.ipv6_prefix = subnet6->family ? subnet6->prefix : 0,
	};
	sscanf(net->lease.mac, "%2x:%2x:%2x:%2x:%2x:%2x", &mac[0], &mac[1], &mac[2], &mac[3],
	       &mac[4], &mac[5]);
	for (size_t i = 0; i < ARRAY_SIZE(mac); i++)
		interface->mac[i] = (uint8_t)mac[i];
	subnet_host_bytes(subnet, net->lease.host, bytes);
	memcpy(interface->ipv4, bytes, sizeof(interface->ipv4));
	if (subnet6->family)
		subnet_host_bytes(subnet6, net->lease.host, interface->ipv6);
	if (!is_exit)
		return;
	subnet_host_bytes(subnet, 1, bytes);
	memcpy(interface->ipv4_gateway, bytes, sizeof(interface->ipv4_gateway));
	if (subnet6->family)
		subnet_host_bytes(subnet6, 1, interface->ipv6_gateway);
}

/* The first network with a way out is the way out. */
void nets_describe(const struct nets *nets, struct session_network *ret_network)
{
	bool has_exit = false;

	*ret_network = (struct session_network){ .count = nets->count };
	for (size_t i = 0; i < nets->count; i++) {
		const struct net *net = &nets->items[i];
		bool is_exit = !net->network.internal && !has_exit;

		describe_interface(net, is_exit, &ret_network->interfaces[i]);
		has_exit |= is_exit;
		subnet_host_text(&net->network.subnet, 3, ret_network->names[i]);
		if (is_exit)
			subnet_host_text(&net->network.subnet, 1, ret_network->gateway);
		if (i > 0)
			continue;
		memcpy(ret_network->address, net->ipv4, sizeof(net->ipv4));
		memcpy(ret_network->address6, net->ipv6, sizeof(net->ipv6));
	}
}

/* --- the network's process --- */

static int join(struct net *net, struct err *err)
{
	const struct nets *nets = net->nets;
	const struct container_config *config = &nets->container->config;
	char subnet6[SUBNET_TEXT_MAX];
	char subnet[SUBNET_TEXT_MAX];
	const struct net_spec spec = {
		.run = nets->launch->root, /* as with sockets of containers: logins differ in run
					      directories */
		.id = net->network.name,
		.program = nets->launch->netd,
		.name = net->network.name,
		.subnet = subnet,
		.subnet6 = net->network.subnet6.family ? subnet6 : NULL,
		.domain = nets->launch->domain,
		.nameservers = nets->nameservers,
		.host_ports = nets->host_ports,
		.mtu = option_mtu(&net->network),
		.internal = net->network.internal,
		.tap = nets->launch->tap,
		.debug = nets->launch->debug,
	};
	const struct net_member member = {
		.uuid = nets->container->uuid,
		.name = config->id,
		.hostname = str_or(config->hostname, config->id),
		.aliases = net->config->aliases,
		.nameservers = config->dns.nameservers,
		.mac = net->lease.mac,
		.ipv4 = net->ipv4,
		.ipv6 = net->ipv6[0] ? net->ipv6 : NULL,
	};
	struct net_joined joined;

	subnet_text(&net->network.subnet, subnet);
	if (spec.subnet6)
		subnet_text(&net->network.subnet6, subnet6);
	return net_client_join(&spec, &member, net->link, &net->client, &joined, err);
}

static struct net_rule rule_of(const struct port_config *port, bool may_move)
{
	return (struct net_rule){
		.protocol = str_eq(port->proto, "udp") ? NET_UDP : NET_TCP,
		.address = port->host_address,
		.host_port = (uint16_t)port->host_port,
		.container_port = (uint16_t)port->container_port,
		.count = (uint16_t)port->count,
		.any_port = may_move && port->automatic,
	};
}

/* What was found out goes into the row, for `port`, `ls` and the next start. */
static void record_ports(struct nets *nets, const struct net_rule *rules)
{
	CLEANUP(container_freep) struct container *row = NULL;
	struct err err = { 0 };
	bool changed = false;
	size_t i = 0;

	VEC_EACH (&nets->container->config.ports, it) {
		changed |= it->host_port != rules[i].host_port;
		it->host_port = rules[i++].host_port;
	}
	if (!changed)
		return;
	if (containers_get_uuid(nets->store, nets->container->uuid, &row, &err) == 0 &&
	    row->config.ports.count == i) {
		i = 0;
		VEC_EACH (&row->config.ports, it)
			it->host_port = rules[i++].host_port;
		containers_update_config(nets->store, row, &err);
	}
	if (err.code)
		log_warning("container=%s cannot record its ports: %s", nets->container->config.id,
			    err.message);
}

/* All ports are published by the first network: connections to them come in there. */
static int publish(struct nets *nets, bool may_move, struct err *err)
{
	const struct container_config *config = &nets->container->config;
	struct net_rule rules[NET_PUBLISH_MAX];
	size_t count = 0;
	int r;

	if (!config->ports.count)
		return 0;
	if (!nets->count)
		return err_set(err, -EINVAL, "a container without a network cannot publish ports");
	if (config->ports.count > ARRAY_SIZE(rules))
		return err_set(err, -E2BIG, "too many ports are published");
	VEC_EACH (&config->ports, it)
		rules[count++] = rule_of(it, may_move);
	r = net_client_publish(nets->items[0].client, rules, count, err);
	if (r == 0)
		record_ports(nets, rules);
	return r;
}

static void on_gone(void *ctx, int fd, uint32_t events);

static void watch(struct net *net)
{
	net->source =
		loop_add_fd(net->nets->loop, net_client_fd(net->client), EPOLLIN, on_gone, net);
}

/* Machines keep their links; only what the process itself knew has to be told again. */
static void rejoin(void *ctx)
{
	struct net *net = ctx;
	struct nets *nets = net->nets;
	struct err err = { 0 };
	int r = join(net, &err);

	if (r == 0 && net == &nets->items[0])
		r = publish(nets, false, &err);
	if (r < 0) {
		log_warning("container=%s network=%s cannot be joined again: %s",
			    nets->container->config.id, net->network.name, err.message);
		net->client = net_client_free(net->client);
		loop_arm(net->retry, REJOIN_MS);
		return;
	}
	log_info("container=%s network=%s joined again", nets->container->config.id,
		 net->network.name);
	watch(net);
}

static void on_gone(void *ctx, int fd, uint32_t events)
{
	struct net *net = ctx;

	net->source = loop_remove(net->source);
	net->client = net_client_free(net->client);
	rejoin(net);
}

int nets_join(struct nets *nets, struct loop *loop, struct err *err)
{
	int r = 0;

	if (nets->loop)
		return 0;
	for (size_t i = 0; i < nets->count && r == 0; i++)
		r = join(&nets->items[i], err);
	if (r == 0)
		r = publish(nets, true, err);
	if (r < 0)
		return r;
	nets->loop = loop;
	for (size_t i = 0; i < nets->count; i++) {
		nets->items[i].retry = loop_add_timer(loop, rejoin, &nets->items[i]);
		watch(&nets->items[i]);
	}
	return 0;
}

struct nets *nets_close(struct nets *nets)
{
	if (nets && nets->count && nets->items[0].client && nets->container->config.ports.count)
		net_client_unpublish(nets->items[0].client, NULL);
	return nets_free(nets);
}
