/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hull-netd is told, as JSON (docs/PROTOCOL.md), parsed into checked structs: the network at
 * its start, members and rules in requests. Both sides use this: the client, so that a wrong
 * specification is refused where it comes from; netd, because it believes nobody. Addresses are in
 * network order, ports in the host's.
 */
#ifndef NET_CONFIG_H
#define NET_CONFIG_H

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/json.h"
#include "net/client.h"

#define CONFIG_RESOLVERS_MAX 4
#define CONFIG_HOST_PORTS_MAX 64
#define CONFIG_NAMES_MAX 32 /* of a member */
#define CONFIG_NAME_SIZE 254
#define CONFIG_RULES_MAX 128

/* An address and port of the host's world. */
union endpoint {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static inline socklen_t endpoint_size(const union endpoint *endpoint)
{
	return endpoint->any.sa_family == AF_INET ? sizeof(endpoint->v4) : sizeof(endpoint->v6);
}

/* Text of an address ("10.0.0.1", "fe80::1%eth0") as an endpoint. 0 or -EINVAL. */
int endpoint_parse(const char *text, uint16_t port, union endpoint *ret_endpoint);
void endpoint_set_port(union endpoint *endpoint, uint16_t port);
uint16_t endpoint_port(const union endpoint *endpoint);

struct resolvers {
	union endpoint items[CONFIG_RESOLVERS_MAX];
	size_t count;
};

struct port_range {
	uint16_t first, last;
};

struct net_config {
	char name[CONFIG_NAME_SIZE];
	char domain[CONFIG_NAME_SIZE]; /* lower case, "" for none */
	struct in_addr subnet, mask;
	struct in_addr gateway, host, names; /* host 1, 2 and 3 of the subnet */
	bool has6;
	struct in6_addr subnet6;
	uint8_t prefix6;
	struct in6_addr gateway6, host6, names6;
	uint8_t gateway_mac[ETH_ALEN];
	uint32_t mtu, linger_ms;
	bool internal, tap, debug;
	struct resolvers resolvers;
	struct port_range host_ports[CONFIG_HOST_PORTS_MAX];
	size_t host_port_count;
};

/* What a member may send as. */
struct binding {
	uint8_t mac[ETH_ALEN];
	struct in_addr ipv4;
	bool has6;
	struct in6_addr ipv6, link_local;
};

struct member_config {
	char uuid[64];
	struct binding binding;
	char names[CONFIG_NAMES_MAX][CONFIG_NAME_SIZE]; /* lower case; the first is the container's
							   own */
	size_t name_count;
	struct resolvers resolvers;
	bool has_others;
};

struct rule {
	enum net_protocol protocol;
	union endpoint listen; /* with the first port; 0: any */
	uint16_t container_port, count;
	bool any_port;
};

json_t *config_to_json(const struct net_spec *spec);
int config_parse(const json_t *json, struct net_config *ret_config, struct err *err);
json_t *member_to_json(const struct net_member *member);
/* Within config's subnets. */
int member_parse(const json_t *json, const struct net_config *config,
		 struct member_config *ret_member, struct err *err);
json_t *rule_to_json(const struct net_rule *rule);
int rule_parse(const json_t *json, struct rule *ret_rule, struct err *err);

/* fe80:: with the modified EUI-64 of a MAC (RFC 4291, appendix A). */
struct in6_addr config_link_local(const uint8_t mac[ETH_ALEN]);
bool config_in_subnet(const struct net_config *config, struct in_addr address);
bool config_in_subnet6(const struct net_config *config, const struct in6_addr *address);
bool config_host_port_allowed(const struct net_config *config, uint16_t port);

#endif
