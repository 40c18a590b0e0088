/* SPDX-License-Identifier: Apache-2.0 */
#include "net/packet.h"

#include <errno.h>

#include "base/cleanup.h"

#define IPV6_HEADER_SIZE 40
#define EXTENSIONS_MAX 8 /* of one packet; real ones have one or two */
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2

static int parse_nd(struct packet *packet)
{
	const uint8_t *icmp = packet->frame + packet->transport;
	size_t size = packet->end - packet->transport;
	size_t offset = 24;

	if (size < offset || packet->frame[ETH_HLEN + 7] != 255)
		return -EBADMSG; /* RFC 4861: the hop limit tells that no router was between */
	memcpy(&packet->nd_target, icmp + 8, 16);
	while (offset < size) {
		size_t length = size - offset >= 2 ? 8u * icmp[offset + 1] : 0;

		if (length == 0 || length > size - offset)
			return -EBADMSG;
		if (icmp[offset] == ND_OPTION_SOURCE || icmp[offset] == ND_OPTION_TARGET) {
			if (packet->nd_has_mac &&
			    memcmp(packet->sender_mac, icmp + offset + 2, ETH_ALEN) != 0)
				return -EBADMSG;
			memcpy(packet->sender_mac, icmp + offset + 2, ETH_ALEN);
			packet->nd_has_mac = true;
		}
		offset += length;
	}
	return 0;
}

static int parse_udp(struct packet *packet, const uint8_t *header, size_t size)
{
	if (size < 8)
		return -EBADMSG;
	packet->source_port = packet_get16(header);
	packet->destination_port = packet_get16(header + 2);
	packet->payload = packet->transport + 8;
	/* A whole datagram says its length itself. */
	if (!packet->fragment && (packet_get16(header + 4) < 8 || packet_get16(header + 4) > size))
		return -EBADMSG;
	return 0;
}

static int parse_tcp(struct packet *packet, const uint8_t *header, size_t size)
{
	if (size < 20 || (header[12] >> 4) < 5 || (header[12] >> 4) * 4u > size)
		return -EBADMSG;
	packet->source_port = packet_get16(header);
	packet->destination_port = packet_get16(header + 2);
	packet->tcp_flags = header[13];
	return 0;
}

static int parse_transport(struct packet *packet)
{
	const uint8_t *header = packet->frame + packet->transport;
	size_t size = packet->end - packet->transport;

	if (!packet->first)
		return 0;
	switch (packet->protocol) {
	case IPPROTO_UDP:
		return parse_udp(packet, header, size);
	case IPPROTO_TCP:
		return parse_tcp(packet, header, size);
	case IPPROTO_ICMP:
		if (size < 8 || packet->kind != PACKET_IPV4)
			return -EBADMSG;
		packet->icmp_type = header[0];
		return 0;
	case IPPROTO_ICMPV6:
		if (size < 8 || packet->kind != PACKET_IPV6)
			return -EBADMSG;
		packet->icmp_type = header[0];
		if (header[0] == PACKET_ND_NS || header[0] == PACKET_ND_NA)
			return parse_nd(packet);
		return 0;
	default:
		return 0;
	}
}

static int parse_ipv4(struct packet *packet)
{
	const uint8_t *ip = packet->frame + ETH_HLEN;
	size_t room = packet->size - ETH_HLEN;
	size_t header;
	uint16_t total;
	uint16_t offset;

	if (room < 20 || ip[0] >> 4 != 4)
		return -EBADMSG;
	header = (ip[0] & 15) * 4u;
	total = packet_get16(ip + 2);
	offset = packet_get16(ip + 6);
	if (header < 20 || header > total || total > room)
		return -EBADMSG;
	memcpy(&packet->source4, ip + 12, 4);
	memcpy(&packet->destination4, ip + 16, 4);
	packet->protocol = ip[9];
	packet->fragment = offset & 0x3fff; /* more to come, or not the first */
	packet->first = !(offset & 0x1fff);
	packet->transport = ETH_HLEN + header;
	packet->end = ETH_HLEN + total;
	/* RFC 3128: a second fragment at 8 rewrites the TCP flags that were looked at. */
	if (packet->protocol == IPPROTO_TCP && (offset & 0x1fff) == 1)
		return -EBADMSG;
	return parse_transport(packet);
}

/* Walks to the transport header. What cannot be walked through is malformed: the next hop might see
 * in it what was not seen here. */
static int parse_ipv6(struct packet *packet)
{
	const uint8_t *ip = packet->frame + ETH_HLEN;
	size_t room = packet->size - ETH_HLEN;
	size_t at = ETH_HLEN + IPV6_HEADER_SIZE;
	uint8_t next;

	if (room < IPV6_HEADER_SIZE || ip[0] >> 4 != 6 ||
	    packet_get16(ip + 4) > room - IPV6_HEADER_SIZE)
		return -EBADMSG;
	packet->end = at + packet_get16(ip + 4);
	memcpy(&packet->source6, ip + 8, 16);
	memcpy(&packet->destination6, ip + 24, 16);
	packet->first = true;
	next = ip[6];
	for (int i = 0; next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			next == IPPROTO_FRAGMENT || next == IPPROTO_DSTOPTS;
	     i++) {
		const uint8_t *extension = packet->frame + at;
		size_t left = packet->end - at;
		size_t length;

		if (i == EXTENSIONS_MAX || left < 8)
			return -EBADMSG;
		length = next == IPPROTO_FRAGMENT ? 8 : 8u + 8u * extension[1];
		if (length > left)
			return -EBADMSG;
		if (next == IPPROTO_FRAGMENT) {
			packet->fragment = true;
			packet->first = !(packet_get16(extension + 2) & 0xfff8);
		}
		next = extension[0];
		at += length;
		if (!packet->first)
			break;
	}
	packet->protocol = next;
	packet->transport = at;
	/* RFC 6980: neighbour discovery is never in fragments. */
	if (packet->fragment && next == IPPROTO_ICMPV6 && packet->first && at < packet->end &&
	    packet->frame[at] >= PACKET_ND_RS && packet->frame[at] <= PACKET_ND_REDIRECT)
		return -EBADMSG;
	return parse_transport(packet);
}

static int parse_arp(struct packet *packet)
{
	static const uint8_t ethernet_ipv4[] = { 0, 1, 8, 0, 6, 4 };
	const uint8_t *arp = packet->frame + ETH_HLEN;

	if (packet->size < ETH_HLEN + 28 || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return -EBADMSG;
	packet->arp_operation = packet_get16(arp + 6);
	memcpy(packet->sender_mac, arp + 8, ETH_ALEN);
	memcpy(&packet->arp_sender, arp + 14, 4);
	memcpy(&packet->arp_target, arp + 24, 4);
	return 0;
}

int packet_parse(const uint8_t *frame, size_t size, struct packet *ret_packet)
{
	struct packet *packet = ret_packet;

	*packet = (struct packet){ .frame = frame, .size = size, .kind = PACKET_OTHER };
	if (size < ETH_HLEN || size > PACKET_FRAME_MAX)
		return -EBADMSG;
	switch (packet_get16(frame + 2 * ETH_ALEN)) {
	case ETHERTYPE_ARP:
		packet->kind = PACKET_ARP;
		return parse_arp(packet);
	case ETHERTYPE_IP:
		packet->kind = PACKET_IPV4;
		return parse_ipv4(packet);
	case ETHERTYPE_IPV6:
		packet->kind = PACKET_IPV6;
		return parse_ipv6(packet);
	default:
		return 0;
	}
}

/* The sum does not depend on the order of bytes (RFC 1071, 2 B): words as they are, swapped once at
 * the end. */
uint32_t packet_sum(uint32_t sum, const uint8_t *data, size_t size)
{
	uint64_t wide = 0;
	uint32_t word;
	uint16_t last = 0;

	for (; size >= sizeof(word); data += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		wide += word;
	}
	for (; size >= sizeof(last); data += sizeof(last), size -= sizeof(last)) {
		memcpy(&last, data, sizeof(last));
		wide += last;
	}
	if (size) {
		last = 0;
		memcpy(&last, data, 1);
		wide += last;
	}
	while (wide >> 16)
		wide = (wide & 0xffff) + (wide >> 16);
	sum += ntohs((uint16_t)wide);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint16_t complement(uint32_t sum)
{
	return (uint16_t)~sum;
}

static void make_ethernet(uint8_t *out, const uint8_t *target, const uint8_t *source, uint16_t type)
{
	memcpy(out, target, ETH_ALEN);
	memcpy(out + ETH_ALEN, source, ETH_ALEN);
	packet_put16(out + 2 * ETH_ALEN, type);
}

size_t packet_make_arp(uint8_t *out, const uint8_t mac[ETH_ALEN], struct in_addr sender,
		       const uint8_t target_mac[ETH_ALEN], struct in_addr target)
{
	static const uint8_t reply[] = { 0, 1, 8, 0, 6, 4, 0, 2 };
	uint8_t *arp = out + ETH_HLEN;

	make_ethernet(out, target_mac, mac, ETHERTYPE_ARP);
	memcpy(arp, reply, sizeof(reply));
	memcpy(arp + 8, mac, ETH_ALEN);
	memcpy(arp + 14, &sender, 4);
	memcpy(arp + 18, target_mac, ETH_ALEN);
	memcpy(arp + 24, &target, 4);
	return ETH_HLEN + 28;
}

static void make_ipv6(uint8_t *ip, size_t payload, uint8_t protocol, uint8_t hops,
		      const struct in6_addr *source, const struct in6_addr *target)
{
	memset(ip, 0, 8);
	ip[0] = 0x60;
	packet_put16(ip + 4, (uint16_t)payload);
	ip[6] = protocol;
	ip[7] = hops;
	memcpy(ip + 8, source, 16);
	memcpy(ip + 24, target, 16);
}

/* Of the pseudo header (RFC 8200, 8.1) and what follows the header at ip. */
static uint16_t checksum6(const uint8_t *ip, size_t size, uint8_t protocol)
{
	return complement(packet_sum((uint32_t)size + protocol, ip + 8, 32 + size));
}

size_t packet_make_na(uint8_t *out, const uint8_t mac[ETH_ALEN], const struct in6_addr *sender,
		      const uint8_t target_mac[ETH_ALEN], const struct in6_addr *target)
{
	uint8_t *ip = out + ETH_HLEN;
	uint8_t *icmp = ip + IPV6_HEADER_SIZE;

	make_ethernet(out, target_mac, mac, ETHERTYPE_IPV6);
	make_ipv6(ip, 32, IPPROTO_ICMPV6, 255, sender, target);
	memset(icmp, 0, 32);
	icmp[0] = PACKET_ND_NA;
	icmp[4] = 0x60; /* solicited, override */
	memcpy(icmp + 8, sender, 16);
	icmp[24] = ND_OPTION_TARGET;
	icmp[25] = 1;
	memcpy(icmp + 26, mac, ETH_ALEN);
	packet_put16(icmp + 2, checksum6(ip, 32, IPPROTO_ICMPV6));
	return ETH_HLEN + IPV6_HEADER_SIZE + 32;
}

size_t packet_make_echo(uint8_t *out, const struct packet *packet)
{
	uint8_t *ip = out + ETH_HLEN;
	uint8_t *icmp = out + packet->transport;
	size_t size = packet->end - packet->transport;
	uint16_t request;

	memcpy(out, packet->frame, packet->end);
	make_ethernet(out, packet_source(packet), packet_destination(packet),
		      packet_get16(packet->frame + 2 * ETH_ALEN));
	if (packet->kind == PACKET_IPV4) {
		memcpy(ip + 12, &packet->destination4, 4);
		memcpy(ip + 16, &packet->source4, 4);
		icmp[0] = 0;
		packet_put16(icmp + 2, 0);
		packet_put16(icmp + 2, complement(packet_sum(0, icmp, size)));
		return packet->end;
	}
	memcpy(ip + 8, &packet->destination6, 16);
	memcpy(ip + 24, &packet->source6, 16);
	icmp[0] = 129;
	/* Only the type changed (by 1 of the high byte): RFC 1624. */
	request = (uint16_t)~packet_get16(icmp + 2);
	packet_put16(icmp + 2, complement(packet_sum((uint32_t)request + 0x100, NULL, 0)));
	return packet->end;
}

void packet_set_checksum4(uint8_t *ip)
{
	packet_put16(ip + 10, 0);
	packet_put16(ip + 10, complement(packet_sum(0, ip, 20)));
}

static void make_ipv4(uint8_t *ip, size_t payload, uint8_t protocol, const struct in_addr *source,
		      const struct in_addr *target)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	packet_put16(ip + 2, (uint16_t)(20 + payload));
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, source, 4);
	memcpy(ip + 16, target, 4);
	packet_set_checksum4(ip);
}

/* RFC 9293, 3.10.7.1: the reset to a segment of no connection. */
static size_t make_reset(uint8_t *tcp, const struct packet *packet)
{
	const uint8_t *segment = packet->frame + packet->transport;
	bool acknowledges = packet->tcp_flags & PACKET_TCP_ACK;
	uint32_t next = (uint32_t)packet_get16(segment + 4) << 16 | packet_get16(segment + 6);

	memset(tcp, 0, 20);
	packet_put16(tcp, packet->destination_port);
	packet_put16(tcp + 2, packet->source_port);
	if (acknowledges) {
		memcpy(tcp + 4, segment + 8, 4);
	} else {
		next++; /* a SYN, without data */
		packet_put16(tcp + 8, (uint16_t)(next >> 16));
		packet_put16(tcp + 10, (uint16_t)next);
	}
	tcp[12] = 5 << 4;
	tcp[13] = acknowledges ? PACKET_TCP_RST : PACKET_TCP_RST | PACKET_TCP_ACK;
	return 20;
}

/* The error about a datagram, with its headers. */
static size_t make_unreachable(uint8_t *icmp, const struct packet *packet)
{
	size_t quoted = packet->transport + 8 - ETH_HLEN;
	size_t most = packet->kind == PACKET_IPV4 ? 28 : 48;

	if (quoted > most)
		quoted = most;
	memset(icmp, 0, 8);
	icmp[0] = packet->kind == PACKET_IPV4 ? 3 : 1;
	icmp[1] = packet->kind == PACKET_IPV4 ? 3 : 4; /* the port */
	memcpy(icmp + 8, packet->frame + ETH_HLEN, quoted);
	return 8 + quoted;
}

size_t packet_make_refusal(uint8_t *out, const struct packet *packet)
{
	bool v4 = packet->kind == PACKET_IPV4;
	bool tcp = packet->protocol == IPPROTO_TCP;
	uint8_t *ip = out + ETH_HLEN;
	uint8_t *transport = ip + (v4 ? 20 : IPV6_HEADER_SIZE);
	uint8_t protocol = tcp ? IPPROTO_TCP : v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	size_t size;

	if ((!v4 && packet->kind != PACKET_IPV6) || packet->fragment ||
	    packet_destination(packet)[0] & 1 || (!tcp && packet->protocol != IPPROTO_UDP) ||
	    (tcp && packet->tcp_flags & PACKET_TCP_RST) ||
	    (v4 ? ntohl(packet->destination4.s_addr) >> 28 >= 14
		: IN6_IS_ADDR_MULTICAST(&packet->destination6)))
		return 0;
	make_ethernet(out, packet_source(packet), packet_destination(packet),
		      v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	size = tcp ? make_reset(transport, packet) : make_unreachable(transport, packet);
	if (v4) {
		make_ipv4(ip, size, protocol, &packet->destination4, &packet->source4);
		packet_put16(
			transport + (tcp ? 16 : 2),
			tcp ? complement(packet_sum((uint32_t)size + protocol, ip + 12, 8 + size))
			    : complement(packet_sum(0, transport, size)));
	} else {
		make_ipv6(ip, size, protocol, 64, &packet->destination6, &packet->source6);
		packet_put16(transport + (tcp ? 16 : 2), checksum6(ip, size, protocol));
	}
	return (size_t)(transport - out) + size;
}

size_t packet_make_udp4(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], struct in_addr source,
			struct in_addr target, uint16_t source_port, uint16_t target_port,
			size_t payload_size)
{
	uint8_t *ip = out + ETH_HLEN;
	uint8_t *udp = ip + 20;
	size_t size = 8 + payload_size;
	uint16_t sum;

	make_ethernet(out, target_mac, source_mac, ETHERTYPE_IP);
	make_ipv4(ip, size, IPPROTO_UDP, &source, &target);
	packet_put16(udp, source_port);
	packet_put16(udp + 2, target_port);
	packet_put16(udp + 4, (uint16_t)size);
	packet_put16(udp + 6, 0);
	sum = complement(packet_sum((uint32_t)size + IPPROTO_UDP, ip + 12, 8 + size));
	packet_put16(udp + 6, sum ? sum : 0xffff); /* 0 would say that there is none */
	return ETH_HLEN + 20 + size;
}

size_t packet_make_udp6(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], const struct in6_addr *source,
			const struct in6_addr *target, uint16_t source_port, uint16_t target_port,
			size_t payload_size)
{
	uint8_t *ip = out + ETH_HLEN;
	uint8_t *udp = ip + IPV6_HEADER_SIZE;
	size_t size = 8 + payload_size;
	uint16_t sum;

	make_ethernet(out, target_mac, source_mac, ETHERTYPE_IPV6);
	make_ipv6(ip, size, IPPROTO_UDP, 64, source, target);
	packet_put16(udp, source_port);
	packet_put16(udp + 2, target_port);
	packet_put16(udp + 4, (uint16_t)size);
	packet_put16(udp + 6, 0);
	sum = checksum6(ip, size, IPPROTO_UDP);
	packet_put16(udp + 6, sum ? sum : 0xffff);
	return ETH_HLEN + IPV6_HEADER_SIZE + size;
}

size_t packet_make_ip4(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
		       const uint8_t target_mac[ETH_ALEN], struct in_addr source,
		       struct in_addr target, uint8_t protocol, size_t payload_size)
{
	make_ethernet(out, target_mac, source_mac, ETHERTYPE_IP);
	make_ipv4(out + ETH_HLEN, payload_size, protocol, &source, &target);
	return ETH_HLEN + 20;
}

size_t packet_make_ip6(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
		       const uint8_t target_mac[ETH_ALEN], const struct in6_addr *source,
		       const struct in6_addr *target, uint8_t protocol, size_t payload_size)
{
	make_ethernet(out, target_mac, source_mac, ETHERTYPE_IPV6);
	make_ipv6(out + ETH_HLEN, payload_size, protocol, 64, source, target);
	return ETH_HLEN + IPV6_HEADER_SIZE;
}
