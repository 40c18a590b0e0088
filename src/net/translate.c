/* SPDX-License-Identifier: Apache-2.0 */
#include "net/translate.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define PUBLISHED_MAX 8192
#define NAMES_MAX 512
#define NAMES_OF_MEMBER 32
#define STAND_IN_PORT 1024 /* the first that stands for another */
#define BUCKETS 2048
#define ASKED_MS 75000 /* as long as a client tries */
#define IDLE_MS 600000 /* of a connection that gives way when there are too many */
#define TCP_HEADER_MAX 60
#define PORT_DNS 53
#define NONE UINT16_MAX

static_assert(STAND_IN_PORT + PUBLISHED_MAX < 32768, "below the ports that systems choose");

enum flow_state {
	FLOW_FREE,
	FLOW_ASKED, /* the member has not said whether it takes IPv6 */
	FLOW_TRANSLATED,
	FLOW_CLOSING, /* both sides have said that no more will come */
};

/* A connection as it is in IPv6, from the member's side; a client of IPv4 is ::ffff: and its
 * address. Its place in the table is the port that
 * stands for its other end in IPv4. */
struct flow {
	enum flow_state state;
	struct port *member; /* borrowed */
	struct in6_addr remote;
	uint16_t remote_port, member_port;
	uint16_t next; /* in its bucket */
	uint8_t ends;  /* that came: 1 from the member, 2 to it */
	uint64_t used_ms;
	size_t opening_size;
	uint8_t opening[TCP_HEADER_MAX]; /* the first segment's header, while it is asked */
};

struct table {
	struct flow *flows; /* owned */
	uint16_t count;
	uint16_t cursor;           /* the next place to be taken: those left last come last */
	uint16_t buckets[BUCKETS]; /* by what the flow is in IPv6 */
};

struct translator {
	struct netd *netd; /* borrowed */
	struct table published, names;
	uint8_t frame[PACKET_FRAME_MAX + 64]; /* that is being made */
};

static void table_init(struct table *table, uint16_t count)
{
	table->flows = xcalloc(count, sizeof(*table->flows));
	table->count = count;
	memset(table->buckets, 0xff, sizeof(table->buckets));
}

static size_t bucket_of(const struct in6_addr *remote, uint16_t remote_port, uint16_t member_port)
{
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, remote, sizeof(*remote));

	hash = hash_fnv1a(hash, &remote_port, sizeof(remote_port));
	return hash_fnv1a(hash, &member_port, sizeof(member_port)) % BUCKETS;
}

static struct flow *table_find(struct table *table, const struct port *member,
			       const struct in6_addr *remote, uint16_t remote_port,
			       uint16_t member_port)
{
	uint16_t i = table->buckets[bucket_of(remote, remote_port, member_port)];

	for (; i != NONE; i = table->flows[i].next) {
		struct flow *flow = &table->flows[i];

		if (flow->member == member && flow->remote_port == remote_port &&
		    flow->member_port == member_port && IN6_ARE_ADDR_EQUAL(&flow->remote, remote))
			return flow;
	}
	return NULL;
}

/* By the port that stands for the other end. */
static struct flow *table_at(struct table *table, const struct port *member, uint16_t stand_in)
{
	struct flow *flow;

	if (stand_in < STAND_IN_PORT || stand_in - STAND_IN_PORT >= table->count)
		return NULL;
	flow = &table->flows[stand_in - STAND_IN_PORT];
	return flow->state != FLOW_FREE && flow->member == member ? flow : NULL;
}

static uint16_t stand_in_of(const struct table *table, const struct flow *flow)
{
	return (uint16_t)(STAND_IN_PORT + (flow - table->flows));
}

static void table_drop(struct table *table, struct flow *flow)
{
	uint16_t index = (uint16_t)(flow - table->flows);
	uint16_t *link =
		&table->buckets[bucket_of(&flow->remote, flow->remote_port, flow->member_port)];

	while (*link != index)
		link = &table->flows[*link].next;
	*link = flow->next;
	*flow = (struct flow){ .state = FLOW_FREE };
}

static bool gives_way(const struct flow *flow, uint64_t now_ms, bool urgent)
{
	switch (flow->state) {
	case FLOW_FREE:
	case FLOW_CLOSING:
		return true;
	case FLOW_ASKED:
		return flow->used_ms + ASKED_MS <= now_ms;
	case FLOW_TRANSLATED:
		return urgent && flow->used_ms + IDLE_MS <= now_ms;
	}
	return false;
}

static struct flow *table_add(struct table *table, struct port *member,
			      const struct in6_addr *remote, uint16_t remote_port,
			      uint16_t member_port)
{
	uint64_t now_ms = clock_monotonic_ms();
	uint16_t *bucket;

	for (uint32_t i = 0; i < 2u * table->count; i++) {
		struct flow *flow = &table->flows[table->cursor];
		uint16_t index = table->cursor;

		table->cursor = (uint16_t)((index + 1) % table->count);
		if (!gives_way(flow, now_ms, i >= table->count))
			continue;
		if (flow->state != FLOW_FREE)
			table_drop(table, flow);
		bucket = &table->buckets[bucket_of(remote, remote_port, member_port)];
		*flow = (struct flow){ .state = FLOW_ASKED,
				       .member = member,
				       .remote = *remote,
				       .remote_port = remote_port,
				       .member_port = member_port,
				       .next = *bucket,
				       .used_ms = now_ms };
		*bucket = index;
		return flow;
	}
	return NULL;
}

/* A member's questions take no more than their share. */
static void limit_member(struct table *table, const struct port *member)
{
	struct flow *oldest = NULL;
	size_t count = 0;

	for (uint16_t i = 0; i < table->count; i++) {
		struct flow *flow = &table->flows[i];

		if (flow->state == FLOW_FREE || flow->member != member)
			continue;
		count++;
		if (!oldest || flow->used_ms < oldest->used_ms)
			oldest = flow;
	}
	if (count >= NAMES_OF_MEMBER)
		table_drop(table, oldest);
}

/* Urgent data goes nowhere (net/guard.h). */
static bool is_whole_tcp(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && packet->first && !packet->fragment &&
	       !(packet->tcp_flags & PACKET_TCP_URG);
}

static bool is_opening(const struct packet *packet)
{
	return (packet->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN;
}

/* Told of each segment that passes: `end` is 1 for those of the member, 2 for those to it. */
static void advance(struct table *table, struct flow *flow, const struct packet *packet,
		    uint8_t end)
{
	flow->used_ms = clock_monotonic_ms();
	if (packet->tcp_flags & PACKET_TCP_RST) {
		table_drop(table, flow);
		return;
	}
	if (packet->tcp_flags & PACKET_TCP_FIN)
		flow->ends |= end;
	if (flow->ends == 3)
		flow->state = FLOW_CLOSING;
}

/* A segment of the uplink, to the member in IPv4. */
static void send4(struct translator *translator, struct flow *flow, const struct packet *segment)
{
	const struct net_config *config = &translator->netd->config;
	const struct binding *binding = port_binding(flow->member);
	size_t size = packet_make_tcp4(translator->frame, config->gateway_mac, binding->mac,
				       config->gateway, binding->ipv4,
				       stand_in_of(&translator->published, flow), flow->member_port,
				       segment);

	port_send(flow->member, translator->frame, size);
}

static void keep_opening(struct flow *flow, const struct packet *packet)
{
	const uint8_t *tcp = packet->frame + packet->transport;
	size_t size = (tcp[12] >> 4) * 4u; /* checked: at most TCP_HEADER_MAX, all there */

	memcpy(flow->opening, tcp, size);
	flow->opening_size = size;
}

static struct in6_addr map4(struct in_addr address)
{
	struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(mapped.s6_addr + 12, &address, sizeof(address));
	return mapped;
}

static struct in_addr unmap4(const struct in6_addr *mapped)
{
	struct in_addr address;

	memcpy(&address, mapped->s6_addr + 12, sizeof(address));
	return address;
}

/* A client with an address of the network: the host, which has one there by a TAP device. */
static bool is_inside4(const struct net_config *config, struct in_addr client)
{
	return config_in_subnet(config, client) && client.s_addr != config->gateway.s_addr &&
	       client.s_addr != config->names.s_addr;
}

/* Whether the member could answer a client at its own address: not where another one has it, or the
 * host by a TAP device. */
static bool is_told_as_it_is(const struct net_config *config, const struct in6_addr *client)
{
	if (IN6_IS_ADDR_V4MAPPED(client))
		return false;
	return !IN6_IS_ADDR_LINKLOCAL(client) && (!config_in_subnet6(config, client) ||
						  IN6_ARE_ADDR_EQUAL(client, &config->gateway6));
}

/* remote: the source, of either version. */
static bool published_to_member(struct translator *translator, struct port *member,
				const struct in6_addr *remote, const struct packet *packet)
{
	struct table *table = &translator->published;
	struct flow *flow =
		table_find(table, member, remote, packet->source_port, packet->destination_port);

	/* A port that a client uses anew is a new connection. */
	if (flow && is_opening(packet) && flow->state == FLOW_CLOSING) {
		table_drop(table, flow);
		flow = NULL;
	}
	if (!flow && is_opening(packet)) {
		flow = table_add(table, member, remote, packet->source_port,
				 packet->destination_port);
		if (!flow)
			return true; /* it is tried again */
		keep_opening(flow, packet);
		if (!is_told_as_it_is(&translator->netd->config, remote))
			flow->state = FLOW_TRANSLATED;
	}
	if (!flow || flow->state == FLOW_ASKED)
		return false;
	send4(translator, flow, packet);
	advance(table, flow, packet, 2);
	return true;
}

/* An answer of the name server. */
static bool names_to_member(struct translator *translator, struct port *member,
			    const struct packet *packet)
{
	const struct net_config *config = &translator->netd->config;
	const struct binding *binding = port_binding(member);
	struct flow *flow = table_at(&translator->names, member, packet->destination_port);
	size_t size;

	if (!flow)
		return false;
	size = packet_make_tcp6(translator->frame, config->gateway_mac, binding->mac,
				&config->names6, &flow->remote, PORT_DNS, flow->remote_port,
				packet);
	port_send(member, translator->frame, size);
	advance(&translator->names, flow, packet, 2);
	return true;
}

bool translator_to_member(struct translator *translator, struct port *member,
			  const struct packet *packet)
{
	struct in6_addr mapped;

	if (!translator || !is_whole_tcp(packet))
		return false;
	if (packet->kind == PACKET_IPV6)
		return published_to_member(translator, member, &packet->source6, packet);
	if (is_inside4(&translator->netd->config, packet->source4)) {
		mapped = map4(packet->source4);
		return published_to_member(translator, member, &mapped, packet);
	}
	return packet->source_port == PORT_DNS &&
	       packet->source4.s_addr == translator->netd->config.names.s_addr &&
	       names_to_member(translator, member, packet);
}

/* The member does not take the connection in IPv6: it is asked in IPv4, by the same segment. */
static void ask_again(struct translator *translator, struct flow *flow)
{
	const struct net_config *config = &translator->netd->config;
	const struct binding *binding = port_binding(flow->member);
	uint8_t frame[ETH_HLEN + 40 + TCP_HEADER_MAX] = { 0 };
	struct packet packet = { .frame = frame,
				 .kind = PACKET_IPV6,
				 .transport = ETH_HLEN + 40,
				 .end = ETH_HLEN + 40 + flow->opening_size };

	/* Of what the packet was, its checksum covers the addresses; all else is made anew. */
	memcpy(frame + ETH_HLEN + 8, &flow->remote, 16);
	memcpy(frame + ETH_HLEN + 24, &binding->ipv6, 16);
	memcpy(frame + packet.transport, flow->opening, flow->opening_size);
	flow->state = FLOW_TRANSLATED;
	port_send(flow->member, translator->frame,
		  packet_make_tcp4(translator->frame, config->gateway_mac, binding->mac,
				   config->gateway, binding->ipv4,
				   stand_in_of(&translator->published, flow), flow->member_port,
				   &packet));
}

/* Whether a reset is the answer to the segment that opened the connection. */
static bool refuses(const struct flow *flow, const struct packet *packet)
{
	const uint8_t *tcp = packet->frame + packet->transport;
	uint32_t asked =
		(uint32_t)packet_get16(flow->opening + 4) << 16 | packet_get16(flow->opening + 6);
	uint32_t acknowledged = (uint32_t)packet_get16(tcp + 8) << 16 | packet_get16(tcp + 10);

	return packet->tcp_flags & PACKET_TCP_RST && packet->tcp_flags & PACKET_TCP_ACK &&
	       acknowledged == asked + 1;
}

/* What a member says in IPv6 to a client. */
static enum translation published6(struct translator *translator, struct port *member,
				   const struct packet *packet)
{
	struct table *table = &translator->published;
	struct flow *flow = table_find(table, member, &packet->destination6,
				       packet->destination_port, packet->source_port);

	if (!flow || flow->state != FLOW_ASKED)
		return TRANSLATE_NOT;
	if (refuses(flow, packet)) {
		ask_again(translator, flow);
		return TRANSLATE_DONE;
	}
	table_drop(table, flow); /* it takes it */
	return TRANSLATE_NOT;
}

/* What a member says in IPv4 to one that the gateway stands for. */
static enum translation published4(struct translator *translator, struct port *member,
				   const struct packet *packet, size_t *ret_size)
{
	const struct net_config *config = &translator->netd->config;
	const struct binding *binding = port_binding(member);
	struct table *table = &translator->published;
	struct flow *flow = table_at(table, member, packet->destination_port);

	if (!flow || flow->state == FLOW_ASKED || flow->member_port != packet->source_port ||
	    is_opening(packet))
		return TRANSLATE_NOT;
	if (IN6_IS_ADDR_V4MAPPED(&flow->remote))
		*ret_size = packet_make_tcp4(translator->frame, binding->mac, config->gateway_mac,
					     binding->ipv4, unmap4(&flow->remote),
					     flow->member_port, flow->remote_port, packet);
	else
		*ret_size = packet_make_tcp6(translator->frame, binding->mac, config->gateway_mac,
					     &binding->ipv6, &flow->remote, flow->member_port,
					     flow->remote_port, packet);
	advance(table, flow, packet, 1);
	return TRANSLATED;
}

/* A question to the name server. */
static enum translation names6(struct translator *translator, struct port *member,
			       const struct packet *packet, size_t *ret_size)
{
	const struct net_config *config = &translator->netd->config;
	const struct binding *binding = port_binding(member);
	struct table *table = &translator->names;
	struct flow *flow =
		table_find(table, member, &packet->source6, packet->source_port, PORT_DNS);

	if (flow && is_opening(packet) && flow->state == FLOW_CLOSING) {
		table_drop(table, flow);
		flow = NULL;
	}
	if (!flow && is_opening(packet)) {
		limit_member(table, member);
		flow = table_add(table, member, &packet->source6, packet->source_port, PORT_DNS);
		if (flow)
			flow->state = FLOW_TRANSLATED;
	}
	if (!flow)
		return TRANSLATE_NOT;
	*ret_size = packet_make_tcp4(translator->frame, binding->mac, config->gateway_mac,
				     binding->ipv4, config->names, stand_in_of(table, flow),
				     PORT_DNS, packet);
	advance(table, flow, packet, 1);
	return TRANSLATED;
}

enum translation translator_from_member(struct translator *translator, struct port *member,
					const struct packet *packet, struct packet *ret_packet)
{
	const struct net_config *config;
	enum translation done = TRANSLATE_NOT;
	size_t size = 0;

	if (!translator || !is_whole_tcp(packet))
		return TRANSLATE_NOT;
	config = &translator->netd->config;
	if (packet->kind == PACKET_IPV4) {
		if (packet->destination4.s_addr == config->gateway.s_addr)
			done = published4(translator, member, packet, &size);
	} else if (IN6_ARE_ADDR_EQUAL(&packet->destination6, &config->names6)) {
		if (packet->destination_port == PORT_DNS)
			done = names6(translator, member, packet, &size);
	} else {
		done = published6(translator, member, packet);
	}
	if (done == TRANSLATED && packet_parse(translator->frame, size, ret_packet) < 0)
		return TRANSLATE_DONE; /* longer than a frame may be */
	return done;
}

static void forget(struct table *table, const struct port *member)
{
	for (uint16_t i = 0; i < table->count; i++)
		if (table->flows[i].state != FLOW_FREE && table->flows[i].member == member)
			table_drop(table, &table->flows[i]);
}

void translator_forget(struct translator *translator, const struct port *member)
{
	if (!translator)
		return;
	forget(&translator->published, member);
	forget(&translator->names, member);
}

struct translator *translator_new(struct netd *netd)
{
	struct translator *translator = xcalloc(1, sizeof(*translator));

	translator->netd = netd;
	table_init(&translator->published, PUBLISHED_MAX);
	table_init(&translator->names, NAMES_MAX);
	return translator;
}

struct translator *translator_free(struct translator *translator)
{
	if (!translator)
		return NULL;
	free(translator->published.flows);
	free(translator->names.flows);
	free(translator);
	return NULL;
}
