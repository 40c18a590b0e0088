/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames: one parser for all that netd decides by, and the parts of the frames that it
 * makes itself. What a parsed packet says about itself has been checked against its size; all code
 * beyond reads from the parsed form. RFC 791, 8200, 826, 4861, 768, 9293.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PACKET_FRAME_MAX (65520 + ETH_HLEN)
#define PACKET_UDP_HEADERS4 (ETH_HLEN + 20 + 8)
#define PACKET_REFUSAL_MAX (ETH_HLEN + 40 + 8 + 40 + 8)
#define PACKET_UDP_HEADERS6 (ETH_HLEN + 40 + 8)

enum packet_kind {
	PACKET_ARP,
	PACKET_IPV4,
	PACKET_IPV6,
	PACKET_OTHER, /* neither: nothing that hull carries */
};

/* TCP flags that matter here. */
#define PACKET_TCP_FIN 0x01
#define PACKET_TCP_SYN 0x02
#define PACKET_TCP_RST 0x04
#define PACKET_TCP_ACK 0x10
#define PACKET_TCP_URG 0x20

/* ICMPv6 types that matter here. */
#define PACKET_ND_RS 133
#define PACKET_ND_RA 134
#define PACKET_ND_NS 135
#define PACKET_ND_NA 136
#define PACKET_ND_REDIRECT 137

struct packet {
	const uint8_t *frame; /* borrowed */
	size_t size;
	enum packet_kind kind;
	/* IPv4 and IPv6. */
	struct in_addr source4, destination4;
	struct in6_addr source6, destination6;
	uint8_t protocol; /* behind all extension headers */
	bool fragment;    /* one of several */
	bool first;       /* holds the transport header: not a fragment, or the first one */
	size_t transport; /* offset of the transport header; set if first */
	size_t end;       /* of the IP packet in the frame, which may be padded */
	/* UDP and TCP, if first. */
	uint16_t source_port, destination_port;
	size_t payload; /* UDP */
	uint8_t tcp_flags;
	/* ICMP and ICMPv6, if first. */
	uint8_t icmp_type;
	/* ARP, and ND solicitations and advertisements. */
	uint16_t arp_operation;
	uint8_t sender_mac[ETH_ALEN];
	struct in_addr arp_sender, arp_target;
	struct in6_addr nd_target;
	bool nd_has_mac; /* sender_mac is that of its link-layer address option */
};

/* -EBADMSG for what is malformed, or hides from us what it is. */
int packet_parse(const uint8_t *frame, size_t size, struct packet *ret_packet);

static inline const uint8_t *packet_destination(const struct packet *packet)
{
	return packet->frame;
}

static inline const uint8_t *packet_source(const struct packet *packet)
{
	return packet->frame + ETH_ALEN;
}

static inline uint16_t packet_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void packet_put16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Frames made here: written to out, which must have the room named; the result is the size. */

/* An ARP reply that `sender` has `mac`. 42 bytes. */
size_t packet_make_arp(uint8_t *out, const uint8_t mac[ETH_ALEN], struct in_addr sender,
		       const uint8_t target_mac[ETH_ALEN], struct in_addr target);
/* A neighbour advertisement that `sender` has `mac`. 86 bytes. */
size_t packet_make_na(uint8_t *out, const uint8_t mac[ETH_ALEN], const struct in6_addr *sender,
		      const uint8_t target_mac[ETH_ALEN], const struct in6_addr *target);
/* An echo reply to the echo request `packet`. packet->size bytes. */
size_t packet_make_echo(uint8_t *out, const struct packet *packet);
/* What says that nobody takes `packet`: a reset, or a port that cannot be reached. At most
 * PACKET_REFUSAL_MAX bytes; 0 if there is nothing to say. */
size_t packet_make_refusal(uint8_t *out, const struct packet *packet);
/* The checksum of a header of IPv4 without options. */
void packet_set_checksum4(uint8_t *ip);
/* Headers before a UDP payload that is there already, at out + PACKET_UDP_HEADERS4 or 6. Ports in
 * host order. */
size_t packet_make_udp4(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], struct in_addr source,
			struct in_addr target, uint16_t source_port, uint16_t target_port,
			size_t payload_size);
size_t packet_make_udp6(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], const struct in6_addr *source,
			const struct in6_addr *target, uint16_t source_port, uint16_t target_port,
			size_t payload_size);

/* For what is made elsewhere: headers of Ethernet and IP before a payload of so many bytes. Their
 * size. */
size_t packet_make_ip4(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
		       const uint8_t target_mac[ETH_ALEN], struct in_addr source,
		       struct in_addr target, uint8_t protocol, size_t payload_size);
size_t packet_make_ip6(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
		       const uint8_t target_mac[ETH_ALEN], const struct in6_addr *source,
		       const struct in6_addr *target, uint8_t protocol, size_t payload_size);
/* One's complement sum of bytes (RFC 1071), added to that of an even number of bytes before them;
 * folded to 16 bits. The checksum is its complement. */
uint32_t packet_sum(uint32_t sum, const uint8_t *data, size_t size);

#endif
