/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/output.h"
#include "engine/network.h"

struct network_inspect_options {
	int format;
};

static const struct option_spec network_inspect_options[] = {
	OPT_CHOICE("format", 0, output_document_names, struct network_inspect_options, format,
		   "how to print it (default json)"),
	OPT_END,
};

/* The contract's document, and who is in the network. */
static json_t *document_with_members(const struct network *network, const struct lease_list *leases)
{
	json_t *document = document_of_network(network);
	json_t *members = json_array();

	for (size_t i = 0; i < leases->count; i++) {
		const struct lease *lease = &leases->items[i];
		char address[INET6_ADDRSTRLEN];
		json_t *member = json_object();

		json_set_string(member, "id", lease->container_id);
		subnet_host_text(&network->subnet, lease->host, address);
		json_set_string(member, "ipv4Address", address);
		if (network->subnet6.family) {
			subnet_host_text(&network->subnet6, lease->host, address);
			json_set_string(member, "ipv6Address", address);
		}
		json_set_string(member, "macAddress", lease->mac);
		json_array_append_new(members, member);
	}
	json_object_set_new(json_object_get(document, "status"), "containers", members);
	return document;
}

static int network_inspect_one(struct cli *cli, const void *ctx, const char *name, struct err *err)
{
	json_t *const *documents = ctx;
	CLEANUP(lease_list_release) struct lease_list leases = { 0 };
	CLEANUP(network_release) struct network network = { 0 };
	int r = engine_network_get(cli->engine, name, &network, err);

	if (r == 0)
		r = engine_network_members(cli->engine, name, &leases, err);
	if (r == 0)
		json_array_append_new(*documents, document_with_members(&network, &leases));
	return r;
}

static int network_inspect_run(struct cli *cli, const void *values, char **args, struct err *err)
{
	const struct network_inspect_options *options = values;

	return cli_inspect(cli, args, network_inspect_one,
			   OUTPUT_JSON + (enum output_format)options->format, err);
}

const struct command cmd_network_inspect = {
	.name = "inspect",
	.args = "NETWORK...",
	.summary = "show all that is known of networks",
	.groups = (const struct option_group[]){ { NULL, network_inspect_options, 0 }, { 0 } },
	.options_size = sizeof(struct network_inspect_options),
	.min_args = 1,
	.max_args = ARGS_MANY,
	.complete = COMPLETE_NETWORKS,
	.run = network_inspect_run,
};
