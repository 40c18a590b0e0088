/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks as users see them. `default` is made when it is first looked at; `none` stands for no
 * network. Every container's place in its networks is a lease in the store (store/networks.h).
 */
#ifndef ENGINE_NETWORK_H
#define ENGINE_NETWORK_H

#include "engine/engine.h"
#include "store/networks.h"

struct network_options {
	const char *name;
	const char *subnet, *subnet6; /* NULL: chosen */
	bool internal;
	json_t *labels, *options; /* objects of strings; borrowed; NULL: none */
};

/* -EEXIST, -EINVAL for a name, subnet or option that is none, -EADDRINUSE for a subnet that another
 * network has. A subnet that hides a route of the host is warned of. */
int engine_network_create(struct engine *engine, const struct network_options *options,
			  struct err *err);
/* -EBUSY with the containers named while it is used. */
int engine_network_delete(struct engine *engine, const char *name, struct err *err);
/* All that no container is in, but the default one. */
int engine_network_prune(struct engine *engine, struct prune_result *ret_result, struct err *err);
int engine_network_list(struct engine *engine, struct network_list *ret_list, struct err *err);
int engine_network_get(struct engine *engine, const char *name, struct network *ret_network,
		       struct err *err);
/* Who is in it. */
int engine_network_members(struct engine *engine, const char *name, struct lease_list *ret_list,
			   struct err *err);

struct connect_options {
	const char *address, *mac; /* wished; NULL: chosen */
	char *const *aliases;
};
/* A stopped container joins with its next start, a running one at once if its machine has a network
 * card to spare. -EEXIST when it is in there. */
int engine_network_connect(struct engine *engine, const char *network, const char *container,
			   const struct connect_options *options, struct err *err);
int engine_network_disconnect(struct engine *engine, const char *network, const char *container,
			      struct err *err);

/* Names of containers on the host (engine/host_names.h). *ret_port: of 127.0.0.1, where names below
 * the domain are answered from now on. -EEXIST, -EINVAL. */
int engine_dns_create(struct engine *engine, const char *domain, uint32_t *ret_port,
		      struct err *err);
/* -ENOENT "domain not found: X". */
int engine_dns_delete(struct engine *engine, const char *domain, struct err *err);
/* *ret_domains is owned by the caller; NULL: none. */
int engine_dns_list(struct engine *engine, char ***ret_domains, struct err *err);

/* A container's place in a network, as it is shown. All owned. */
struct attachment {
	char *network, *hostname;
	char *ipv4_address, *ipv4_gateway; /* address with prefix */
	char *ipv6_address;                /* NULL: none */
	char *mac_address;
	uint32_t mtu; /* 0: the network's */
};
struct attachment_list {
	struct attachment *items; /* owned */
	size_t count, capacity;
};
void attachment_list_release(struct attachment_list *list);
int engine_container_networks(struct engine *engine, const struct container *container,
			      struct attachment_list *ret_list, struct err *err);

#endif
