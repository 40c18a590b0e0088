/* SPDX-License-Identifier: Apache-2.0 */
/* TCP segments in packets: what one says, and the headers before one that is made. RFC 9293, 3.1;
 * RFC 7323, 2.2. The checksum of what came is not looked at: it came through memory. */
#ifndef NET_TCP_WIRE_H
#define NET_TCP_WIRE_H

#include <sys/uio.h>

#include "net/packet.h"
#include "net/tcp_core.h"

#define TCP_HEADERS_MAX (ETH_HLEN + 40 + 20 + 8)

/* Who a connection is between, from the member's side; IPv4 addresses as ::ffff:. Ports in host
 * order. */
struct tcp_ends {
	bool v6;
	struct in6_addr remote, own;
	uint16_t remote_port, own_port;
};

/* A packet that holds a whole TCP header. Data is borrowed from it. */
void tcp_parse(const struct packet *packet, struct tcp_segment *ret_segment);
struct tcp_ends tcp_ends_of(const struct packet *packet);
/* Headers of Ethernet, IP and TCP for a segment from the remote end to the member's. The data in
 * two parts (of which the second may be empty) is only summed up. The size, at most
 * TCP_HEADERS_MAX. */
size_t tcp_make_headers(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], const struct tcp_ends *ends,
			const struct tcp_out *segment, const struct iovec data[2]);

static inline struct in6_addr tcp_map4(struct in_addr address)
{
	struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(mapped.s6_addr + 12, &address, sizeof(address));
	return mapped;
}

static inline struct in_addr tcp_unmap4(const struct in6_addr *mapped)
{
	struct in_addr address;

	memcpy(&address, mapped->s6_addr + 12, sizeof(address));
	return address;
}

#endif
