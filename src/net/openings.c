/* SPDX-License-Identifier: Apache-2.0 */
#include "net/openings.h"

#include "base/hash.h"

#define TCP_ACKNOWLEDGED 8 /* offset; the client's first sequence number, and so the attempt */

bool openings_repeats(struct openings *openings, const struct packet *packet)
{
	const uint8_t *tcp = packet->frame + packet->transport;
	bool v4 = packet->kind == PACKET_IPV4;
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, tcp, 4);

	hash = hash_fnv1a(hash, tcp + TCP_ACKNOWLEDGED, 4);
	hash = v4 ? hash_fnv1a(hash, &packet->destination4, sizeof(packet->destination4))
		  : hash_fnv1a(hash, &packet->destination6, sizeof(packet->destination6));
	hash |= 1; /* never what stands for none */
	for (size_t i = 0; i < OPENINGS_MAX; i++)
		if (openings->seen[i] == hash)
			return true;
	openings->seen[openings->next++ % OPENINGS_MAX] = hash;
	return false;
}
