/* SPDX-License-Identifier: Apache-2.0 */
/* Networks that a container gains and loses while it runs: the network's process first, then the
 * guest; whoever asked is told when the guest has it. */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "proto/msg.h"
#include "shim/shim.h"

static void fail(struct client *client, const struct err *err)
{
	server_send_error(client, err->code, 125, err->message);
	server_drop(client);
}

static int send_change(struct shim *shim, const struct msg_interface_change *change)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_interface_change_encode(change, &out);
	shim->interfaces_pending++;
	return mux_send_control(shim->guest, MSG_INTERFACE, out.text, out.length);
}

static void send_file(struct shim *shim, const char *path, const char *content)
{
	const struct msg_file file = { .path = path, .content = content, .mode = 0644 };
	AUTO_SBUF struct sbuf out = { 0 };

	msg_file_encode(&file, &out);
	mux_send_control(shim->guest, MSG_FILE, out.text, out.length);
}

/* Addresses and name servers are others now. */
static void send_files(struct shim *shim)
{
	const struct container_config *config = &shim->container->config;
	AUTO_FREE char *hostname = xstrndup(str_or(config->hostname, config->id), 63);
	struct session_network network;
	AUTO_FREE char *resolv_conf = NULL;
	AUTO_FREE char *hosts = NULL;

	nets_describe(shim->nets, &network);
	hosts = session_hosts(config, hostname, &network);
	resolv_conf = session_resolv_conf(config, &network);
	send_file(shim, "/etc/hosts", hosts);
	if (!config->no_dns)
		send_file(shim, "/etc/resolv.conf", resolv_conf);
}

static bool refuse_busy(struct client *client)
{
	struct err err = { 0 };

	if (!server_is_answering(client))
		return true;
	if (!client->shim->interfaces_pending)
		return false;
	err_set(&err, -EBUSY, "another change of the container's networks is under way");
	fail(client, &err);
	return true;
}

int connect_request(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	struct msg_interface_change change;
	struct err err = { 0 };
	const char *network;
	int r = ctl_string_decode(data, size, &network);

	if (r < 0)
		return r;
	if (refuse_busy(client))
		return 0;
	if (nets_connect(shim->nets, network, &change, &err) < 0) {
		fail(client, &err);
		return 0;
	}
	snprintf(shim->network_pending, sizeof(shim->network_pending), "%s", network);
	client->wants_interface = true;
	server_expect_answer(client);
	send_files(shim);
	return send_change(shim, &change);
}

int disconnect_request(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	struct msg_interface_change changes[2];
	struct err err = { 0 };
	size_t count = 0;
	const char *network;
	int r = ctl_string_decode(data, size, &network);

	if (r < 0)
		return r;
	if (refuse_busy(client))
		return 0;
	if (nets_disconnect(shim->nets, network, changes, &count, &err) < 0) {
		if (!count) {
			fail(client, &err);
			return 0;
		}
		log_warning("container=%s %s", shim->container->config.id, err.message);
	}
	shim->network_pending[0] = '\0';
	client->wants_interface = true;
	server_expect_answer(client);
	send_files(shim);
	for (size_t i = 0; i < count && r == 0; i++)
		r = send_change(shim, &changes[i]);
	return r;
}

/* The row has the name already; the container's neighbours ask for it. */
int rename_request(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	struct err err = { 0 };
	const char *id;
	int r = ctl_string_decode(data, size, &id);

	if (r < 0)
		return r;
	free(shim->container->config.id);
	shim->container->config.id = xstrdup(id);
	if (shim->nets && nets_rename(shim->nets, id, &err) < 0) {
		fail(client, &err);
		return 0;
	}
	server_send(client, CTL_OK, NULL);
	server_drop(client);
	return 0;
}

/* A network that the guest could not be put into is left again. */
static void undo(struct shim *shim)
{
	struct msg_interface_change changes[2];
	size_t count = 0;

	if (shim->network_pending[0])
		nets_disconnect(shim->nets, shim->network_pending, changes, &count, NULL);
}

/* The network that it was to join is left; what the guest answers still, nobody hears. */
void connect_late(struct shim *shim)
{
	undo(shim);
	shim->network_pending[0] = '\0';
}

int connect_done(struct shim *shim, const uint8_t *data, size_t size)
{
	struct msg_interface_done done;
	struct err err = { 0 };
	int r = msg_interface_done_decode(data, size, &done);

	if (r < 0)
		return r;
	if (!shim->interfaces_pending)
		return -EPROTO;
	shim->interfaces_pending--;
	if (done.message[0])
		err_set(&err, -EIO, "%s", done.message);
	if (!err.code && shim->interfaces_pending)
		return 0;
	if (err.code)
		undo(shim);
	for (struct client *client = shim->clients; client; client = client->next) {
		if (!client->wants_interface || client->dead)
			continue;
		client->wants_interface = false;
		if (err.code) {
			fail(client, &err);
			continue;
		}
		server_send(client, CTL_OK, NULL);
		server_drop(client);
	}
	return 0;
}
