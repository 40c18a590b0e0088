/* SPDX-License-Identifier: Apache-2.0 */
/* The files of names that a container finds written for it. */
#include "shim/session.h"

#include <string.h>

#include "base/str.h"

/* NAME:ADDRESS, as it was checked; "host-gateway" is the host as the container sees it. */
static void add_host(struct sbuf *text, const char *entry, const struct session_network *network)
{
	const char *address = strchr(entry, ':') + 1;

	if (str_eq(address, "host-gateway"))
		address = network->gateway;
	if (*address)
		sbuf_addf(text, "%s\t%.*s\n", address, (int)(strchr(entry, ':') - entry), entry);
}

char *session_hosts(const struct container_config *config, const char *hostname,
		    const struct session_network *network)
{
	struct sbuf text = { 0 };

	sbuf_add(&text, "127.0.0.1\tlocalhost\n"
			"::1\tlocalhost ip6-localhost ip6-loopback\n");
	sbuf_addf(&text, "%s\t%s\n", network->address[0] ? network->address : "127.0.1.1",
		  hostname);
	if (network->address6[0])
		sbuf_addf(&text, "%s\t%s\n", network->address6, hostname);
	STRV_EACH (config->add_hosts, it)
		add_host(&text, *it, network);
	return sbuf_take(&text);
}

/* resolv.conf(5). The name server is the network's, which knows the container's neighbours; it asks
 * the servers that --dns names. */
char *session_resolv_conf(const struct container_config *config,
			  const struct session_network *network)
{
	const struct dns_config *dns = &config->dns;
	struct sbuf text = { 0 };

	for (size_t i = 0; i < network->count; i++)
		sbuf_addf(&text, "nameserver %s\n", network->names[i]);
	if (dns->domain || strv_count(dns->search_domains)) {
		sbuf_add(&text, "search");
		if (dns->domain)
			sbuf_addf(&text, " %s", dns->domain);
		STRV_EACH (dns->search_domains, it)
			sbuf_addf(&text, " %s", *it);
		sbuf_add(&text, "\n");
	}
	if (strv_count(dns->options)) {
		sbuf_add(&text, "options");
		STRV_EACH (dns->options, it)
			sbuf_addf(&text, " %s", *it);
		sbuf_add(&text, "\n");
	}
	return sbuf_take(&text);
}
