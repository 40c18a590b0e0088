/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/network_options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#include "base/str.h"
#include "store/networks.h"

#define OPTS struct network_flags

#define PUBLISH_MAX 64 /* specifications */
#define RANGE_MAX 4096 /* ports, of all specifications */
#define MTU_MIN 1280   /* what IPv6 needs */
#define MTU_MAX 65520
#define NAME_MAX_LENGTH 253
#define RESOLVER_WORD_MAX 256

const struct option_spec network_options[] = {
	OPT_LIST("network", 0, "NAME[,mac=M][,mtu=N][,ip=A]", OPTS, networks,
		 "join this network (default: default); none: no network",
		 .complete = COMPLETE_NETWORKS),
	OPT_LIST("network-alias", 0, "NAME", OPTS, aliases,
		 "a further name of it, for the other containers of its networks"),
	OPT_LIST("publish", 'p', "[[IP:]HOST:]CONTAINER[/PROTOCOL]", OPTS, publish,
		 "let a port, or a range of them, of the host lead to it"),
	OPT_FLAG("publish-all", 'P', OPTS, publish_all,
		 "publish what the image exposes on all addresses of the host"),
	OPT_FLAG("no-publish", 0, OPTS, no_publish,
		 "do not map what the image exposes to ports of 127.0.0.1"),
	OPT_LIST("dns", 0, "ADDRESS", OPTS, nameservers,
		 "ask this server for names that are no container's"),
	OPT_STRING("dns-domain", 0, "DOMAIN", OPTS, domain, "its own domain, searched first"),
	OPT_LIST("dns-option", 0, "OPTION", OPTS, dns_options,
		 "an option of its resolver: ndots:2, timeout:1"),
	OPT_LIST("dns-search", 0, "DOMAIN", OPTS, search_domains,
		 "a domain that is searched for short names"),
	OPT_FLAG("no-dns", 0, OPTS, no_dns, "leave /etc/resolv.conf as the image has it"),
	OPT_LIST("add-host", 0, "NAME:ADDRESS", OPTS, add_hosts,
		 "add a line to /etc/hosts; the address host-gateway is the host"),
	OPT_END,
};

int parse_address(const char *text, struct err *err)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) != 1 && inet_pton(AF_INET6, text, bytes) != 1)
		return err_set(err, -EINVAL, "invalid IP address '%s'", text);
	return 0;
}

int parse_mac(const char *text, struct err *err)
{
	bool ok = strlen(text) == LEASE_MAC_LENGTH;
	unsigned first = 0;

	for (int i = 0; ok && i < LEASE_MAC_LENGTH; i++)
		ok = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char)text[i]);
	if (!ok)
		return err_set(err, -EINVAL, "invalid MAC address '%s': it is like %s", text,
			       "02:12:34:56:78:9a");
	sscanf(text, "%2x", &first);
	if (first & 1)
		return err_set(err, -EINVAL, "MAC address '%s' is that of a group", text);
	return 0;
}

int parse_host_name(const char *text, struct err *err)
{
	bool ok = isalnum((unsigned char)text[0]) && strlen(text) <= NAME_MAX_LENGTH &&
		  !strstr(text, "..");

	for (const char *c = text; ok && *c; c++)
		ok = isalnum((unsigned char)*c) || strchr("-_.", *c);
	return ok ? 0 : err_set(err, -EINVAL, "invalid host name '%s'", text);
}

static int parse_network_option(const char *text, struct network_config *network, struct err *err)
{
	const char *mac = str_after(text, "mac=");
	const char *mtu = str_after(text, "mtu=");
	const char *ip = str_after(text, "ip=");
	int r = 0;

	if (mac && !network->mac_address) {
		r = parse_mac(mac, err);
		network->mac_address = xstrdup(mac);
		for (char *c = network->mac_address; *c; c++)
			*c = (char)tolower((unsigned char)*c);
	} else if (mtu) {
		if (str_parse_u32(mtu, &network->mtu) < 0 || network->mtu < MTU_MIN ||
		    network->mtu > MTU_MAX)
			r = err_set(err, -EINVAL, "invalid mtu '%s': it is from %d to %d", mtu,
				    MTU_MIN, MTU_MAX);
	} else if (ip && !network->address) {
		r = parse_address(ip, err);
		network->address = xstrdup(ip);
	} else {
		r = err_set(err, -EINVAL,
			    "invalid network option '%s': it is mac=XX:XX:XX:XX:XX:XX, mtu=N or "
			    "ip=ADDRESS, each once",
			    text);
	}
	return r;
}

int parse_network(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **fields = str_split(text, ',', 0);
	CLEANUP(network_config_release)
	struct network_config network = { .network = xstrdup(fields[0]) };
	int r = 0;

	if (!*fields[0])
		return err_set(err, -EINVAL, "a network has no name in '%s'", text);
	STRV_EACH (fields + 1, it)
		r = r < 0 ? r : parse_network_option(*it, &network, err);
	VEC_EACH (&config->networks, it)
		if (r == 0 && str_eq(it->network, network.network))
			r = err_set(err, -EINVAL, "network '%s' is named twice", network.network);
	if (r < 0)
		return r;
	VEC_PUSH(&config->networks, network);
	network = (struct network_config){ 0 };
	return 0;
}

/* --- publishing --- */

/* "80" or "8000-8010". */
static int parse_ports(const char *text, uint32_t *ret_first, uint32_t *ret_count)
{
	AUTO_STRV char **sides = str_split(text, '-', 2);
	uint32_t first = 0;
	uint32_t last = 0;

	if (str_parse_u32(sides[0], &first) < 0 ||
	    str_parse_u32(sides[1] ? sides[1] : sides[0], &last) < 0 || first < 1 || last > 65535 ||
	    first > last)
		return -EINVAL;
	*ret_first = first;
	*ret_count = last - first + 1;
	return 0;
}

static int bad_publish(const char *text, struct err *err)
{
	return err_set(err, -EINVAL,
		       "invalid port '%s': it is like 8080:80, 127.0.0.1:8080:80, [::1]:53:53/udp "
		       "or 8000-8010:8000-8010",
		       text);
}

/* The address before the host's port, "0.0.0.0" of none; without brackets. */
static char *publish_address(const char *text)
{
	size_t length = strlen(text);

	if (!length)
		return xstrdup("0.0.0.0");
	if (text[0] == '[' && text[length - 1] == ']')
		return xstrndup(text + 1, length - 2);
	return xstrdup(text);
}

int parse_publish(const char *text, struct container_config *config, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '/', 2);
	const char *proto = sides[1] && str_eq(sides[1], "udp") ? "udp" : "tcp";
	char *container = strrchr(sides[0], ':');
	struct port_config port = { .count = 1 };
	AUTO_FREE char *address = NULL;
	uint32_t host_count = 1;
	char *host = NULL;

	if (sides[1] && !str_eq(sides[1], proto))
		return err_set(err, -EINVAL, "invalid protocol '%s' in '%s': it is tcp or udp",
			       sides[1], text);
	if (container) {
		*container++ = '\0';
		host = strrchr(sides[0], ':');
		if (host && strchr(host, ']')) /* an address without a port */
			return bad_publish(text, err);
		if (host)
			*host++ = '\0';
	}
	address = publish_address(host ? sides[0] : "");
	if (!host && container)
		host = sides[0];
	if (parse_ports(container ? container : sides[0], &port.container_port, &port.count) < 0)
		return bad_publish(text, err);
	if (host && *host && parse_ports(host, &port.host_port, &host_count) < 0)
		return bad_publish(text, err);
	port.automatic = !host || !*host;
	if (port.automatic ? port.count != 1 : port.count != host_count)
		return err_set(err, -EINVAL, "the ranges in '%s' differ in length", text);
	if (parse_address(address, NULL) < 0 ||
	    (host && !strchr(sides[0], '[') && strchr(address, ':')))
		return bad_publish(text, err);
	port.host_address = TAKE_PTR(address);
	port.proto = xstrdup(proto);
	VEC_PUSH(&config->ports, port);
	return 0;
}

/* Whether what is bound to one would be in the way of the other. */
static bool addresses_overlap(const char *a, const char *b)
{
	return str_eq(a, b) || str_eq(a, "0.0.0.0") || str_eq(b, "0.0.0.0") || str_eq(a, "::") ||
	       str_eq(b, "::");
}

static bool ports_overlap(const struct port_config *a, const struct port_config *b)
{
	return !a->automatic && !b->automatic && str_eq(a->proto, b->proto) &&
	       a->host_port < b->host_port + b->count && b->host_port < a->host_port + a->count &&
	       !strchr(a->host_address, ':') == !strchr(b->host_address, ':') &&
	       addresses_overlap(a->host_address, b->host_address);
}

int check_publish(const struct container_config *config, struct err *err)
{
	uint32_t total = 0;

	if (config->ports.count > PUBLISH_MAX)
		return err_set(err, -EINVAL, "at most %d ports or ranges can be published",
			       PUBLISH_MAX);
	for (size_t i = 0; i < config->ports.count; i++) {
		total += config->ports.items[i].count;
		for (size_t k = 0; k < i; k++)
			if (ports_overlap(&config->ports.items[i], &config->ports.items[k]))
				return err_set(err, -EINVAL,
					       "host ports for different publish port specs may "
					       "not overlap");
	}
	if (total > RANGE_MAX)
		return err_set(err, -EINVAL, "at most %d ports can be published", RANGE_MAX);
	return 0;
}

/* --- names --- */

int parse_add_host(const char *text, struct container_config *config, struct err *err)
{
	size_t length = strcspn(text, ":=");
	AUTO_FREE char *name = xstrndup(text, length);
	const char *address = text[length] ? text + length + 1 : "";
	AUTO_FREE char *entry = NULL;
	AUTO_FREE char *bare = publish_address(address);
	int r;

	if (!*address)
		return err_set(err, -EINVAL, "invalid host '%s': it is like name:192.0.2.1", text);
	r = parse_host_name(name, err);
	if (r == 0 && !str_eq(bare, "host-gateway"))
		r = parse_address(bare, err);
	if (r < 0)
		return r;
	entry = xasprintf("%s:%s", name, bare);
	strv_push(&config->add_hosts, entry);
	return 0;
}

/* Words of resolv.conf(5): nothing that would begin another one. */
static int check_resolver_word(const char *text, const char *what, struct err *err)
{
	bool ok = *text && strlen(text) <= RESOLVER_WORD_MAX;

	for (const char *c = text; ok && *c; c++)
		ok = isgraph((unsigned char)*c) && *c != '#' && *c != ';';
	return ok ? 0 : err_set(err, -EINVAL, "invalid %s '%s'", what, text);
}

static int apply_dns(const struct network_flags *flags, struct container_config *config,
		     struct err *err)
{
	int r = 0;

	STRV_EACH (flags->nameservers, it)
		r = r < 0 ? r : parse_address(*it, err);
	STRV_EACH (flags->dns_options, it)
		r = r < 0 ? r : check_resolver_word(*it, "resolver option", err);
	STRV_EACH (flags->search_domains, it)
		r = r < 0 ? r : check_resolver_word(*it, "search domain", err);
	if (r == 0 && flags->domain)
		r = check_resolver_word(flags->domain, "domain", err);
	if (r == 0 && flags->no_dns &&
	    (flags->nameservers || flags->dns_options || flags->search_domains || flags->domain))
		r = err_set(err, -EINVAL, "'--no-dns' conflicts with the other options of DNS");
	config->dns.nameservers = strv_copy(flags->nameservers);
	config->dns.options = strv_copy(flags->dns_options);
	config->dns.search_domains = strv_copy(flags->search_domains);
	config->dns.domain = xstrdup(flags->domain);
	config->no_dns = flags->no_dns;
	return r;
}

static int apply_networks(const struct network_flags *flags, struct container_config *config,
			  struct err *err)
{
	int r = 0;

	STRV_EACH (flags->networks, it)
		r = r < 0 ? r : parse_network(*it, config, err);
	STRV_EACH (flags->aliases, it)
		r = r < 0 ? r : parse_host_name(*it, err);
	if (r < 0)
		return r;
	if (config->networks.count > 1)
		VEC_EACH (&config->networks, it)
			if (str_eq(it->network, NETWORK_NONE))
				return err_set(err, -EINVAL,
					       "network 'none' conflicts with other networks");
	if (flags->aliases && !config->networks.count)
		r = parse_network(NETWORK_DEFAULT, config, err);
	VEC_EACH (&config->networks, it)
		it->aliases = strv_copy(flags->aliases);
	return r;
}

int network_flags_apply(const struct network_flags *flags, struct container_config *config,
			struct err *err)
{
	int r = apply_networks(flags, config, err);

	STRV_EACH (flags->publish, it)
		r = r < 0 ? r : parse_publish(*it, config, err);
	if (r == 0)
		r = check_publish(config, err);
	if (r == 0 && flags->no_publish && (flags->publish || flags->publish_all))
		r = err_set(err, -EINVAL, "'--no-publish' conflicts with '--publish%s'",
			    flags->publish ? "" : "-all");
	STRV_EACH (flags->add_hosts, it)
		r = r < 0 ? r : parse_add_host(*it, config, err);
	return r < 0 ? r : apply_dns(flags, config, err);
}
