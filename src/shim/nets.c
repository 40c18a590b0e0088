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
#include "shim/net_start.h"

#define REJOIN_MS 1000 /* between attempts that fail */

/* A NIC and the network it is in. */
struct net {
	struct nets *nets;
	bool used;
	bool is_exit;           /* the guest's default route */
	bool warned;            /* that it cannot be joined again */
	uint32_t mtu;           /* 0: the NIC's */
	char **aliases;         /* owned */
	struct network network; /* owned */
	struct lease lease;     /* owned */
	char ipv4[INET6_ADDRSTRLEN];
	char ipv6[INET6_ADDRSTRLEN];
	int nic, link;             /* owned; the machine's end and the network's */
	struct net_client *client; /* owned; NULL while it is not joined */
	struct loop_source *source;
	struct loop_source *retry; /* timer */
};

struct nets {
	const struct launch *launch;
	struct clerk *clerk;         /* borrowed */
	struct clerk *starter;       /* borrowed; NULL: this process may start networks */
	struct container *container; /* owned; the row as it was opened */
	struct loop *loop;           /* NULL until joined */
	struct net *publisher;       /* which network's process leads ports in; NULL: none */
	bool changed;
	size_t count;
	struct net items[MSG_INTERFACES_MAX];
};

/* Leaves the network; the NIC stays. */
static void leave(struct net *net)
{
	net->source = loop_remove(net->source);
	net->retry = loop_remove(net->retry);
	net->client = net_client_free(net->client);
	network_release(&net->network);
	lease_release(&net->lease);
	net->aliases = strv_free(net->aliases);
	net->ipv4[0] = net->ipv6[0] = '\0';
	net->used = net->is_exit = false;
}

static struct nets *nets_free(struct nets *nets)
{
	if (!nets)
		return NULL;
	for (size_t i = 0; i < nets->count; i++) {
		struct net *net = &nets->items[i];

		leave(net);
		if (net->nic >= 0)
			close(net->nic);
		if (net->link >= 0)
			close(net->link);
	}
	container_free(nets->container);
	free(nets);
	return NULL;
}

static void nets_freep(struct nets **nets)
{
	nets_free(*nets);
}

static int make_nic(struct nets *nets, struct err *err)
{
	struct net *net = &nets->items[nets->count++];
	int fds[2];
	int r;

	*net = (struct net){ .nets = nets, .nic = -1, .link = -1 };
	r = net_pair(fds, err);
	if (r < 0)
		return r;
	net->nic = fds[0];
	net->link = fds[1];
	return 0;
}

static bool has_exit(const struct nets *nets)
{
	for (size_t i = 0; i < nets->count; i++)
		if (nets->items[i].is_exit)
			return true;
	return false;
}

/* Puts the NIC into the network, as far as this process is concerned. The first network with a way
 * out is the way out. */
static int fill(struct net *net, const struct network_config *config, struct err *err)
{
	struct nets *nets = net->nets;
	int r = clerk_get_network(nets->clerk, config->network, &net->network, &net->lease, err);

	if (r < 0)
		return r;
	net->mtu = config->mtu ? config->mtu : net_start_mtu(&net->network);
	net->aliases = strv_copy(config->aliases);
	subnet_host_text(&net->network.subnet, net->lease.host, net->ipv4);
	if (net->network.subnet6.family)
		subnet_host_text(&net->network.subnet6, net->lease.host, net->ipv6);
	net->is_exit = !net->network.internal && !has_exit(nets);
	net->used = true;
	return 0;
}

int nets_open(const struct launch *launch, struct clerk *clerk, struct clerk *starter,
	      struct nets **ret_nets, struct err *err)
{
	CLEANUP(nets_freep) struct nets *nets = xcalloc(1, sizeof(*nets));
	size_t next = 0;
	int r;

	nets->launch = launch;
	nets->clerk = clerk;
	nets->starter = starter;
	r = clerk_get(clerk, &nets->container, err);
	while (r == 0 && nets->count < launch->devices.nics && nets->count < MSG_INTERFACES_MAX)
		r = make_nic(nets, err);
	if (r < 0)
		return r;
	if (nets->container->config.networks.count > nets->count)
		return err_set(err, -E2BIG, "the container is in too many networks");
	VEC_EACH (&nets->container->config.networks, it)
		if (r == 0)
			r = fill(&nets->items[next++], it, err);
	if (r < 0)
		return r;
	*ret_nets = TAKE_PTR(nets);
	return 0;
}

size_t nets_count(const struct nets *nets)
{
	return nets ? nets->count : 0;
}

int nets_nic(const struct nets *nets, size_t i)
{
	return nets->items[i].nic;
}

/* --- what the guest is told --- */

static void describe_interface(const struct net *net, struct msg_interface *interface)
{
	const struct subnet *subnet = &net->network.subnet;
	const struct subnet *subnet6 = &net->network.subnet6;
	unsigned mac[6] = { 0 };
	uint8_t bytes[16];

	*interface = (struct msg_interface){
		.mtu = net->mtu,
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
	if (!net->is_exit)
		return;
	subnet_host_bytes(subnet, 1, bytes);
	memcpy(interface->ipv4_gateway, bytes, sizeof(interface->ipv4_gateway));
	if (subnet6->family)
		subnet_host_bytes(subnet6, 1, interface->ipv6_gateway);
}

/* At a start the networks have the first NICs, in their order. */
void nets_describe(const struct nets *nets, struct session_network *ret_network)
{
	size_t count = 0;

	*ret_network = (struct session_network){ 0 };
	for (size_t i = 0; i < nets_count(nets); i++) {
		const struct net *net = &nets->items[i];

		if (!net->used)
			continue;
		describe_interface(net, &ret_network->interfaces[count]);
		subnet_host_text(&net->network.subnet, 3, ret_network->names[count]);
		if (net->is_exit)
			subnet_host_text(&net->network.subnet, 1, ret_network->gateway);
		if (count++ > 0)
			continue;
		memcpy(ret_network->address, net->ipv4, sizeof(net->ipv4));
		memcpy(ret_network->address6, net->ipv6, sizeof(net->ipv6));
	}
	ret_network->count = count;
}

/* --- the network's process --- */

static size_t used_count(const struct nets *nets)
{
	size_t count = 0;

	for (size_t i = 0; i < nets->count; i++)
		count += nets->items[i].used;
	return count;
}

static struct net_member member_of(const struct net *net)
{
	const struct container *container = net->nets->container;
	const struct container_config *config = &container->config;

	return (struct net_member){
		.uuid = container->uuid,
		.name = config->id,
		.hostname = str_or(config->hostname, config->id),
		.aliases = net->aliases,
		.has_others = used_count(net->nets) > 1,
		.nameservers = config->dns.nameservers,
		.mac = net->lease.mac,
		.ipv4 = net->ipv4,
		.ipv6 = net->ipv6[0] ? net->ipv6 : NULL,
	};
}

/* One that is there already can be joined also when the starter is gone. */
static int start_network(const struct net *net, struct err *err)
{
	struct clerk *starter = net->nets->starter;
	struct err failed = { 0 };
	int r = starter ? clerk_start_network(starter, net->network.name, &failed) : 0;

	return r < 0 && r != -EPIPE ? err_set(err, r, "%s", failed.message) : 0;
}

static int join(struct net *net, struct err *err)
{
	const struct nets *nets = net->nets;
	const struct net_member member = member_of(net);
	struct net_joined joined;
	struct net_start start;
	int r = start_network(net, err);

	if (r < 0)
		return r;
	net_start_init(&start, nets->launch, &net->network);
	r = net_client_join(&start.spec, &member, net->link, &net->client, &joined, err);
	net_start_release(&start);
	return r;
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
	struct err err = { 0 };
	bool changed = false;
	size_t i = 0;

	VEC_EACH (&nets->container->config.ports, it) {
		changed |= it->host_port != rules[i].host_port;
		it->host_port = rules[i++].host_port;
	}
	if (!changed)
		return;
	if (clerk_set_ports(nets->clerk, &nets->container->config, &err) < 0)
		log_warning("container=%s cannot record its ports: %s", nets->container->config.id,
			    err.message);
}

/* The way out is the way in; without one, the first network. */
static struct net *choose_publisher(struct nets *nets)
{
	struct net *first = NULL;

	for (size_t i = 0; i < nets->count; i++) {
		if (nets->items[i].is_exit)
			return &nets->items[i];
		if (nets->items[i].used && !first)
			first = &nets->items[i];
	}
	return first;
}

static int publish(struct nets *nets, bool may_move, struct err *err)
{
	const struct container_config *config = &nets->container->config;
	struct net_rule rules[NET_PUBLISH_MAX];
	size_t count = 0;
	int r;

	nets->publisher = choose_publisher(nets);
	if (!config->ports.count)
		return 0;
	if (!nets->publisher)
		return err_set(err, -EINVAL, "a container without a network cannot publish ports");
	if (config->ports.count > ARRAY_SIZE(rules))
		return err_set(err, -E2BIG, "too many ports are published");
	VEC_EACH (&config->ports, it)
		rules[count++] = rule_of(it, may_move);
	r = net_client_publish(nets->publisher->client, rules, count, err);
	if (r == 0)
		record_ports(nets, rules);
	return r;
}

static void on_gone(void *ctx, int fd, uint32_t events);

static void rejoin(void *ctx);

static void watch(struct net *net)
{
	if (!net->retry)
		net->retry = loop_add_timer(net->nets->loop, rejoin, net);
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

	if (r == 0 && net == nets->publisher)
		r = publish(nets, false, &err);
	if (r < 0) {
		if (!net->warned)
			log_warning("container=%s network=%s cannot be joined again: %s",
				    nets->container->config.id, net->network.name, err.message);
		net->warned = true;
		net->client = net_client_free(net->client);
		loop_arm(net->retry, REJOIN_MS);
		return;
	}
	log_info("container=%s network=%s joined again", nets->container->config.id,
		 net->network.name);
	net->warned = false;
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

	if (!nets || nets->loop)
		return 0;
	for (size_t i = 0; i < nets->count && r == 0; i++)
		if (nets->items[i].used)
			r = join(&nets->items[i], err);
	if (r == 0)
		r = publish(nets, true, err);
	if (r < 0)
		return r;
	nets->loop = loop;
	for (size_t i = 0; i < nets->count; i++)
		if (nets->items[i].used)
			watch(&nets->items[i]);
	return 0;
}

struct nets *nets_close(struct nets *nets)
{
	if (nets && nets->publisher && nets->publisher->client &&
	    nets->container->config.ports.count)
		net_client_unpublish(nets->publisher->client, NULL);
	return nets_free(nets);
}

/* --- while the machine runs --- */

static struct net *find(struct nets *nets, const char *network)
{
	for (size_t i = 0; i < nets->count; i++)
		if (nets->items[i].used && str_eq(nets->items[i].network.name, network))
			return &nets->items[i];
	return NULL;
}

static struct net *find_spare(struct nets *nets)
{
	for (size_t i = 0; i < nets->count; i++)
		if (!nets->items[i].used)
			return &nets->items[i];
	return NULL;
}

static void describe_change(const struct net *net, struct msg_interface_change *change)
{
	*change = (struct msg_interface_change){ .nic = (uint32_t)(net - net->nets->items),
						 .up = net->used };
	if (net->used)
		describe_interface(net, &change->interface);
}

/* What the networks' processes know of the container: its name, and whether it is in others. */
static int update_members(struct nets *nets, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < nets->count && r == 0; i++) {
		const struct net_member member = member_of(&nets->items[i]);

		if (nets->items[i].client)
			r = net_client_update(nets->items[i].client, &member, err);
	}
	return r;
}

static int connect_net(struct net *net, const struct network_config *config, struct err *err)
{
	struct nets *nets = net->nets;
	int r = fill(net, config, err);

	if (r == 0)
		r = join(net, err);
	if (r == 0)
		r = update_members(nets, err);
	if (r == 0 && !nets->publisher)
		r = publish(nets, true, err);
	if (r < 0) {
		leave(net);
		nets->publisher = choose_publisher(nets);
		return r;
	}
	watch(net);
	nets->changed = true;
	return 0;
}

int nets_connect(struct nets *nets, const char *network, struct msg_interface_change *ret_change,
		 struct err *err)
{
	CLEANUP(container_freep) struct container *row = NULL;
	struct net *net = find_spare(nets);
	int r = clerk_get(nets->clerk, &row, err);

	if (r < 0)
		return r;
	if (find(nets, network))
		return err_set(err, -EEXIST, "container %s is in network %s already",
			       row->config.id, network);
	if (!net)
		return err_set(err, -ENOSPC,
			       "the machine of container %s has no network card to spare; stop "
			       "it, connect it and start it again",
			       row->config.id);
	VEC_EACH (&row->config.networks, it) {
		if (!str_eq(it->network, network))
			continue;
		r = connect_net(net, it, err);
		if (r == 0)
			describe_change(net, ret_change);
		return r;
	}
	return err_set(err, -ENOENT, "container %s is not in network %s", row->config.id, network);
}

int nets_disconnect(struct nets *nets, const char *network,
		    struct msg_interface_change ret_changes[2], size_t *ret_count, struct err *err)
{
	struct net *net = find(nets, network);
	bool was_exit = net && net->is_exit;
	bool was_publisher = net && net == nets->publisher;
	int r = 0;

	if (!net)
		return err_set(err, -ENOENT, "container %s is not in network %s",
			       nets->container->config.id, network);
	if (was_publisher && net->client && nets->container->config.ports.count)
		net_client_unpublish(net->client, NULL);
	leave(net);
	nets->changed = true;
	describe_change(net, &ret_changes[0]);
	*ret_count = 1;
	for (size_t i = 0; i < nets->count && was_exit; i++) {
		struct net *next = &nets->items[i];

		if (!next->used || next->network.internal)
			continue;
		next->is_exit = true;
		describe_change(next, &ret_changes[(*ret_count)++]);
		break;
	}
	if (was_publisher) {
		nets->publisher = choose_publisher(nets);
		if (nets->publisher)
			r = publish(nets, true, err);
	}
	return r < 0 ? r : update_members(nets, err);
}

int nets_rename(struct nets *nets, const char *id, struct err *err)
{
	free(nets->container->config.id);
	nets->container->config.id = xstrdup(id);
	return update_members(nets, err);
}

bool nets_changed(const struct nets *nets)
{
	return nets->changed;
}
