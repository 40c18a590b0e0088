/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of the fake engine: "default" and "back", in which "web" is. */
#include "engine/network.h"

#include <errno.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "fake_engine.h"

#define CALLED(...) sbuf_addf(&fake.calls, __VA_ARGS__)

static struct network network_of(const char *name)
{
	struct network network = { .name = xstrdup(name),
				   .internal = str_eq(name, "back"),
				   .labels = json_object(),
				   .options = json_object(),
				   .created_at = 1767323045 };

	subnet_parse(network.internal ? "10.9.0.0/24" : "10.8.0.0/24", &network.subnet, NULL);
	subnet_parse(network.internal ? "fd09::/64" : "fd08::/64", &network.subnet6, NULL);
	return network;
}

static int check(const char *name, struct err *err)
{
	if (str_eq(name, "default") || str_eq(name, "back"))
		return 0;
	return err_set(err, -ENOENT, "network not found: %s", name);
}

int engine_network_create(struct engine *engine, const struct network_options *options,
			  struct err *err)
{
	AUTO_FREE char *labels = json_text(options->labels);
	AUTO_FREE char *more = json_text(options->options);

	CALLED("network-create %s %s %s%s %s %s\n", options->name, str_or(options->subnet, "-"),
	       str_or(options->subnet6, "-"), options->internal ? " internal" : "", labels, more);
	return 0;
}

int engine_network_delete(struct engine *engine, const char *name, struct err *err)
{
	CALLED("network-delete %s\n", name);
	return check(name, err);
}

int engine_network_prune(struct engine *engine, struct prune_result *ret_result, struct err *err)
{
	strv_push(&ret_result->removed, "back");
	return 0;
}

int engine_network_list(struct engine *engine, struct network_list *ret_list, struct err *err)
{
	*ret_list = (struct network_list){ 0 };
	VEC_PUSH(ret_list, network_of("back"));
	VEC_PUSH(ret_list, network_of("default"));
	return 0;
}

int engine_network_get(struct engine *engine, const char *name, struct network *ret_network,
		       struct err *err)
{
	if (check(name, err) < 0)
		return -ENOENT;
	*ret_network = network_of(name);
	return 0;
}

int engine_network_members(struct engine *engine, const char *name, struct lease_list *ret_list,
			   struct err *err)
{
	*ret_list = (struct lease_list){ 0 };
	if (str_eq(name, "back"))
		VEC_PUSH(ret_list, ((struct lease){ .container_id = xstrdup("web"),
						    .network = xstrdup(name),
						    .host = 4,
						    .mac = "02:00:00:00:00:04" }));
	return 0;
}

int engine_network_connect(struct engine *engine, const char *network, const char *container,
			   const struct connect_options *options, struct err *err)
{
	CALLED("network-connect %s %s ip=%s mac=%s", network, container,
	       str_or(options->address, "-"), str_or(options->mac, "-"));
	STRV_EACH (options->aliases, it)
		CALLED(" %s", *it);
	CALLED("\n");
	return check(network, err);
}

int engine_network_disconnect(struct engine *engine, const char *network, const char *container,
			      struct err *err)
{
	CALLED("network-disconnect %s %s\n", network, container);
	return check(network, err);
}

int engine_dns_create(struct engine *engine, const char *domain, uint32_t *ret_port,
		      struct err *err)
{
	CALLED("dns-create %s\n", domain);
	*ret_port = 10053;
	return 0;
}

int engine_dns_delete(struct engine *engine, const char *domain, struct err *err)
{
	CALLED("dns-delete %s\n", domain);
	return str_eq(domain, "test") ? 0 : err_set(err, -ENOENT, "domain not found: %s", domain);
}

int engine_dns_list(struct engine *engine, char ***ret_domains, struct err *err)
{
	strv_push(ret_domains, "test");
	return 0;
}

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

int engine_container_networks(struct engine *engine, const struct container *container,
			      struct attachment_list *ret_list, struct err *err)
{
	*ret_list = (struct attachment_list){ 0 };
	VEC_PUSH(ret_list, ((struct attachment){ .network = xstrdup("back"),
						 .hostname = xstrdup(container->config.id),
						 .ipv4_address = xstrdup("10.9.0.4/24"),
						 .ipv4_gateway = xstrdup("10.9.0.1"),
						 .mac_address = xstrdup("02:00:00:00:00:04") }));
	return 0;
}
