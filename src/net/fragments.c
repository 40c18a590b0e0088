/* SPDX-License-Identifier: Apache-2.0 */
#include "net/fragments.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define SLOTS 16
#define SLOTS_OF_MEMBER 4
#define LIFE_MS 15000
#define UNIT 8 /* bytes, of which all but the last fragment are made */
#define HEADERS (ETH_HLEN + 20)
#define DATA_MAX (65535 - 20)
#define UNITS ((DATA_MAX + UNIT - 1) / UNIT)

struct slot {
	const void *member; /* NULL: free */
	struct in_addr source, destination;
	uint8_t id[2];
	uint64_t started_ms;
	size_t size;  /* of all data; 0: the last fragment is not there */
	size_t units; /* that are there */
	size_t reach; /* the end of the furthest one */
	uint8_t there[(UNITS + 7) / 8];
	uint8_t frame[HEADERS + DATA_MAX];
};

struct fragments {
	struct slot slots[SLOTS]; /* not touched before it is needed: no memory until then */
};

static void clear(struct slot *slot)
{
	slot->member = NULL;
}

static bool is_of(const struct slot *slot, const void *member, const struct packet *fragment)
{
	return slot->member == member && slot->source.s_addr == fragment->source4.s_addr &&
	       slot->destination.s_addr == fragment->destination4.s_addr &&
	       memcmp(slot->id, fragment->frame + ETH_HLEN + 4, sizeof(slot->id)) == 0;
}

static struct slot *older(struct slot *a, struct slot *b)
{
	return a && a->started_ms <= b->started_ms ? a : b;
}

static struct slot *begin(struct fragments *fragments, const void *member,
			  const struct packet *fragment, uint64_t now_ms)
{
	struct slot *free_one = NULL;
	struct slot *oldest = NULL;
	struct slot *own_oldest = NULL;
	struct slot *slot;
	size_t own = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		slot = &fragments->slots[i];
		if (!slot->member) {
			free_one = slot;
			continue;
		}
		oldest = older(oldest, slot);
		if (slot->member != member)
			continue;
		own++;
		own_oldest = older(own_oldest, slot);
	}
	slot = own >= SLOTS_OF_MEMBER ? own_oldest : free_one ? free_one : oldest;
	slot->member = member;
	slot->source = fragment->source4;
	slot->destination = fragment->destination4;
	memcpy(slot->id, fragment->frame + ETH_HLEN + 4, sizeof(slot->id));
	slot->started_ms = now_ms;
	slot->size = slot->units = slot->reach = 0;
	memset(slot->there, 0, sizeof(slot->there));
	return slot;
}

/* The slot of the datagram; a new one if there is none, or it is that of another one long ago. */
static struct slot *find(struct fragments *fragments, const void *member,
			 const struct packet *fragment)
{
	uint64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &fragments->slots[i];

		if (!slot->member || !is_of(slot, member, fragment))
			continue;
		if (slot->started_ms + LIFE_MS > now_ms)
			return slot;
		clear(slot);
	}
	return begin(fragments, member, fragment, now_ms);
}

/* Marks what a fragment brings; false when a part of it was there already. */
static bool mark(struct slot *slot, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		uint8_t bit = (uint8_t)(1 << i % 8);

		if (slot->there[i / 8] & bit)
			return false;
		slot->there[i / 8] |= bit;
	}
	slot->units += count;
	return true;
}

/* False when the datagram cannot be: it is lost. */
static bool place(struct slot *slot, const struct packet *fragment)
{
	uint16_t field = packet_get16(fragment->frame + ETH_HLEN + 6);
	size_t offset = (field & 0x1fffu) * UNIT;
	size_t size = fragment->end - fragment->transport;
	bool last = !(field & 0x2000);

	if (size == 0 || offset + size > DATA_MAX || (!last && size % UNIT != 0) ||
	    (last && slot->size) || !mark(slot, offset / UNIT, (size + UNIT - 1) / UNIT))
		return false;
	if (offset + size > slot->reach)
		slot->reach = offset + size;
	if (last)
		slot->size = offset + size;
	if (slot->size && slot->reach > slot->size)
		return false;
	memcpy(slot->frame + HEADERS + offset, fragment->frame + fragment->transport, size);
	return true;
}

/* What packet_parse would say, of more than a frame. False: it is no datagram. */
static bool describe(struct slot *slot, const struct packet *fragment, struct packet *ret_whole)
{
	const uint8_t *udp = slot->frame + HEADERS;
	uint8_t *ip = slot->frame + ETH_HLEN;

	if (slot->size < 8 || packet_get16(udp + 4) < 8 || packet_get16(udp + 4) > slot->size)
		return false;
	memcpy(slot->frame, fragment->frame, HEADERS);
	ip[0] = 0x45; /* without options */
	packet_put16(ip + 2, (uint16_t)(20 + slot->size));
	packet_put16(ip + 6, 0);
	packet_set_checksum4(ip);
	*ret_whole = (struct packet){
		.frame = slot->frame,
		.size = HEADERS + slot->size,
		.kind = PACKET_IPV4,
		.source4 = slot->source,
		.destination4 = slot->destination,
		.protocol = IPPROTO_UDP,
		.first = true,
		.transport = HEADERS,
		.end = HEADERS + slot->size,
		.source_port = packet_get16(udp),
		.destination_port = packet_get16(udp + 2),
		.payload = HEADERS + 8,
	};
	return true;
}

bool fragments_add(struct fragments *fragments, const void *member, const struct packet *fragment,
		   struct packet *ret_whole)
{
	struct slot *slot = find(fragments, member, fragment);

	if (!place(slot, fragment)) {
		clear(slot);
		return false;
	}
	if (!slot->size || slot->units < (slot->size + UNIT - 1) / UNIT)
		return false;
	clear(slot); /* its bytes stay until the next call */
	return describe(slot, fragment, ret_whole);
}

void fragments_forget(struct fragments *fragments, const void *member)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (fragments->slots[i].member == member)
			clear(&fragments->slots[i]);
}

struct fragments *fragments_new(void)
{
	return xcalloc(1, sizeof(struct fragments));
}

struct fragments *fragments_free(struct fragments *fragments)
{
	free(fragments);
	return NULL;
}
