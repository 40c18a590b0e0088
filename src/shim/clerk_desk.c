/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/clerk_desk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/client.h"
#include "shim/clerk.h"
#include "shim/clerk_words.h"
#include "shim/net_start.h"
#include "shim/volume_files.h"
#include "store/store.h"

#define RESTART_MAX 64

struct desk {
	struct store *store;   /* owned */
	char *root;            /* owned */
	struct container *own; /* owned: the row, its configuration as it was in the beginning */
	const struct launch *launch; /* borrowed; of a starter, NULL for the clerk of the row */
	int networks; /* owned: what networks' processes are confined to; 0: nothing of their own */
};

/* *ret_answer is made by those that have something to say. */
typedef int (*request_fn)(struct desk *desk, const json_t *request, json_t **ret_answer,
			  struct err *err);

static int on_get(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	CLEANUP(container_freep) struct container *row = NULL;
	int r = containers_get_uuid(desk->store, desk->own->uuid, &row, err);

	if (r < 0)
		return r;
	*ret_answer = clerk_row_to_json(row);
	json_object_set_new(*ret_answer, "config", container_config_to_json(&row->config));
	return 0;
}

static int on_state(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	if (clerk_row_from_json(request, desk->own) < 0)
		return err_set(err, -EINVAL, "no such state");
	return containers_update(desk->store, desk->own, err);
}

/* A container_change_fn. */
static int change_limits(void *ctx, struct container *row, struct err *err)
{
	const json_t *request = ctx;
	const char *restart = str_or(json_get_string(request, "restart"), "");
	int64_t cpus = json_get_int(request, "cpuHundredths", 0);
	int64_t memory = json_get_int(request, "memory", 0);
	int64_t pids = json_get_int(request, "pids", 0);

	if (cpus < 0 || cpus > UINT32_MAX || memory < 0 || pids < 0 || pids > UINT32_MAX ||
	    strlen(restart) > RESTART_MAX)
		return err_set(err, -EINVAL, "no such limits");
	config_set_limits(&row->config, &(struct config_limits){ .cpu_hundredths = (uint32_t)cpus,
								 .memory_bytes = (uint64_t)memory,
								 .pids_limit = (uint32_t)pids,
								 .restart = restart });
	return 0;
}

static int on_limits(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	return containers_change_config(desk->store, desk->own->uuid, change_limits,
					(void *)request, err);
}

/* A container_change_fn. */
static int change_ports(void *ctx, struct container *row, struct err *err)
{
	const json_t *ports = json_get_array(ctx, "ports");
	size_t i = 0;

	if (json_array_size(ports) != row->config.ports.count)
		return err_set(err, -EINVAL, "its row has other ports");
	VEC_EACH (&row->config.ports, it) {
		json_int_t port = json_integer_value(json_array_get(ports, i++));

		if (port < 0 || port > UINT16_MAX ||
		    (!it->automatic && it->host_port && it->host_port != (uint32_t)port))
			return err_set(err, -EINVAL, "its row has other ports");
		it->host_port = (uint32_t)port;
	}
	return 0;
}

static int on_ports(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	return containers_change_config(desk->store, desk->own->uuid, change_ports, (void *)request,
					err);
}

static bool is_in_network(const struct container *row, const char *name)
{
	VEC_EACH (&row->config.networks, it)
		if (str_eq(it->network, name))
			return true;
	return false;
}

/* One that the row is in. */
static int get_network(const struct desk *desk, const char *name, struct network *ret_network,
		       struct err *err)
{
	CLEANUP(container_freep) struct container *row = NULL;
	int r = containers_get_uuid(desk->store, desk->own->uuid, &row, err);

	if (r == 0 && !is_in_network(row, name))
		r = err_set(err, -EPERM, "the container is not in network %s", name);
	return r < 0 ? r : networks_get(desk->store, name, ret_network, err);
}

static int on_network(struct desk *desk, const json_t *request, json_t **ret_answer,
		      struct err *err)
{
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };
	CLEANUP(network_release) struct network network = { 0 };
	const char *name = str_or(json_get_string(request, "name"), "");
	int r = get_network(desk, name, &network, err);

	if (r == 0)
		r = leases_list(desk->store, desk->own->uuid, name, &leases, err);
	if (r == 0 && !leases.count)
		r = err_set(err, -ENOENT, "the container has no address in network %s", name);
	if (r == 0)
		*ret_answer = clerk_network_to_json(&network, &leases.items[0]);
	return r;
}

/* It waits for members for a moment (NET_LINGER_MS), also without this connection. */
static int on_start_network(struct desk *desk, const json_t *request, json_t **ret_answer,
			    struct err *err)
{
	CLEANUP(network_release) struct network network = { 0 };
	struct net_start start;
	int r = get_network(desk, str_or(json_get_string(request, "name"), ""), &network, err);

	if (r < 0)
		return r;
	net_start_init(&start, desk->launch, &network);
	start.spec.landlock_fd = desk->networks;
	r = net_client_reach(&start.spec, err);
	net_start_release(&start);
	if (r < 0)
		return r;
	close(r);
	return 0;
}

static int on_delete(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	if (!desk->own->config.auto_remove)
		return err_set(err, -EPERM, "the container does not remove itself");
	return containers_delete(desk->store, desk->own->uuid, err);
}

/* Nothing is removed that a row mounts; its own has to be gone. */
static int on_volumes(struct desk *desk, const json_t *request, json_t **ret_answer,
		      struct err *err)
{
	volumes_remove_anonymous(desk->store, desk->root, &desk->own->config);
	return 0;
}

static const struct {
	const char *name;
	request_fn handle;
	bool of_starter;
} requests[] = {
	{ "get", on_get },         { "state", on_state },
	{ "limits", on_limits },   { "ports", on_ports },
	{ "network", on_network }, { "delete", on_delete },
	{ "volumes", on_volumes }, { "start network", on_start_network, .of_starter = true },
};

int desk_answer(struct desk *desk, const json_t *request, json_t **ret_answer, struct err *err)
{
	const char *name = json_get_string(request, "do");

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (str_eq(requests[i].name, name) && requests[i].of_starter == !!desk->launch)
			return requests[i].handle(desk, request, ret_answer, err);
	return err_set(err, -ENOSYS, "no such request");
}

int desk_open(const char *root, const char *uuid, const struct launch *launch,
	      struct desk **ret_desk, struct err *err)
{
	CLEANUP(desk_closep) struct desk *desk = xcalloc(1, sizeof(*desk));
	int r;

	desk->root = xstrdup(root);
	desk->launch = launch;
	r = store_open(root, &desk->store, err);
	if (r == 0)
		r = containers_get_uuid(desk->store, uuid, &desk->own, err);
	if (r < 0)
		return r;
	*ret_desk = TAKE_PTR(desk);
	return 0;
}

void desk_confine_networks(struct desk *desk, int landlock_fd)
{
	desk->networks = landlock_fd;
}

struct desk *desk_close(struct desk *desk)
{
	if (!desk)
		return NULL;
	if (desk->networks > 0)
		close(desk->networks);
	container_free(desk->own);
	store_close(desk->store);
	free(desk->root);
	free(desk);
	return NULL;
}

const struct container_config *desk_config(const struct desk *desk)
{
	return &desk->own->config;
}
