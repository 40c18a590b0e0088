/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a machine: what the parser, the guard and the egress filter say must hold together. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "net/guard.h"
#include "net/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 10.99.1.10, fd99:1::10 and 02:00:00:00:01:0a in 10.99.1.0/24 and fd99:1::/64. */
static const struct net_config config = {
	.subnet = { 0x0001630a },
	.mask = { 0x00ffffff },
	.gateway = { 0x0101630a },
	.host = { 0x0201630a },
	.names = { 0x0301630a },
	.has6 = true,
	.prefix6 = 64,
	.subnet6 = { .s6_addr = { 0xfd, 0x99, 0, 1 } },
	.gateway6 = { .s6_addr = { 0xfd, 0x99, 0, 1, [15] = 1 } },
	.host6 = { .s6_addr = { 0xfd, 0x99, 0, 1, [15] = 2 } },
	.names6 = { .s6_addr = { 0xfd, 0x99, 0, 1, [15] = 3 } },
};
static const struct binding binding = {
	.mac = { 2, 0, 0, 0, 1, 10 },
	.ipv4 = { 0x0a01630a },
	.has6 = true,
	.ipv6 = { .s6_addr = { 0xfd, 0x99, 0, 1, [15] = 0x10 } },
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_egress(const struct packet *packet)
{
	const uint8_t *ip = packet->frame + ETH_HLEN;

	check(packet->kind == PACKET_IPV4 || packet->kind == PACKET_IPV6);
	if (packet->kind == PACKET_IPV4)
		check(ip[16] != 0 && ip[16] != 127 && !(ip[16] == 169 && ip[17] == 254) &&
		      ip[16] < 224);
	else
		check(ip[24] != 0xff && !(ip[24] == 0xfe && (ip[25] & 0xc0) == 0x80));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of exactly the size, so that reading beyond is seen. */
	AUTO_FREE uint8_t *frame = malloc(size ? size : 1);
	AUTO_FREE uint8_t *reply = malloc(size + PACKET_REFUSAL_MAX);
	struct packet packet;

	memcpy(frame, data, size);
	if (packet_parse(frame, size, &packet) < 0)
		return 0;
	if (packet.kind == PACKET_IPV4 || packet.kind == PACKET_IPV6) {
		check(packet.transport <= packet.end && packet.end <= size);
		if (packet.first && packet.protocol == IPPROTO_UDP)
			check(packet.payload <= packet.end);
		if (packet.first && !packet.fragment &&
		    packet.protocol == (packet.kind == PACKET_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
			check(packet_make_echo(reply, &packet) <= size);
	}
	if (packet_make_refusal(reply, &packet) > PACKET_REFUSAL_MAX)
		abort();
	if (!guard_source(&binding, &packet))
		return 0;
	check(memcmp(frame + ETH_ALEN, binding.mac, ETH_ALEN) == 0);
	if (guard_egress(&config, &packet))
		check_egress(&packet);
	return 0;
}
