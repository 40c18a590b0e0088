/* SPDX-License-Identifier: Apache-2.0 */
#include "net/guard.h"

#define PORT_DNS 53
#define PORT_DHCP_SERVER 67
#define PORT_DHCP_CLIENT 68
#define PORT_TFTP 69
#define PORT_DHCP6_CLIENT 546
#define PORT_DHCP6_SERVER 547

static bool same4(struct in_addr a, struct in_addr b)
{
	return a.s_addr == b.s_addr;
}

static bool same6(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool own6(const struct binding *binding, const struct in6_addr *address)
{
	return (binding->has6 && same6(address, &binding->ipv6)) ||
	       same6(address, &binding->link_local);
}

static bool arp_ok(const struct binding *binding, const struct packet *packet)
{
	/* A probe (RFC 5227) has no sender address yet. */
	return memcmp(packet->sender_mac, binding->mac, ETH_ALEN) == 0 &&
	       (same4(packet->arp_sender, binding->ipv4) ||
		(packet->arp_sender.s_addr == 0 && packet->arp_operation == 1));
}

static bool dhcp_server(const struct packet *packet)
{
	return packet->protocol == IPPROTO_UDP && packet->first &&
	       (packet->source_port == PORT_DHCP_SERVER ||
		packet->source_port == PORT_DHCP6_SERVER ||
		packet->destination_port == PORT_DHCP_CLIENT ||
		packet->destination_port == PORT_DHCP6_CLIENT);
}

static bool nd_ok(const struct binding *binding, const struct packet *packet)
{
	if (packet->nd_has_mac && memcmp(packet->sender_mac, binding->mac, ETH_ALEN) != 0)
		return false;
	switch (packet->icmp_type) {
	case PACKET_ND_RA:
	case PACKET_ND_REDIRECT:
		return false;
	case PACKET_ND_NA:
		return own6(binding, &packet->nd_target);
	default:
		return true;
	}
}

static bool ipv6_ok(const struct binding *binding, const struct packet *packet)
{
	bool icmp = packet->protocol == IPPROTO_ICMPV6 && packet->first;

	/* Only duplicate address detection has no address yet, for its own one. */
	if (IN6_IS_ADDR_UNSPECIFIED(&packet->source6))
		return icmp && packet->icmp_type == PACKET_ND_NS && !packet->nd_has_mac &&
		       own6(binding, &packet->nd_target);
	if (!own6(binding, &packet->source6))
		return false;
	return icmp ? nd_ok(binding, packet) : !dhcp_server(packet);
}

bool guard_source(const struct binding *binding, const struct packet *packet)
{
	if (memcmp(packet_source(packet), binding->mac, ETH_ALEN) != 0)
		return false;
	switch (packet->kind) {
	case PACKET_ARP:
		return arp_ok(binding, packet);
	case PACKET_IPV4:
		return same4(packet->source4, binding->ipv4) && !dhcp_server(packet);
	case PACKET_IPV6:
		return ipv6_ok(binding, packet);
	default:
		return false;
	}
}

static bool to_host_ports(const struct net_config *config, const struct packet *packet)
{
	return packet->first && !packet->fragment &&
	       (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP) &&
	       config_host_port_allowed(config, packet->destination_port);
}

static bool to_dns_over_tcp(const struct packet *packet)
{
	return packet->first && packet->protocol == IPPROTO_TCP &&
	       packet->destination_port == PORT_DNS;
}

static bool within(uint32_t address, uint32_t network, unsigned prefix)
{
	return (address ^ network) >> (32 - prefix) == 0;
}

static bool egress4(const struct net_config *config, const struct packet *packet)
{
	uint32_t to = ntohl(packet->destination4.s_addr);

	if (same4(packet->destination4, config->gateway))
		return to_host_ports(config, packet);
	if (same4(packet->destination4, config->names))
		return to_dns_over_tcp(packet);
	return !config_in_subnet(config, packet->destination4) &&
	       !within(to, 0, 8) &&           /* this host: loopback */
	       !within(to, 0x7f000000, 8) &&  /* loopback */
	       !within(to, 0xa9fe0000, 16) && /* link-local, with the metadata of clouds */
	       !within(to, 0xe0000000, 3);    /* multicast, reserved, broadcast */
}

static bool egress6(const struct net_config *config, const struct packet *packet)
{
	const struct in6_addr *to = &packet->destination6;

	if (!config->has6)
		return false;
	if (same6(to, &config->gateway6))
		return to_host_ports(config, packet);
	if (same6(to, &config->names6))
		return to_dns_over_tcp(packet);
	/* ::/96 holds unspecified, loopback and the old form of IPv4 addresses. */
	return !config_in_subnet6(config, to) && !IN6_IS_ADDR_V4MAPPED(to) &&
	       !IN6_IS_ADDR_V4COMPAT(to) && !IN6_IS_ADDR_UNSPECIFIED(to) &&
	       !IN6_IS_ADDR_LOOPBACK(to) && !IN6_IS_ADDR_LINKLOCAL(to) &&
	       !IN6_IS_ADDR_MULTICAST(to);
}

bool guard_egress(const struct net_config *config, const struct packet *packet)
{
	if (packet->first && packet->protocol == IPPROTO_UDP &&
	    (packet->destination_port == PORT_TFTP || packet->destination_port == PORT_DHCP_SERVER))
		return false;
	switch (packet->kind) {
	case PACKET_IPV4:
		return (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP ||
			packet->protocol == IPPROTO_ICMP) &&
		       egress4(config, packet);
	case PACKET_IPV6:
		return (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP ||
			packet->protocol == IPPROTO_ICMPV6) &&
		       egress6(config, packet);
	default:
		return false;
	}
}
