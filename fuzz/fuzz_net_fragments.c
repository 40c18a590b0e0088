/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments of two members: what is made whole has the bytes of its own, and no hole. The input is
 * a row of fragments: a byte (bit 0: whose, bits 1-3: id, bit 7: the last), the offset in units (2
 * bytes), the size (1 byte). Each unit is filled with what names its member. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/fragments.h"

#define HEADERS (ETH_HLEN + 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_whole(const struct packet *whole, uint8_t fill)
{
	check(whole->end <= whole->size && whole->payload <= whole->end && !whole->fragment);
	check(packet_get16(whole->frame + whole->transport + 4) <= whole->end - whole->transport);
	for (size_t i = whole->transport; i < whole->end; i++)
		check(whole->frame[i] == fill);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fragments *fragments = fragments_new();
	static const char *const members[] = { "a", "b" };
	static const struct in_addr address = { 0x0a01630a };

	for (; size >= 4; data += 4, size -= 4) {
		uint8_t frame[HEADERS + 256] = { 0 };
		uint8_t fill = data[0] & 1 ? 0x22 : 0x11; /* as a length: 8,738 or 4,369 bytes */
		uint8_t *ip = frame + ETH_HLEN;
		struct packet packet;
		struct packet whole;

		packet_put16(frame + 2 * ETH_ALEN, ETHERTYPE_IP);
		ip[0] = 0x45;
		packet_put16(ip + 2, (uint16_t)(20 + data[3]));
		ip[5] = data[0] >> 1 & 7;
		packet_put16(ip + 6, (uint16_t)((data[0] & 0x80 ? 0 : 0x2000) |
						(packet_get16(data + 1) & 0x1fff)));
		ip[9] = IPPROTO_UDP;
		memcpy(ip + 12, &address, 4);
		memcpy(ip + 16, &address, 4);
		memset(ip + 20, fill, data[3]);
		if (packet_parse(frame, HEADERS + data[3], &packet) < 0 || !packet.fragment)
			continue;
		if (fragments_add(fragments, members[data[0] & 1], &packet, &whole))
			check_whole(&whole, fill);
	}
	fragments_free(fragments);
	return 0;
}
