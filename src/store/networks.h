/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks, and the leases of containers in them. A lease is a container's place in a network: a
 * host number, which makes its addresses of both families, and a MAC address. It is taken when the
 * container is made or connected and stays until it is removed or disconnected. A network with
 * leases cannot be deleted.
 */
#ifndef STORE_NETWORKS_H
#define STORE_NETWORKS_H

#include <jansson.h>

#include "store/store.h"
#include "store/subnet.h"

#define NETWORK_DEFAULT "default"
#define NETWORK_NONE "none" /* has no row: nobody is connected by it */
#define NETWORK_NAME_MAX 63

struct network {
	char *name;
	bool internal; /* no way out */
	struct subnet subnet;
	struct subnet subnet6;    /* family 0: none */
	json_t *labels, *options; /* objects of strings; never NULL in a row that was read */
	int64_t created_at;       /* Unix seconds */
};

void network_release(struct network *network);
/* "nat" or "hostOnly". */
const char *network_mode(const struct network *network);

struct network_list {
	struct network *items; /* owned */
	size_t count, capacity;
};
void network_list_release(struct network_list *list);

/* -EEXIST "network X already exists". */
int networks_insert(struct store *store, const struct network *network, struct err *err);
/* -ENOENT "network not found: X". */
int networks_get(struct store *store, const char *name, struct network *ret_network,
		 struct err *err);
int networks_list(struct store *store, struct network_list *ret_list,
		  struct err *err); /* by name */
/* -EBUSY with the containers named while there are leases. */
int networks_delete(struct store *store, const char *name, struct err *err);

#define LEASE_MAC_LENGTH 17

struct lease {
	char uuid[40];      /* of the container */
	char *container_id; /* what users call it */
	char *network;
	uint32_t host;
	char mac[LEASE_MAC_LENGTH + 1];
};

struct lease_list {
	struct lease *items; /* owned */
	size_t count, capacity;
};
void lease_release(struct lease *lease);
void lease_list_release(struct lease_list *list);

struct lease_wish {
	const char *address; /* of either family; NULL: the next free one */
	const char *mac;     /* NULL: made of the container's uuid and the network's name */
	bool durable;        /* outlives a power cut; not needed for a container that does not */
};

/* The container's lease in the network, taken now if it has none (the wish does not change one that
 * is there). The container's row has to exist. -EADDRINUSE when what is wished is another's,
 * -EINVAL when the address is none of the network's, -ENOSPC when it is full. */
int leases_take(struct store *store, const struct network *network, const char *uuid,
		const struct lease_wish *wish, struct lease *ret_lease, struct err *err);
/* -ENOENT when there is none. */
int leases_drop(struct store *store, const char *network, const char *uuid, struct err *err);
/* Of a container or a network; NULL: of all. By network, then host. */
int leases_list(struct store *store, const char *uuid, const char *network,
		struct lease_list *ret_list, struct err *err);

#endif
