/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/documents.h"

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

static void set_time(json_t *object, const char *name, int64_t unix_seconds)
{
	AUTO_FREE char *text = unix_seconds ? str_time(unix_seconds) : NULL;

	json_set_string(object, name, text);
}

static json_t *document_of_attachment(const struct attachment *attachment)
{
	json_t *document = json_object();

	json_set_string(document, "network", attachment->network);
	json_set_string(document, "hostname", attachment->hostname);
	json_set_string(document, "ipv4Address", attachment->ipv4_address);
	json_set_string(document, "ipv4Gateway", attachment->ipv4_gateway);
	json_set_string(document, "ipv6Address", attachment->ipv6_address);
	json_set_string(document, "macAddress", attachment->mac_address);
	if (attachment->mtu)
		json_object_set_new(document, "mtu", json_integer(attachment->mtu));
	return document;
}

/* Those of a container whose machine lives. */
static json_t *networks_of(struct engine *engine, const struct container *container)
{
	CLEANUP(attachment_list_release) struct attachment_list list = { 0 };
	json_t *networks = json_array();

	if (cli_fits_active(container) &&
	    engine_container_networks(engine, container, &list, NULL) == 0)
		VEC_EACH (&list, it)
			json_array_append_new(networks, document_of_attachment(it));
	return networks;
}

json_t *document_of_container(struct engine *engine, const struct container *container)
{
	json_t *configuration = container_config_to_json(&container->config);
	json_t *health = engine_container_health(engine, container);
	json_t *status = json_object();
	json_t *document = json_object();

	json_object_del(configuration, "hull"); /* what only the programs need */
	json_set_string(status, "state", container_state_names[container->state]);
	if (container->held)
		json_set_string(status, "reason",
				"the host's disk is full; it goes on when there is room");
	json_object_set_new(status, "networks", networks_of(engine, container));
	set_time(status, "startedDate", container->started_at);
	if (health)
		json_object_set_new(status, "health", health);
	if (container->has_exit_code)
		json_object_set_new(status, "exitCode", json_integer(container->exit_code));
	json_set_string(document, "id", container->config.id);
	json_object_set_new(document, "configuration", configuration);
	json_object_set_new(document, "status", status);
	return document;
}

json_t *document_of_network(const struct network *network)
{
	json_t *configuration = json_object();
	json_t *document = json_object();
	json_t *status = json_object();
	char text[SUBNET_TEXT_MAX];

	json_set_string(configuration, "name", network->name);
	set_time(configuration, "creationDate", network->created_at);
	json_set_string(configuration, "mode", network_mode(network));
	subnet_text(&network->subnet, text);
	json_set_string(configuration, "ipv4Subnet", text);
	json_set_string(status, "ipv4Subnet", text);
	if (network->subnet6.family) {
		subnet_text(&network->subnet6, text);
		json_set_string(configuration, "ipv6Subnet", text);
		json_set_string(status, "ipv6Subnet", text);
	}
	json_object_set(configuration, "labels", network->labels);
	json_object_set(configuration, "options", network->options);
	subnet_host_text(&network->subnet, 1, text);
	json_set_string(status, "ipv4Gateway", text);
	json_set_string(document, "id", network->name);
	json_object_set_new(document, "configuration", configuration);
	json_object_set_new(document, "status", status);
	return document;
}

static json_t *document_of_descriptor(const struct image_row *row)
{
	json_t *descriptor = json_object();

	json_set_string(descriptor, "mediaType", row->media_type);
	json_set_string(descriptor, "digest", row->digest);
	json_object_set_new(descriptor, "size", json_integer((json_int_t)row->size));
	return descriptor;
}

static json_t *document_of_variant(const struct image *image)
{
	json_t *platform = json_object();
	json_t *variant = json_object();

	json_set_string(platform, "os", image->platform.os);
	json_set_string(platform, "architecture", image->platform.architecture);
	if (image->platform.variant[0])
		json_set_string(platform, "variant", image->platform.variant);
	json_object_set_new(variant, "platform", platform);
	json_set_string(variant, "digest", image->manifest.digest);
	json_object_set_new(variant, "size", json_integer((json_int_t)image->layers_size));
	json_object_set(variant, "config", image->config);
	json_set_string(variant, "snapshot", image->snapshot);
	return variant;
}

json_t *document_of_image(const struct image_detail *detail)
{
	json_t *configuration = json_object();
	json_t *variants = json_array();
	json_t *document = json_object();

	set_time(configuration, "creationDate", detail->row.created_at);
	json_set_string(configuration, "name", detail->row.reference);
	json_object_set_new(configuration, "descriptor", document_of_descriptor(&detail->row));
	for (size_t i = 0; i < detail->image_count; i++)
		json_array_append_new(variants, document_of_variant(detail->images[i]));
	json_set_string(document, "id", detail->row.digest);
	json_object_set_new(document, "configuration", configuration);
	json_object_set_new(document, "variants", variants);
	return document;
}

json_t *document_of_volume(const struct volume *volume, const char *source)
{
	json_t *configuration = json_object();
	json_t *document = json_object();

	json_set_string(configuration, "name", volume->name);
	json_set_string(configuration, "driver", "local");
	json_set_string(configuration, "format", volume_kind_names[volume->kind]);
	json_set_string(configuration, "source", source);
	set_time(configuration, "creationDate", volume->created_at);
	json_object_set(configuration, "labels", volume->labels);
	json_object_set(configuration, "options", volume->options);
	if (volume->size_bytes)
		json_object_set_new(configuration, "sizeInBytes",
				    json_integer((json_int_t)volume->size_bytes));
	json_set_string(document, "id", volume->name);
	json_object_set_new(document, "configuration", configuration);
	return document;
}

json_t *document_of_snapshot(const struct snapshot *snapshot, const struct snapshot_usage *usage)
{
	json_t *configuration = container_config_to_json(&snapshot->config);
	const json_t *memory = json_get_object(snapshot->parts, "memory");
	json_t *document = json_object();

	json_object_del(configuration, "hull"); /* what only the programs need */
	json_set_string(document, "id", snapshot->uuid);
	json_set_string(document, "name", snapshot->name);
	json_set_string(document, "container", snapshot->config.id);
	json_set_string(document, "state", snapshot->has_memory ? "running" : "stopped");
	set_time(document, "creationDate", snapshot->created_at);
	json_object_set_new(document, "configuration", configuration);
	json_object_set_new(document, "sizeInBytes", json_integer((json_int_t)usage->own_bytes));
	if (json_get_object(snapshot->parts, "parent"))
		json_object_set(document, "parent", json_get_object(snapshot->parts, "parent"));
	if (!memory)
		return document;
	json_object_set_new(document, "memoryInBytes",
			    json_integer(json_get_int(memory, "bytes", 0)));
	json_object_set_new(document, "savedMemoryInBytes",
			    json_integer(json_get_int(memory, "pages", 0) * 4096));
	json_object_set_new(document, "sharedInBytes",
			    json_integer((json_int_t)usage->shared_bytes));
	json_object_set_new(document, "cacheInBytes", json_integer((json_int_t)usage->cache_bytes));
	return document;
}

json_t *document_of_usage(const struct usage *usage)
{
	json_t *document = json_object();

	json_object_set_new(document, "total", json_integer((json_int_t)usage->total));
	json_object_set_new(document, "active", json_integer((json_int_t)usage->active));
	json_object_set_new(document, "sizeInBytes", json_integer((json_int_t)usage->size_bytes));
	json_object_set_new(document, "reclaimable",
			    json_integer((json_int_t)usage->reclaimable_bytes));
	return document;
}
