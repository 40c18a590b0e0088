/* SPDX-License-Identifier: Apache-2.0 */
#include "store/networks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/db.h"

#define NETWORK_COLUMNS "name, internal, subnet, subnet6, labels, options, created_at"
#define USERS_SHOWN 4
#define TAKE_ATTEMPTS 100 /* each fails only when another process took the address meanwhile */

void network_release(struct network *network)
{
	free(network->name);
	json_decref(network->labels);
	json_decref(network->options);
	*network = (struct network){ 0 };
}

const char *network_mode(const struct network *network)
{
	return network->internal ? "hostOnly" : "nat";
}

void network_list_release(struct network_list *list)
{
	VEC_EACH (list, it)
		network_release(it);
	VEC_FREE(list);
}

static int read_object(sqlite3_stmt *statement, int column, json_t **ret_json, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return json_parse(text, strlen(text), "a network's row", ret_json, err);
}

static int read_network(sqlite3_stmt *statement, struct network *ret_network, struct err *err)
{
	CLEANUP(network_release) struct network network = { .name = db_text(statement, 0) };
	const char *subnet6 = (const char *)sqlite3_column_text(statement, 3);
	int r;

	network.internal = sqlite3_column_int(statement, 1);
	network.created_at = sqlite3_column_int64(statement, 6);
	r = subnet_parse((const char *)sqlite3_column_text(statement, 2), &network.subnet, err);
	if (r == 0 && subnet6)
		r = subnet_parse(subnet6, &network.subnet6, err);
	if (r == 0)
		r = read_object(statement, 4, &network.labels, err);
	if (r == 0)
		r = read_object(statement, 5, &network.options, err);
	if (r < 0)
		return r;
	*ret_network = network;
	network = (struct network){ 0 };
	return 0;
}

int networks_insert(struct store *store, const struct network *network, struct err *err)
{
	AUTO_FREE char *labels = network->labels ? json_text(network->labels) : xstrdup("{}");
	AUTO_FREE char *options = network->options ? json_text(network->options) : xstrdup("{}");
	char subnet6[SUBNET_TEXT_MAX];
	char subnet[SUBNET_TEXT_MAX];
	int r;

	subnet_text(&network->subnet, subnet);
	if (network->subnet6.family)
		subnet_text(&network->subnet6, subnet6);
	db_set_durable(store, true);
	r = db_change(store, err,
		      "INSERT INTO networks (" NETWORK_COLUMNS
		      ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		      "titttti", network->name, (int64_t)network->internal, subnet,
		      network->subnet6.family ? subnet6 : NULL, labels, options,
		      network->created_at ? network->created_at : (int64_t)time(NULL));
	if (r == -EEXIST)
		return err_set(err, r, "network %s already exists", network->name);
	return r < 0 ? r : 0;
}

int networks_get(struct store *store, const char *name, struct network *ret_network,
		 struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	int r = db_prepare(store, &statement, err,
			   "SELECT " NETWORK_COLUMNS " FROM networks WHERE name = ?1", "t", name);

	if (r == 0)
		r = db_step(store, statement, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "network not found: %s%s", name,
			       str_eq(name, "host")
				       ? " (a container has a machine and a network of "
					 "its own; publish its ports with '-p')"
				       : "");
	return read_network(statement, ret_network, err);
}

int networks_list(struct store *store, struct network_list *ret_list, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(network_list_release) struct network_list list = { 0 };
	int r = db_prepare(store, &statement, err,
			   "SELECT " NETWORK_COLUMNS " FROM networks ORDER BY name", "");

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0) {
		struct network network = { 0 };

		r = read_network(statement, &network, err);
		if (r < 0)
			return r;
		VEC_PUSH(&list, network);
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct network_list){ 0 };
	return 0;
}

/* Who holds on to the network. */
static int refuse_used(struct store *store, const char *name, struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list list = { 0 };
	AUTO_SBUF struct sbuf users = { 0 };
	int r = leases_list(store, NULL, name, &list, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count && i < USERS_SHOWN; i++)
		sbuf_addf(&users, "%s%s", i ? ", " : "", list.items[i].container_id);
	return err_set(err, -EBUSY, "network %s is used by %s%s", name, str_or(users.text, ""),
		       list.count > USERS_SHOWN ? ", …" : "");
}

int networks_delete(struct store *store, const char *name, struct err *err)
{
	int r;

	db_set_durable(store, true);
	r = db_change(store, err,
		      "DELETE FROM networks WHERE name = ?1 AND NOT EXISTS "
		      "(SELECT 1 FROM leases WHERE network = ?1)",
		      "t", name);
	if (r < 0)
		return r;
	if (r == 0) {
		CLEANUP(network_release) struct network network = { 0 };

		r = networks_get(store, name, &network, err);
		return r < 0 ? r : refuse_used(store, name, err);
	}
	return 0;
}

/* --- leases --- */

void lease_release(struct lease *lease)
{
	free(lease->container_id);
	free(lease->network);
	*lease = (struct lease){ 0 };
}

void lease_list_release(struct lease_list *list)
{
	VEC_EACH (list, it)
		lease_release(it);
	VEC_FREE(list);
}

int leases_list(struct store *store, const char *uuid, const char *network,
		struct lease_list *ret_list, struct err *err)
{
	AUTO_STATEMENT sqlite3_stmt *statement = NULL;
	CLEANUP(lease_list_release) struct lease_list list = { 0 };
	int r = db_prepare(store, &statement, err,
			   "SELECT leases.uuid, id, network, host, mac FROM leases"
			   " JOIN containers ON containers.uuid = leases.uuid"
			   " WHERE (?1 IS NULL OR leases.uuid = ?1)"
			   " AND (?2 IS NULL OR network = ?2) ORDER BY network, host",
			   "tt", uuid, network);

	if (r < 0)
		return r;
	while ((r = db_step(store, statement, err)) > 0) {
		struct lease lease = { .container_id = db_text(statement, 1),
				       .network = db_text(statement, 2),
				       .host = (uint32_t)sqlite3_column_int64(statement, 3) };

		snprintf(lease.uuid, sizeof(lease.uuid), "%s",
			 (const char *)sqlite3_column_text(statement, 0));
		snprintf(lease.mac, sizeof(lease.mac), "%s",
			 (const char *)sqlite3_column_text(statement, 4));
		VEC_PUSH(&list, lease);
	}
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct lease_list){ 0 };
	return 0;
}

/* Locally administered, and the same for the container whenever it is connected again. */
static void make_mac(const char *network, const char *uuid, char out[LEASE_MAC_LENGTH + 1])
{
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, uuid, strlen(uuid));

	hash = hash_fnv1a(hash, network, strlen(network));
	snprintf(out, LEASE_MAC_LENGTH + 1, "02:%02x:%02x:%02x:%02x:%02x",
		 (unsigned)(hash >> 32 & 0xff), (unsigned)(hash >> 24 & 0xff),
		 (unsigned)(hash >> 16 & 0xff), (unsigned)(hash >> 8 & 0xff),
		 (unsigned)(hash & 0xff));
}

static bool is_taken(const struct lease_list *list, uint32_t host)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].host == host)
			return true;
	return false;
}

/* Beyond the last one, so that an address that was just given up is not another's at once; then the
 * lowest gap. */
static int choose_host(const struct network *network, const struct lease_list *list,
		       uint32_t *ret_host, struct err *err)
{
	uint32_t last = subnet_last_host(&network->subnet);
	uint32_t host = SUBNET_FIRST_HOST;

	if (list->count && list->items[list->count - 1].host >= host)
		host = list->items[list->count - 1].host + 1;
	if (host > last)
		for (host = SUBNET_FIRST_HOST; host <= last && is_taken(list, host);)
			host++;
	if (host > last)
		return err_set(err, -ENOSPC, "network %s has no free address", network->name);
	*ret_host = host;
	return 0;
}

static int find_host(const struct network *network, const char *address, uint32_t *ret_host,
		     struct err *err)
{
	bool v6 = strchr(address, ':');

	if (v6 && !network->subnet6.family)
		return err_set(err, -EINVAL, "network %s has no IPv6 subnet for address '%s'",
			       network->name, address);
	return subnet_find_host(v6 ? &network->subnet6 : &network->subnet, address, ret_host, err);
}

/* One attempt: -EEXIST when another process was faster. */
static int try_take(struct store *store, const struct network *network, const char *uuid,
		    const struct lease_wish *wish, const char *mac, struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list list = { 0 };
	uint32_t host = 0;
	int r = leases_list(store, NULL, network->name, &list, err);

	if (r == 0)
		r = wish->address ? find_host(network, wish->address, &host, err)
				  : choose_host(network, &list, &host, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++) {
		const struct lease *lease = &list.items[i];

		if (str_eq(lease->mac, mac))
			return err_set(err, -EADDRINUSE, "address %s is used by container %s", mac,
				       lease->container_id);
		if (lease->host == host)
			return err_set(err, -EADDRINUSE, "address %s is used by container %s",
				       wish->address, lease->container_id);
	}
	db_set_durable(store, wish->durable);
	r = db_change(store, err,
		      "INSERT INTO leases (network, uuid, host, mac) VALUES (?1, ?2, ?3, ?4)",
		      "ttit", network->name, uuid, (int64_t)host, mac);
	return r < 0 ? r : 0;
}

static int find_lease(struct store *store, const char *network, const char *uuid,
		      struct lease *ret_lease, struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list list = { 0 };
	int r = leases_list(store, uuid, network, &list, err);

	if (r < 0)
		return r;
	if (!list.count)
		return -ENOENT;
	*ret_lease = list.items[0];
	list.items[0] = (struct lease){ 0 };
	return 0;
}

int leases_take(struct store *store, const struct network *network, const char *uuid,
		const struct lease_wish *wish, struct lease *ret_lease, struct err *err)
{
	char mac[LEASE_MAC_LENGTH + 1];
	int r = find_lease(store, network->name, uuid, ret_lease, err);

	if (r != -ENOENT)
		return r;
	make_mac(network->name, uuid, mac);
	if (wish->mac)
		snprintf(mac, sizeof(mac), "%s", wish->mac);
	for (int i = 0; i < TAKE_ATTEMPTS; i++) {
		r = try_take(store, network, uuid, wish, mac, err);
		if (r != -EEXIST)
			break;
	}
	if (r == -EEXIST)
		return err_set(err, -EBUSY, "network %s gives no address", network->name);
	if (r == 0)
		r = find_lease(store, network->name, uuid, ret_lease, err);
	return r == -ENOENT ? err_set(err, r, "container not found: %s", uuid) : r;
}

int leases_drop(struct store *store, const char *network, const char *uuid, struct err *err)
{
	int r;

	db_set_durable(store, true);
	r = db_change(store, err, "DELETE FROM leases WHERE network = ?1 AND uuid = ?2", "tt",
		      network, uuid);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, -ENOENT, "the container is not connected to %s", network);
}
