/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/internal.h"
#include "engine/networks.h"
#include "engine/routes.h"
#include "shim/client.h"

#define DEFAULT_ATTEMPTS 10

static int check_name(const char *name, struct err *err)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t length = strlen(name);

	if (!length || length > NETWORK_NAME_MAX || !strchr(first, name[0]) ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != length)
		return err_set(err, -EINVAL,
			       "invalid network name '%s': 1 to %d of lower-case letters, digits, "
			       "'_', '.' and '-', the first a letter or digit",
			       name, NETWORK_NAME_MAX);
	if (str_eq(name, NETWORK_NONE))
		return err_set(err, -EEXIST, "network %s already exists", name);
	return 0;
}

static int check_options(const json_t *options, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)options, key, value) {
		uint32_t mtu = 0;

		if (!str_eq(key, "mtu"))
			return err_set(err, -EINVAL, "unknown option '%s' of a network: it is mtu",
				       key);
		if (str_parse_u32(json_string_value(value), &mtu) < 0 || mtu < NETWORK_MTU_MIN ||
		    mtu > NETWORK_MTU_MAX)
			return err_set(err, -EINVAL, "invalid mtu '%s': it is from %d to %d",
				       json_string_value(value), NETWORK_MTU_MIN, NETWORK_MTU_MAX);
	}
	return 0;
}

/* The subnets of all networks; those of one family do not disturb the other. */
static int add_networks(struct engine *engine, struct subnets *taken, struct err *err)
{
	CLEANUP(network_list_release) struct network_list list = { 0 };
	int r = networks_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		VEC_PUSH(taken, list.items[i].subnet);
		if (list.items[i].subnet6.family)
			VEC_PUSH(taken, list.items[i].subnet6);
	}
	return r;
}

static int wished_subnet(struct engine *engine, const char *text, int family,
			 const struct subnets *networks, const struct subnets *routes,
			 struct subnet *ret_subnet, struct err *err)
{
	char other_text[SUBNET_TEXT_MAX];
	struct subnet subnet = { 0 };
	struct subnet other;
	int r = subnet_parse(text, &subnet, err);

	if (r < 0)
		return r;
	if (subnet.family != family)
		return err_set(err, -EINVAL, "subnet '%s' is not one of IPv%d", text,
			       family == AF_INET ? 4 : 6);
	if (subnet_last_host(&subnet) < SUBNET_FIRST_HOST || subnet.prefix < 8)
		return err_set(err, -EINVAL,
			       "subnet '%s' is too %s for a network: IPv4 from /8 to /29, IPv6 "
			       "from /8 to /125",
			       text, subnet.prefix < 8 ? "large" : "small");
	if (subnets_overlap(networks, &subnet, &other)) {
		subnet_text(&other, other_text);
		return err_set(err, -EADDRINUSE,
			       "subnet '%s' overlaps %s, which another network has", text,
			       other_text);
	}
	if (subnets_overlap(routes, &subnet, &other)) {
		subnet_text(&other, other_text);
		engine_warn(engine,
			    "subnet %s overlaps the host's route to %s: containers will not reach "
			    "what is there",
			    text, other_text);
	}
	*ret_subnet = subnet;
	return 0;
}

static int choose_subnets(struct engine *engine, const char *subnet, const char *subnet6,
			  struct network *network, struct err *err)
{
	CLEANUP(subnets_release) struct subnets networks = { 0 };
	CLEANUP(subnets_release) struct subnets routes = { 0 };
	CLEANUP(subnets_release) struct subnets all = { 0 };
	int r = add_networks(engine, &networks, err);

	routes_read(&routes);
	VEC_EACH (&networks, it)
		VEC_PUSH(&all, *it);
	VEC_EACH (&routes, it)
		VEC_PUSH(&all, *it);
	if (r == 0)
		r = subnet ? wished_subnet(engine, subnet, AF_INET, &networks, &routes,
					   &network->subnet, err)
			   : subnets_choose_ipv4(&all, &network->subnet, err);
	if (r == 0)
		r = subnet6 ? wished_subnet(engine, subnet6, AF_INET6, &networks, &routes,
					    &network->subnet6, err)
			    : subnets_choose_ipv6(&all, &network->subnet6, err);
	return r;
}

int engine_network_create(struct engine *engine, const struct network_options *options,
			  struct err *err)
{
	struct network network = { .name = (char *)options->name,
				   .internal = options->internal,
				   .labels = options->labels,
				   .options = options->options };
	int r = check_name(options->name, err);

	if (r == 0)
		r = check_options(options->options, err);
	if (r == 0)
		r = choose_subnets(engine, options->subnet, options->subnet6, &network, err);
	return r == 0 ? networks_insert(engine->store, &network, err) : r;
}

/* Another process may make it at the same time, or any network of the same subnet. */
int networks_require(struct engine *engine, const char *name, struct network *ret_network,
		     struct err *err)
{
	struct network made = { .name = (char *)NETWORK_DEFAULT };
	struct err missing = { 0 };
	int r;

	if (!str_eq(name, NETWORK_DEFAULT))
		return networks_get(engine->store, name, ret_network, err);
	for (int i = 0; i < DEFAULT_ATTEMPTS; i++) {
		r = networks_get(engine->store, name, ret_network, &missing);
		if (r != -ENOENT)
			return r < 0 ? err_set(err, r, "%s", missing.message) : 0;
		r = choose_subnets(engine, engine->config.network_subnet,
				   engine->config.network_subnet6, &made, err);
		if (r == 0)
			r = networks_insert(engine->store, &made, &missing);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return err_set(err, -EBUSY, "cannot make the network %s", name);
}

static void remove_files(struct engine *engine, const char *name)
{
	AUTO_FREE char *dir = net_dir(engine->root, name);

	if (!net_is_up(engine->root, name))
		path_remove_tree(dir, NULL);
}

int engine_network_delete(struct engine *engine, const char *name, struct err *err)
{
	int r;

	if (str_eq(name, NETWORK_DEFAULT) || str_eq(name, NETWORK_NONE))
		return err_set(err, -EPERM, "network %s is always there and cannot be deleted",
			       name);
	r = networks_delete(engine->store, name, err);
	if (r == 0)
		remove_files(engine, name);
	return r;
}

int engine_network_prune(struct engine *engine, struct prune_result *ret_result, struct err *err)
{
	CLEANUP(network_list_release) struct network_list list = { 0 };
	int r = networks_list(engine->store, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++) {
		const char *name = list.items[i].name;
		struct err used = { 0 };
		int d;

		if (str_eq(name, NETWORK_DEFAULT))
			continue;
		d = networks_delete(engine->store, name, &used);
		if (d == 0) {
			remove_files(engine, name);
			strv_push(&ret_result->removed, name);
		} else if (d != -EBUSY && d != -ENOENT) {
			r = err_set(err, d, "%s", used.message);
		}
	}
	return r;
}

int engine_network_list(struct engine *engine, struct network_list *ret_list, struct err *err)
{
	CLEANUP(network_release) struct network network = { 0 };
	int r = networks_require(engine, NETWORK_DEFAULT, &network, err);

	return r < 0 ? r : networks_list(engine->store, ret_list, err);
}

int engine_network_get(struct engine *engine, const char *name, struct network *ret_network,
		       struct err *err)
{
	return networks_require(engine, name, ret_network, err);
}

int engine_network_members(struct engine *engine, const char *name, struct lease_list *ret_list,
			   struct err *err)
{
	return leases_list(engine->store, NULL, name, ret_list, err);
}

/* --- containers in them --- */

void attachment_list_release(struct attachment_list *list)
{
	VEC_EACH (list, it) {
		free(it->network);
		free(it->hostname);
		free(it->ipv4_address);
		free(it->ipv4_gateway);
		free(it->ipv6_address);
		free(it->mac_address);
	}
	VEC_FREE(list);
}

static char *host_text(const struct subnet *subnet, uint32_t host, bool prefix)
{
	char text[INET6_ADDRSTRLEN];

	if (!subnet->family)
		return NULL;
	subnet_host_text(subnet, host, text);
	return prefix ? xasprintf("%s/%u", text, subnet->prefix) : xstrdup(text);
}

static const struct network_config *find_config(const struct container_config *config,
						const char *network)
{
	VEC_EACH (&config->networks, it)
		if (str_eq(it->network, network))
			return it;
	return NULL;
}

/* In the order of the configuration, which is that of the interfaces. */
int engine_container_networks(struct engine *engine, const struct container *container,
			      struct attachment_list *ret_list, struct err *err)
{
	CLEANUP(attachment_list_release) struct attachment_list list = { 0 };
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };
	const struct container_config *config = &container->config;
	int r = leases_list(engine->store, container->uuid, NULL, &leases, err);

	VEC_EACH (&config->networks, it) {
		for (size_t i = 0; r == 0 && i < leases.count; i++) {
			CLEANUP(network_release) struct network network = { 0 };
			const struct lease *lease = &leases.items[i];

			if (!str_eq(lease->network, it->network))
				continue;
			r = networks_get(engine->store, it->network, &network, err);
			if (r < 0)
				break;
			VEC_PUSH(&list,
				 ((struct attachment){
					 .network = xstrdup(it->network),
					 .hostname = xstrdup(str_or(config->hostname, config->id)),
					 .ipv4_address =
						 host_text(&network.subnet, lease->host, true),
					 .ipv4_gateway = host_text(&network.subnet, 1, false),
					 .ipv6_address =
						 host_text(&network.subnet6, lease->host, true),
					 .mac_address = xstrdup(lease->mac),
					 .mtu = it->mtu,
				 }));
		}
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct attachment_list){ 0 };
	return 0;
}

int networks_take_lease(struct engine *engine, const struct container *container,
			const struct network_config *config, struct err *err)
{
	CLEANUP(network_release) struct network network = { 0 };
	CLEANUP(lease_release) struct lease lease = { 0 };
	const struct lease_wish wish = { .address = config->address,
					 .mac = config->mac_address,
					 .durable = !container->config.auto_remove };
	int r = networks_require(engine, config->network, &network, err);

	return r < 0 ? r
		     : leases_take(engine->store, &network, container->uuid, &wish, &lease, err);
}

int networks_take_leases(struct engine *engine, const struct container *container, struct err *err)
{
	int r = 0;

	VEC_EACH (&container->config.networks, it)
		r = r < 0 ? r : networks_take_lease(engine, container, it, err);
	return r;
}

/* A container that stopped meanwhile needs no word. */
int networks_tell_shim(struct engine *engine, const struct container *container, uint16_t type,
		       const char *text, struct err *err)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	struct client_reply reply;
	int fd = client_connect(engine->root, container->uuid, NULL);

	if (fd < 0)
		return 0;
	ctl_string_encode(text, &payload);
	return client_request(fd, type, &payload, &reply, err);
}

struct membership {
	struct engine *engine;
	const char *name;
	const struct connect_options *options; /* of who joins */
};

/* A container_change_fn: takes a network out of the row, and gives up the lease. */
static int leave_network(void *ctx, struct container *container, struct err *err)
{
	const struct membership *membership = ctx;
	int r;

	for (size_t i = 0; i < container->config.networks.count; i++) {
		if (!str_eq(container->config.networks.items[i].network, membership->name))
			continue;
		network_config_release(&container->config.networks.items[i]);
		VEC_REMOVE(&container->config.networks, i);
		break;
	}
	r = leases_drop(membership->engine->store, membership->name, container->uuid, err);
	return r == -ENOENT ? 0 : r;
}

/* A container_change_fn: the other way round. */
static int enter_network(void *ctx, struct container *container, struct err *err)
{
	const struct membership *membership = ctx;
	const struct connect_options *options = membership->options;
	struct network_config added = { 0 };

	if (find_config(&container->config, membership->name))
		return err_set(err, -EEXIST, "container %s is in network %s already",
			       container->config.id, membership->name);
	if (container->config.networks.count >= NETWORKS_MAX)
		return err_set(err, -E2BIG, "a container can be in at most %d networks",
			       NETWORKS_MAX);
	added = (struct network_config){ .network = xstrdup(membership->name),
					 .address = xstrdup(options->address),
					 .mac_address = xstrdup(options->mac),
					 .aliases = strv_copy(options->aliases) };
	VEC_PUSH(&container->config.networks, added);
	return networks_take_lease(membership->engine, container, &added, err);
}

int engine_network_connect(struct engine *engine, const char *name, const char *id,
			   const struct connect_options *options, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct membership membership = { engine, name, options };
	int r = engine_get(engine, id, &container, err);

	if (r == 0)
		r = container_change(engine, container, enter_network, &membership, err);
	if (r < 0 || !container_is_active(container))
		return r;
	r = networks_tell_shim(engine, container, CTL_CONNECT, name, err);
	if (r < 0)
		containers_change_config(engine->store, container->uuid, leave_network, &membership,
					 NULL);
	return r;
}

int engine_network_disconnect(struct engine *engine, const char *name, const char *id,
			      struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct membership membership = { engine, name, NULL };
	int r = engine_get(engine, id, &container, err);

	if (r < 0)
		return r;
	if (!find_config(&container->config, name))
		return err_set(err, -ENOENT, "container %s is not in network %s",
			       container->config.id, name);
	if (container_is_active(container)) {
		r = networks_tell_shim(engine, container, CTL_DISCONNECT, name, err);
		if (r < 0)
			return r;
	}
	return container_change(engine, container, leave_network, &membership, err);
}
