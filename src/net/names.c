/* SPDX-License-Identifier: Apache-2.0 */
#include "net/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/member.h"
#include "net/names_tcp.h"
#include "net/resolver.h"

struct names {
	struct netd *netd;         /* borrowed */
	struct resolver *resolver; /* owned */
	struct names_tcp *tcp;     /* owned */
};

static const char *const host_names[] = {
	"host.hull.internal",
	"host.docker.internal",
	"host.containers.internal",
	"gateway.docker.internal",
};

static void add_addresses(struct dns_answer *answer, const struct in_addr *address4,
			  const struct in6_addr *address6)
{
	if (answer->count4 < DNS_ADDRESSES_MAX)
		answer->addresses4[answer->count4++] = *address4;
	if (address6 && answer->count6 < DNS_ADDRESSES_MAX)
		answer->addresses6[answer->count6++] = *address6;
}

static void add_member(void *ctx, const struct binding *binding)
{
	add_addresses(ctx, &binding->ipv4, binding->has6 ? &binding->ipv6 : NULL);
}

/* The part of a name before the network's domain; NULL if it is not in it. */
static const char *within_domain(const struct net_config *config, const char *name,
				 char ret[DNS_NAME_SIZE])
{
	size_t length = strlen(name);
	size_t suffix = strlen(config->domain);

	if (!suffix || length <= suffix + 1 || name[length - suffix - 1] != '.' ||
	    !str_ends(name, config->domain))
		return NULL;
	memcpy(ret, name, length - suffix - 1);
	ret[length - suffix - 1] = '\0';
	return ret;
}

static bool lookup_host(const struct net_config *config, const char *name,
			struct dns_answer *answer)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_names); i++) {
		if (!str_eq(name, host_names[i]))
			continue;
		if (config->internal)
			answer->code = DNS_NO_SUCH_NAME;
		else
			/* By IPv4 alone: what listens on the host's loopback listens there, and
			 * many programs try one address only. */
			add_addresses(answer, &config->gateway, NULL);
		return true;
	}
	return false;
}

/* Addresses of the network belong to its members or to nobody. */
static bool lookup_reverse(const struct netd *netd, const char *name, struct dns_answer *answer)
{
	const struct net_config *config = &netd->config;
	struct in_addr address4 = { 0 };
	struct in6_addr address6 = { 0 };
	int family = dns_reverse(name, &address4, &address6);
	const char *found;

	if (family == 0 || (family == AF_INET && !config_in_subnet(config, address4)) ||
	    (family == AF_INET6 && !config_in_subnet6(config, &address6)))
		return false;
	found = members_name_of(netd->members, family == AF_INET ? &address4 : NULL,
				family == AF_INET6 ? &address6 : NULL);
	if (!found)
		answer->code = DNS_NO_SUCH_NAME;
	else
		snprintf(answer->pointer, sizeof(answer->pointer), "%s%s%s", found,
			 config->domain[0] ? "." : "", config->domain);
	return true;
}

bool names_lookup(const struct netd *netd, const struct dns_query *query,
		  struct dns_answer *ret_answer)
{
	const struct net_config *config = &netd->config;
	char name[DNS_NAME_SIZE];
	const char *within = within_domain(config, query->name, name);

	*ret_answer = (struct dns_answer){ .code = DNS_OK };
	members_find_name(netd->members, query->name, add_member, ret_answer);
	if (ret_answer->count4 == 0 && within)
		members_find_name(netd->members, within, add_member, ret_answer);
	if (ret_answer->count4 || lookup_host(config, query->name, ret_answer) ||
	    lookup_reverse(netd, query->name, ret_answer))
		return true;
	if (!within && !config->internal)
		return false;
	ret_answer->code = DNS_NO_SUCH_NAME;
	return true;
}

/* What this network does not know may be known to another one that the asker is in: names of its
 * domain, and names without one. */
static bool leave_to_others(const struct dns_query *query, bool found, struct dns_answer *answer)
{
	if (found ? answer->code != DNS_NO_SUCH_NAME : strchr(query->name, '.') != NULL)
		return found;
	*answer = (struct dns_answer){ .code = DNS_REFUSED };
	return true;
}

int names_answer(const struct netd *netd, const struct port *from, const uint8_t *message,
		 size_t size, uint8_t *reply)
{
	struct dns_answer answer;
	struct dns_query query;
	bool found;
	int r = dns_parse(message, size, &query);

	if (r == -EBADMSG)
		return r;
	if (r < 0)
		return (int)dns_build_code(message, NULL,
					   r == -EINVAL ? DNS_FORMAT_ERROR : DNS_NOT_IMPLEMENTED,
					   reply);
	found = names_lookup(netd, &query, &answer);
	if (from && members_has_others(netd->members, from))
		found = leave_to_others(&query, found, &answer);
	return found ? (int)dns_build(message, &query, &answer, reply) : 0;
}

void names_input(struct names *names, struct port *from, const struct packet *packet)
{
	const uint8_t *message = packet->frame + packet->payload;
	size_t size = packet->end - packet->payload;
	struct resolver_asker asker = { .port = from,
					.source_port = packet->source_port,
					.v6 = packet->kind == PACKET_IPV6,
					.source6 = packet->source6 };
	uint8_t reply[DNS_UDP_MAX];
	int r = names_answer(names->netd, from, message, size, reply);

	if (r > 0)
		resolver_reply(names->resolver, &asker, reply, (size_t)r);
	else if (r == 0)
		resolver_relay(names->resolver, &asker, message, size);
}

int names_connect(struct names *names, const struct port *from)
{
	return names_tcp_connect(names->tcp, from);
}

void names_forget(struct names *names, const struct port *port)
{
	resolver_forget(names->resolver, port);
	names_tcp_forget(names->tcp, port);
}

struct names *names_new(struct netd *netd)
{
	struct names *names = xcalloc(1, sizeof(*names));

	names->netd = netd;
	names->resolver = resolver_new(netd);
	names->tcp = names_tcp_new(netd, names->resolver);
	return names;
}

struct names *names_free(struct names *names)
{
	if (!names)
		return NULL;
	names_tcp_free(names->tcp);
	resolver_free(names->resolver);
	free(names);
	return NULL;
}
