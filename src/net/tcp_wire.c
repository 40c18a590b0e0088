/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_wire.h"

#define HEADER 20
#define OPTION_END 0
#define OPTION_NOTHING 1
#define OPTION_MSS 2
#define OPTION_SHIFT 3

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)packet_get16(p) << 16 | packet_get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	packet_put16(p, (uint16_t)(value >> 16));
	packet_put16(p + 2, (uint16_t)value);
}

/* What is malformed ends the list. */
static void parse_options(const uint8_t *options, size_t size, struct tcp_segment *segment)
{
	while (size && options[0] != OPTION_END) {
		size_t length = options[0] == OPTION_NOTHING ? 1 : size >= 2 ? options[1] : 0;

		if (length == 0 || length > size || (length == 1 && options[0] != OPTION_NOTHING))
			return;
		if (options[0] == OPTION_MSS && length == 4)
			segment->mss = packet_get16(options + 2);
		if (options[0] == OPTION_SHIFT && length == 3)
			segment->shift = options[2];
		options += length;
		size -= length;
	}
}

void tcp_parse(const struct packet *packet, struct tcp_segment *ret_segment)
{
	const uint8_t *tcp = packet->frame + packet->transport;
	size_t header = (tcp[12] >> 4) * 4u; /* checked: it is all there */

	*ret_segment = (struct tcp_segment){
		.seq = get32(tcp + 4),
		.ack = get32(tcp + 8),
		.window = packet_get16(tcp + 14),
		.flags = packet->tcp_flags,
		.shift = TCP_NO_SHIFT,
		.data = tcp + header,
		.size = packet->end - packet->transport - header,
	};
	if (packet->tcp_flags & TCP_SYN)
		parse_options(tcp + HEADER, header - HEADER, ret_segment);
}

struct tcp_ends tcp_ends_of(const struct packet *packet)
{
	bool v6 = packet->kind == PACKET_IPV6;

	return (struct tcp_ends){
		.v6 = v6,
		.remote = v6 ? packet->destination6 : tcp_map4(packet->destination4),
		.own = v6 ? packet->source6 : tcp_map4(packet->source4),
		.remote_port = packet->destination_port,
		.own_port = packet->source_port,
	};
}

static size_t make_options(uint8_t *out, const struct tcp_out *segment)
{
	size_t size = 0;

	if (segment->mss) {
		out[0] = OPTION_MSS;
		out[1] = 4;
		packet_put16(out + 2, segment->mss);
		size = 4;
	}
	if (segment->shift != TCP_NO_SHIFT) {
		out[size] = OPTION_NOTHING;
		out[size + 1] = OPTION_SHIFT;
		out[size + 2] = 3;
		out[size + 3] = (uint8_t)segment->shift;
		size += 4;
	}
	return size;
}

/* Sums of parts: bytes after an odd number of them are in the other halves of their words. */
static uint32_t sum_data(const struct iovec data[2])
{
	uint32_t first = packet_sum(0, data[0].iov_base, data[0].iov_len);
	uint32_t second = packet_sum(0, data[1].iov_base, data[1].iov_len);

	if (data[0].iov_len & 1)
		second = (second << 8 | second >> 8) & 0xffff;
	return first + second;
}

size_t tcp_make_headers(uint8_t *out, const uint8_t source_mac[ETH_ALEN],
			const uint8_t target_mac[ETH_ALEN], const struct tcp_ends *ends,
			const struct tcp_out *segment, const struct iovec data[2])
{
	uint8_t *tcp = out + ETH_HLEN + (ends->v6 ? 40 : 20);
	size_t header = HEADER + make_options(tcp + HEADER, segment);
	size_t size = header + segment->size;
	uint32_t sum = sum_data(data) + (uint32_t)size + IPPROTO_TCP;
	const uint8_t *ip = out + ETH_HLEN;

	if (ends->v6)
		packet_make_ip6(out, source_mac, target_mac, &ends->remote, &ends->own, IPPROTO_TCP,
				size);
	else
		packet_make_ip4(out, source_mac, target_mac, tcp_unmap4(&ends->remote),
				tcp_unmap4(&ends->own), IPPROTO_TCP, size);
	packet_put16(tcp, ends->remote_port);
	packet_put16(tcp + 2, ends->own_port);
	put32(tcp + 4, segment->seq);
	put32(tcp + 8, segment->flags & TCP_ACK ? segment->ack : 0);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = segment->flags;
	packet_put16(tcp + 14, segment->window);
	put32(tcp + 16, 0);
	sum = packet_sum(sum, ends->v6 ? ip + 8 : ip + 12, ends->v6 ? 32 : 8);
	sum = packet_sum(sum, tcp, header);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	packet_put16(tcp + 16, (uint16_t)~sum);
	return (size_t)(tcp - out) + header;
}
