/* SPDX-License-Identifier: Apache-2.0 */
/* What a member may say in TCP, to an end that has data to send and takes what comes. The input is
 * a row of steps: a byte (bits 0-1: what; bit 2: by the state of the connection instead of as it
 * is) and 10 more: flags, sequence number, acknowledgment, window or size, option. Nothing that is
 * said may make more known than was sent, hand over what was not said, or let time stand still. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/tcp_wire.h"

#define STEP 16
#define ROOM 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* The segment of a step, through the parser of packets. */
static bool segment_of(const struct tcp *tcp, const uint8_t *step, uint8_t frame[4096],
		       struct tcp_segment *ret)
{
	uint8_t *ip = frame + ETH_HLEN, *header = ip + 20;
	size_t options = (step[12] & 15) * 4u;
	size_t length = packet_get16(step + 10) % 2000;
	struct packet packet;
	uint32_t base;

	memset(frame, 0, ETH_HLEN + 20);
	packet_put16(frame + 2 * ETH_ALEN, ETHERTYPE_IP);
	ip[0] = 0x45;
	ip[9] = IPPROTO_TCP;
	packet_put16(ip + 2, (uint16_t)(40 + options + length));
	memset(header, step[15], 20 + options + length);
	memcpy(header + 4, step + 2, 8);
	if (step[0] & 4) { /* near to where the connection is */
		base = htonl(tcp->received + (uint32_t)(int8_t)step[2] * step[3]);
		memcpy(header + 4, &base, 4);
		base = htonl(tcp->una + (uint32_t)(int8_t)step[6] * step[7]);
		memcpy(header + 8, &base, 4);
	}
	header[12] = (uint8_t)((5 + (step[12] & 15)) << 4);
	header[13] = step[1];
	packet_put16(header + 14, packet_get16(step + 13));
	if (packet_parse(frame, ETH_HLEN + 40 + options + length, &packet) < 0)
		return false;
	tcp_parse(&packet, ret);
	return true;
}

static void send_all(struct tcp *tcp, uint64_t now_ms)
{
	struct tcp_out out;

	for (int i = 0; i < 4096 && tcp_next(tcp, now_ms, &out); i++) {
		check(out.offset + out.size <= tcp->queued && out.size <= tcp->own_mss);
		check(out.size || out.flags);
		if (out.size % 7 == 3) {
			tcp_unsend(tcp, &out);
			return;
		}
		check(i < 4000);
	}
}

static bool hear(struct tcp *tcp, const struct tcp_segment *segment, uint64_t now_ms)
{
	uint32_t sent = tcp->next - tcp->una;
	size_t queued = tcp->queued;
	struct tcp_effect effect;

	tcp_receive(tcp, segment, now_ms, &effect);
	check(effect.forgotten <= sent && effect.forgotten <= queued);
	check(tcp->queued == queued - effect.forgotten);
	check(effect.size <= segment->size && effect.size <= ROOM);
	check(!effect.size || (effect.data >= segment->data &&
			       effect.data + effect.size <= segment->data + segment->size));
	tcp_take(tcp, effect.size, effect.last);
	return !effect.reset && !effect.refused;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[4096];
	struct tcp_segment segment = { .seq = 7, .flags = TCP_SYN, .window = 1000, .shift = 3 };
	uint64_t now_ms = 1000;
	struct tcp tcp;

	if (size && data[0] & 8)
		tcp_open(&tcp, UINT32_MAX - 9, 1460, ROOM, now_ms);
	else
		tcp_answer(&tcp, &segment, UINT32_MAX - 9, 1460, ROOM, now_ms);
	send_all(&tcp, now_ms);
	for (; size >= STEP; data += STEP, size -= STEP) {
		if ((data[0] & 3) == 0 && tcp.queued < 100000 && !tcp.fin)
			tcp_queue(&tcp, packet_get16(data + 10));
		if ((data[0] & 3) == 1 && data[1] & 1)
			tcp_finish(&tcp);
		if ((data[0] & 3) == 2)
			now_ms += packet_get16(data + 10);
		if (tcp.deadline_ms && tcp.deadline_ms <= now_ms) {
			if (tcp_expire(&tcp, now_ms) < 0)
				return 0;
			check(tcp.deadline_ms == 0 || tcp.deadline_ms > now_ms);
		}
		if (segment_of(&tcp, data, frame, &segment) && !hear(&tcp, &segment, now_ms))
			return 0;
		send_all(&tcp, now_ms);
	}
	return 0;
}
