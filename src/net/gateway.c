/* SPDX-License-Identifier: Apache-2.0 */
#include "net/gateway.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/fragments.h"
#include "net/guard.h"
#include "net/names.h"
#include "net/neighbours.h"
#include "net/publish.h"
#include "net/tap.h"
#include "net/tcp.h"
#include "net/uplink.h"

#define PORT_DNS 53
#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
#define ARP_REQUEST 1

struct gateway {
	struct netd *netd;                   /* borrowed */
	struct fragments *fragments;         /* owned */
	uint8_t frame[PACKET_FRAME_MAX + 2]; /* that is being made */
};

struct gateway *gateway_new(struct netd *netd)
{
	struct gateway *gateway = xcalloc(1, sizeof(*gateway));

	gateway->netd = netd;
	gateway->fragments = fragments_new();
	return gateway;
}

void gateway_forget(struct gateway *gateway, const struct port *port)
{
	fragments_forget(gateway->fragments, port);
}

struct gateway *gateway_free(struct gateway *gateway)
{
	if (!gateway)
		return NULL;
	fragments_free(gateway->fragments);
	free(gateway);
	return NULL;
}

void gateway_ready(void *ctx, struct port *port)
{
	const struct gateway *gateway = ctx;

	tcp_stack_resume(gateway->netd->tcp, port);
}

static bool own4(const struct net_config *config, struct in_addr address)
{
	return address.s_addr == config->gateway.s_addr || address.s_addr == config->names.s_addr;
}

static bool own6(const struct net_config *config, const struct in6_addr *address)
{
	return config->has6 && (memcmp(address, &config->gateway6, sizeof(*address)) == 0 ||
				memcmp(address, &config->names6, sizeof(*address)) == 0);
}

bool gateway_tap_passes(void *ctx, bool from_tap, const struct packet *packet)
{
	const struct gateway *gateway = ctx;
	struct tap *tap = gateway->netd->tap;

	return tap && (from_tap ? tap_passes_out(tap, packet) : tap_passes_in(tap, packet));
}

const uint8_t *gateway_mac_of4(const struct netd *netd, struct in_addr address)
{
	const struct port *port = switch_find4(netd->sw, address);

	if (own4(&netd->config, address))
		return netd->config.gateway_mac;
	return port ? port_binding(port)->mac : NULL;
}

const uint8_t *gateway_mac_of6(const struct netd *netd, const struct in6_addr *address)
{
	const struct port *port = switch_find6(netd->sw, address);

	if (own6(&netd->config, address))
		return netd->config.gateway_mac;
	return port ? port_binding(port)->mac : NULL;
}

static void answer_arp(struct gateway *gateway, struct port *from, const struct packet *packet)
{
	const uint8_t *mac = gateway_mac_of4(gateway->netd, packet->arp_target);
	const struct binding *asker = port_binding(from);

	/* Nobody else has an asker's own address: its probe stays unanswered. */
	if (packet->arp_operation != ARP_REQUEST || !mac ||
	    packet->arp_target.s_addr == asker->ipv4.s_addr)
		return;
	port_send(from, gateway->frame,
		  packet_make_arp(gateway->frame, mac, packet->arp_target, asker->mac,
				  packet->arp_sender));
}

static void answer_solicitation(struct gateway *gateway, struct port *from,
				const struct packet *packet)
{
	const uint8_t *mac = gateway_mac_of6(gateway->netd, &packet->nd_target);

	if (packet->icmp_type != PACKET_ND_NS || !mac || mac == port_binding(from)->mac ||
	    IN6_IS_ADDR_UNSPECIFIED(&packet->source6))
		return;
	port_send(from, gateway->frame,
		  packet_make_na(gateway->frame, mac, &packet->nd_target, port_binding(from)->mac,
				 &packet->source6));
}

static bool is_nd(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMPV6 && packet->first &&
	       packet->icmp_type >= PACKET_ND_RS && packet->icmp_type <= PACKET_ND_REDIRECT;
}

static bool is_names(const struct net_config *config, const struct packet *packet)
{
	return packet->kind == PACKET_IPV4
		       ? packet->destination4.s_addr == config->names.s_addr
		       : memcmp(&packet->destination6, &config->names6, 16) == 0;
}

/* Whether it was for one of the gateway's own addresses. */
static bool local_input(struct gateway *gateway, struct port *from, const struct packet *packet)
{
	const struct net_config *config = &gateway->netd->config;
	bool v4 = packet->kind == PACKET_IPV4;
	bool whole = packet->first && !packet->fragment;

	if (!(v4 ? own4(config, packet->destination4) : own6(config, &packet->destination6)))
		return false;
	if (whole && packet->protocol == IPPROTO_UDP && packet->destination_port == PORT_DNS &&
	    is_names(config, packet)) {
		names_input(gateway->netd->names, from, packet);
		return true;
	}
	if (whole && packet->protocol == (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if (packet->icmp_type == (v4 ? ICMP_ECHO : ICMPV6_ECHO))
			port_send(from, gateway->frame, packet_make_echo(gateway->frame, packet));
		return true;
	}
	return false;
}

static bool is_tcp(const struct packet *packet)
{
	return (packet->kind == PACKET_IPV4 || packet->kind == PACKET_IPV6) &&
	       packet->protocol == IPPROTO_TCP;
}

static bool is_whole_tcp(const struct packet *packet)
{
	return is_tcp(packet) && packet->first && !packet->fragment;
}

/* False: it is to be refused. */
static bool pass_out(struct netd *netd, struct port *from, const struct packet *packet)
{
	if (!netd->uplink || !guard_egress(&netd->config, packet) ||
	    neighbours_have(netd->neighbours, packet))
		return false;
	if (!is_tcp(packet)) {
		uplink_input(netd->uplink, from, packet);
		return true;
	}
	/* No system sends TCP in fragments: it knows the MTU. */
	if (!is_whole_tcp(packet) ||
	    (packet->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) != PACKET_TCP_SYN)
		return false;
	tcp_stack_open(netd->tcp, from, packet);
	return true;
}

static void send_out(struct gateway *gateway, struct port *from, const struct packet *packet)
{
	size_t size;

	if (pass_out(gateway->netd, from, packet))
		return;
	/* So that who asks in vain need not wait to know. */
	port_refuse(from);
	size = packet_make_refusal(gateway->frame, packet);
	if (size)
		port_send(from, gateway->frame, size);
}

void gateway_input(void *ctx, struct port *from, const struct packet *packet)
{
	struct gateway *gateway = ctx;
	struct packet meant;

	if (packet->kind == PACKET_ARP) {
		answer_arp(gateway, from, packet);
		return;
	}
	if (packet->kind == PACKET_IPV6 && is_nd(packet)) {
		answer_solicitation(gateway, from, packet);
		return;
	}
	if (port_is_tap(from)) {
		local_input(gateway, from, packet); /* the host has other ways into the world */
		return;
	}
	/* Answers of published ports, or not: that comes out when they are whole. */
	if (packet->kind == PACKET_IPV4 && packet->fragment && packet->protocol == IPPROTO_UDP &&
	    publisher_has_udp(gateway->netd->publisher, from)) {
		if (!fragments_add(gateway->fragments, from, packet, &meant))
			return;
		packet = &meant;
	}
	if (gateway->netd->tcp && is_whole_tcp(packet) &&
	    tcp_stack_input(gateway->netd->tcp, from, packet))
		return;
	if (!publisher_reply(gateway->netd->publisher, from, packet) &&
	    !local_input(gateway, from, packet))
		send_out(gateway, from, packet);
}
