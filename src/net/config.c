/* SPDX-License-Identifier: Apache-2.0 */
#include "net/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int endpoint_parse(const char *text, uint16_t port, union endpoint *ret_endpoint)
{
	union endpoint endpoint = { 0 };
	AUTO_STRV char **parts = str_split(text, '%', 2);

	if (inet_pton(AF_INET, text, &endpoint.v4.sin_addr) == 1) {
		endpoint.v4.sin_family = AF_INET;
	} else {
		if (inet_pton(AF_INET6, parts[0], &endpoint.v6.sin6_addr) != 1)
			return -EINVAL;
		endpoint.v6.sin6_family = AF_INET6;
		if (parts[1])
			endpoint.v6.sin6_scope_id = if_nametoindex(parts[1]);
	}
	endpoint_set_port(&endpoint, port);
	*ret_endpoint = endpoint;
	return 0;
}

void endpoint_set_port(union endpoint *endpoint, uint16_t port)
{
	if (endpoint->any.sa_family == AF_INET)
		endpoint->v4.sin_port = htons(port);
	else
		endpoint->v6.sin6_port = htons(port);
}

uint16_t endpoint_port(const union endpoint *endpoint)
{
	return ntohs(endpoint->any.sa_family == AF_INET ? endpoint->v4.sin_port
							: endpoint->v6.sin6_port);
}

static int resolvers_parse(const json_t *json, struct resolvers *ret, struct err *err)
{
	AUTO_STRV char **texts = json_get_strv(json, "nameservers");

	STRV_EACH (texts, it) {
		if (ret->count == ARRAY_SIZE(ret->items))
			break; /* resolv.conf(5) looks at three */
		if (endpoint_parse(*it, 53, &ret->items[ret->count]) < 0)
			return err_set(err, -EINVAL, "'%s' is not the address of a name server",
				       *it);
		ret->count++;
	}
	return 0;
}

json_t *config_to_json(const struct net_spec *spec)
{
	json_t *json = json_object();

	json_set_string(json, "name", spec->name);
	json_set_string(json, "subnet", spec->subnet);
	json_set_string(json, "subnet6", spec->subnet6);
	json_set_string(json, "domain", spec->domain);
	json_object_set_new(json, "nameservers", json_from_strv(spec->nameservers));
	json_object_set_new(json, "hostPorts", json_from_strv(spec->host_ports));
	json_object_set_new(json, "mtu", json_integer(spec->mtu ? spec->mtu : NET_MTU_DEFAULT));
	json_object_set_new(json, "linger",
			    json_integer(spec->linger_ms ? spec->linger_ms : NET_LINGER_MS));
	json_object_set_new(json, "internal", json_boolean(spec->internal));
	json_object_set_new(json, "tap", json_boolean(spec->tap));
	json_object_set_new(json, "debug", json_boolean(spec->debug));
	return json;
}

/* "ADDRESS/PREFIX" into an address with no bits behind the prefix. */
static int subnet_parse(const char *text, int family, uint32_t max_prefix, void *address,
			uint32_t *ret_prefix, struct err *err)
{
	AUTO_STRV char **parts = str_split(str_or(text, ""), '/', 2);
	uint8_t bytes[16] = { 0 };
	uint32_t prefix = 0;

	if (!parts[1] || inet_pton(family, parts[0], bytes) != 1 ||
	    str_parse_u32(parts[1], &prefix) < 0 || prefix < 8 || prefix > max_prefix)
		return err_set(err, -EINVAL, "'%s' is not a subnet", str_or(text, ""));
	for (uint32_t bit = prefix; bit < (family == AF_INET ? 32 : 128); bit++)
		if (bytes[bit / 8] & (0x80 >> bit % 8))
			return err_set(err, -EINVAL, "'%s' has bits behind its prefix", text);
	memcpy(address, bytes, family == AF_INET ? 4 : 16);
	*ret_prefix = prefix;
	return 0;
}

static struct in_addr host4(const struct net_config *config, uint32_t number)
{
	return (struct in_addr){ config->subnet.s_addr | htonl(number) };
}

static struct in6_addr host6(const struct net_config *config, uint8_t number)
{
	struct in6_addr address = config->subnet6;

	address.s6_addr[15] |= number;
	return address;
}

static int subnets_parse(const json_t *json, struct net_config *config, struct err *err)
{
	const char *subnet6 = json_get_string(json, "subnet6");
	uint32_t prefix = 0;
	int r = subnet_parse(json_get_string(json, "subnet"), AF_INET, 29, &config->subnet, &prefix,
			     err);

	if (r < 0)
		return r;
	config->mask.s_addr = htonl(~0u << (32 - prefix));
	config->gateway = host4(config, 1);
	config->host = host4(config, 2);
	config->names = host4(config, 3);
	/* libslirp sends as this address, so everything the gateway does has it. */
	config->gateway_mac[0] = 0x52;
	config->gateway_mac[1] = 0x55;
	memcpy(config->gateway_mac + 2, &config->gateway, 4);
	if (!subnet6)
		return 0;
	r = subnet_parse(subnet6, AF_INET6, 120, &config->subnet6, &prefix, err);
	if (r < 0)
		return r;
	config->has6 = true;
	config->prefix6 = (uint8_t)prefix;
	config->gateway6 = host6(config, 1);
	config->host6 = host6(config, 2);
	config->names6 = host6(config, 3);
	return 0;
}

static int port_range_parse(const char *text, struct port_range *ret)
{
	AUTO_STRV char **parts = str_split(text, '-', 2);
	uint32_t first = 0;
	uint32_t last = 0;

	if (str_eq(text, "all")) {
		*ret = (struct port_range){ 1, 65535 };
		return 0;
	}
	if (str_parse_u32(parts[0], &first) < 0 ||
	    str_parse_u32(parts[1] ? parts[1] : parts[0], &last) < 0 || first < 1 || last < first ||
	    last > 65535)
		return -EINVAL;
	*ret = (struct port_range){ (uint16_t)first, (uint16_t)last };
	return 0;
}

static int host_ports_parse(const json_t *json, struct net_config *config, struct err *err)
{
	AUTO_STRV char **texts = json_get_strv(json, "hostPorts");

	STRV_EACH (texts, it) {
		if (config->host_port_count == ARRAY_SIZE(config->host_ports))
			return err_set(err, -E2BIG, "more than %d ranges of host ports",
				       CONFIG_HOST_PORTS_MAX);
		if (port_range_parse(*it, &config->host_ports[config->host_port_count]) < 0)
			return err_set(err, -EINVAL, "'%s' is not a range of ports", *it);
		config->host_port_count++;
	}
	return 0;
}

/* A name of letters, digits, '-', '_' and dots, as a lower-case copy without a dot at the end. */
static int name_parse(const char *text, char ret[CONFIG_NAME_SIZE])
{
	size_t length = text ? strlen(text) : 0;
	size_t label = 0;

	if (length && text[length - 1] == '.')
		length--;
	if (length == 0 || length >= CONFIG_NAME_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '.' ? label == 0 : !isalnum(c) && c != '-' && c != '_')
			return -EINVAL;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return -EINVAL;
		ret[i] = (char)tolower(c);
	}
	ret[length] = '\0';
	return 0;
}

int config_parse(const json_t *json, struct net_config *ret_config, struct err *err)
{
	struct net_config config = { 0 };
	const char *domain = json_get_string(json, "domain");
	int64_t mtu = json_get_int(json, "mtu", NET_MTU_DEFAULT);
	int r = subnets_parse(json, &config, err);

	if (r < 0)
		return r;
	if (name_parse(json_get_string(json, "name"), config.name) < 0)
		return err_set(err, -EINVAL, "a network needs a name");
	if (domain && *domain && name_parse(domain, config.domain) < 0)
		return err_set(err, -EINVAL, "'%s' is not a domain", domain);
	if (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX)
		return err_set(err, -EINVAL, "an MTU is a number from %d to %d", NET_MTU_MIN,
			       NET_MTU_MAX);
	config.mtu = (uint32_t)mtu;
	config.linger_ms = (uint32_t)json_get_int(json, "linger", NET_LINGER_MS);
	config.internal = json_get_bool(json, "internal", false);
	config.tap = json_get_bool(json, "tap", false);
	config.debug = json_get_bool(json, "debug", false);
	r = resolvers_parse(json, &config.resolvers, err);
	if (r == 0)
		r = host_ports_parse(json, &config, err);
	if (r < 0)
		return r;
	*ret_config = config;
	return 0;
}

json_t *member_to_json(const struct net_member *member)
{
	json_t *json = json_object();

	json_set_string(json, "uuid", member->uuid);
	json_set_string(json, "name", member->name);
	json_set_string(json, "hostname", member->hostname);
	json_object_set_new(json, "aliases", json_from_strv(member->aliases));
	json_object_set_new(json, "nameservers", json_from_strv(member->nameservers));
	json_set_string(json, "mac", member->mac);
	json_set_string(json, "ipv4", member->ipv4);
	json_set_string(json, "ipv6", member->ipv6);
	json_object_set_new(json, "hasOthers", json_boolean(member->has_others));
	return json;
}

static int mac_parse(const char *text, uint8_t ret[ETH_ALEN])
{
	unsigned byte[ETH_ALEN];
	int end = 0;

	if (!text || strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5], &end) != ETH_ALEN ||
	    end != 17)
		return -EINVAL;
	for (size_t i = 0; i < ETH_ALEN; i++)
		ret[i] = (uint8_t)byte[i];
	/* Neither a group's address nor none. */
	return ret[0] & 1 || !(byte[0] | byte[1] | byte[2] | byte[3] | byte[4] | byte[5]) ? -EINVAL
											  : 0;
}

struct in6_addr config_link_local(const uint8_t mac[ETH_ALEN])
{
	return (struct in6_addr){ .s6_addr = { 0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff,
					       0xfe, mac[3], mac[4], mac[5] } };
}

static int binding_parse(const json_t *json, const struct net_config *config,
			 struct binding *binding, struct err *err)
{
	const char *mac = json_get_string(json, "mac");
	const char *ipv4 = json_get_string(json, "ipv4");
	const char *ipv6 = json_get_string(json, "ipv6");
	uint32_t host;

	if (mac_parse(mac, binding->mac) < 0 ||
	    memcmp(binding->mac, config->gateway_mac, ETH_ALEN) == 0)
		return err_set(err, -EINVAL, "'%s' is not a MAC address for a member",
			       str_or(mac, ""));
	if (!ipv4 || inet_pton(AF_INET, ipv4, &binding->ipv4) != 1 ||
	    !config_in_subnet(config, binding->ipv4))
		return err_set(err, -EINVAL, "'%s' is not an address of the network '%s'",
			       str_or(ipv4, ""), config->name);
	host = ntohl(binding->ipv4.s_addr & ~config->mask.s_addr);
	if (host <= 3 || host == ntohl(~config->mask.s_addr))
		return err_set(err, -EINVAL, "'%s' is kept for the network itself", ipv4);
	binding->link_local = config_link_local(binding->mac);
	if (!ipv6)
		return 0;
	if (inet_pton(AF_INET6, ipv6, &binding->ipv6) != 1 || !config->has6 ||
	    !config_in_subnet6(config, &binding->ipv6))
		return err_set(err, -EINVAL, "'%s' is not an address of the network '%s'", ipv6,
			       config->name);
	for (uint8_t i = 0; i <= 3; i++) {
		struct in6_addr kept = host6(config, i);

		if (memcmp(&kept, &binding->ipv6, sizeof(kept)) == 0)
			return err_set(err, -EINVAL, "'%s' is kept for the network itself", ipv6);
	}
	binding->has6 = true;
	return 0;
}

/* Adds a name once. What is no host name resolves nowhere, but is not refused: names of
 * containers follow other rules. */
static int member_add_name(struct member_config *member, const char *text)
{
	char name[CONFIG_NAME_SIZE];

	if (name_parse(text, name) < 0)
		return 0;
	for (size_t i = 0; i < member->name_count; i++)
		if (str_eq(member->names[i], name))
			return 0;
	if (member->name_count == ARRAY_SIZE(member->names))
		return -E2BIG;
	memcpy(member->names[member->name_count++], name, sizeof(name));
	return 0;
}

int member_parse(const json_t *json, const struct net_config *config,
		 struct member_config *ret_member, struct err *err)
{
	AUTO_FREE struct member_config *member = xcalloc(1, sizeof(*member));
	AUTO_STRV char **aliases = json_get_strv(json, "aliases");
	const char *uuid = json_get_string(json, "uuid");
	int r = binding_parse(json, config, &member->binding, err);

	if (r < 0)
		return r;
	if (!uuid || !*uuid || strlen(uuid) >= sizeof(member->uuid))
		return err_set(err, -EINVAL, "a member needs an id");
	memcpy(member->uuid, uuid, strlen(uuid) + 1);
	r = member_add_name(member, json_get_string(json, "name"));
	if (r == 0)
		r = member_add_name(member, json_get_string(json, "hostname"));
	STRV_EACH (aliases, it)
		if (r == 0)
			r = member_add_name(member, *it);
	if (r < 0)
		return err_set(err, r, "more than %d names of a container in one network",
			       CONFIG_NAMES_MAX);
	r = resolvers_parse(json, &member->resolvers, err);
	if (r < 0)
		return r;
	member->has_others = json_get_bool(json, "hasOthers", false);
	*ret_member = *member;
	return 0;
}

json_t *rule_to_json(const struct net_rule *rule)
{
	json_t *json = json_object();

	json_set_string(json, "protocol", rule->protocol == NET_UDP ? "udp" : "tcp");
	json_set_string(json, "address", rule->address);
	json_object_set_new(json, "hostPort", json_integer(rule->host_port));
	json_object_set_new(json, "containerPort", json_integer(rule->container_port));
	json_object_set_new(json, "count", json_integer(rule->count ? rule->count : 1));
	json_object_set_new(json, "anyPort", json_boolean(rule->any_port));
	return json;
}

int rule_parse(const json_t *json, struct rule *ret_rule, struct err *err)
{
	const char *address = str_or(json_get_string(json, "address"), "0.0.0.0");
	const char *protocol = str_or(json_get_string(json, "protocol"), "");
	int64_t host = json_get_int(json, "hostPort", -1);
	int64_t container = json_get_int(json, "containerPort", -1);
	int64_t count = json_get_int(json, "count", 1);
	struct rule rule = { .protocol = str_eq(protocol, "udp") ? NET_UDP : NET_TCP,
			     .any_port = json_get_bool(json, "anyPort", false) };

	if (!str_eq(protocol, "udp") && !str_eq(protocol, "tcp"))
		return err_set(err, -EINVAL, "'%s' cannot be published: tcp and udp can", protocol);
	if (count < 1 || count > NET_PUBLISH_MAX || host < 0 || host + count > 65536 ||
	    container < 1 || container + count > 65536 ||
	    (count > 1 && (host == 0 || rule.any_port)))
		return err_set(err, -EINVAL, "ports %lld:%lld are not from 1 to 65535",
			       (long long)host, (long long)container);
	if (endpoint_parse(address, (uint16_t)host, &rule.listen) < 0)
		return err_set(err, -EINVAL, "'%s' is not an address to publish on", address);
	rule.container_port = (uint16_t)container;
	rule.count = (uint16_t)count;
	*ret_rule = rule;
	return 0;
}

bool config_in_subnet(const struct net_config *config, struct in_addr address)
{
	return (address.s_addr & config->mask.s_addr) == config->subnet.s_addr;
}

bool config_in_subnet6(const struct net_config *config, const struct in6_addr *address)
{
	size_t whole = config->prefix6 / 8;
	unsigned rest = config->prefix6 % 8;

	if (!config->has6 || memcmp(address, &config->subnet6, whole) != 0)
		return false;
	return !rest ||
	       (address->s6_addr[whole] ^ config->subnet6.s6_addr[whole]) >> (8 - rest) == 0;
}

bool config_host_port_allowed(const struct net_config *config, uint16_t port)
{
	for (size_t i = 0; i < config->host_port_count; i++)
		if (port >= config->host_ports[i].first && port <= config->host_ports[i].last)
			return true;
	return false;
}
