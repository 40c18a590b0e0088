/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what the parser sees, whom the guard believes, what the egress filter lets out; DNS. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>

#include "net/dns.h"
#include "net/fragments.h"
#include "net/guard.h"
#include "net/packet.h"
#include "net/quota.h"
#include "net/ring.h"

static struct net_config config;
static struct binding me;
static uint8_t frame[2048];
static const uint8_t other_mac[6] = { 2, 0, 0, 0, 0, 9 };

static int load(void **state)
{
	char *ports[] = { "5432", "8000-8010", NULL };
	struct net_spec spec = { .name = "n1",
				 .subnet = "10.99.1.0/24",
				 .subnet6 = "fd99:1::/64",
				 .host_ports = ports };
	struct net_member member = {
		.uuid = "a", .mac = "02:00:00:00:01:0a", .ipv4 = "10.99.1.10", .ipv6 = "fd99:1::10"
	};
	struct member_config *parsed = calloc(1, sizeof(*parsed));
	AUTO_JSON json_t *config_json = config_to_json(&spec);
	AUTO_JSON json_t *member_json = member_to_json(&member);

	assert_int_equal(config_parse(config_json, &config, NULL), 0);
	assert_int_equal(member_parse(member_json, &config, parsed, NULL), 0);
	me = parsed->binding;
	free(parsed);
	return 0;
}

static struct in_addr a4(const char *text)
{
	struct in_addr address;

	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

static struct in6_addr a6(const char *text)
{
	struct in6_addr address;

	assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

static struct packet parsed(size_t size)
{
	struct packet packet;

	assert_int_equal(packet_parse(frame, size, &packet), 0);
	return packet;
}

static size_t udp4(const char *from, const char *to, uint16_t source, uint16_t port)
{
	return packet_make_udp4(frame, me.mac, config.gateway_mac, a4(from), a4(to), source, port,
				8);
}

static size_t udp6(const char *from, const char *to, uint16_t source, uint16_t port)
{
	struct in6_addr source_address = a6(from), target = a6(to);

	return packet_make_udp6(frame, me.mac, config.gateway_mac, &source_address, &target, source,
				port, 8);
}

/* The same datagram as a TCP segment with flags. */
static size_t tcp(size_t headers, uint8_t flags)
{
	uint8_t *tcp = frame + headers - 8;

	frame[headers == PACKET_UDP_HEADERS4 ? ETH_HLEN + 9 : ETH_HLEN + 6] = IPPROTO_TCP;
	memset(tcp + 4, 0, 16);
	tcp[12] = 5 << 4;
	tcp[13] = flags;
	if (headers == PACKET_UDP_HEADERS4)
		packet_put16(frame + ETH_HLEN + 2, 40);
	else
		packet_put16(frame + ETH_HLEN + 4, 20);
	return headers + 12;
}

static bool egress4(const char *to, uint16_t port)
{
	struct packet packet = parsed(udp4("10.99.1.10", to, 1000, port));

	assert_true(guard_source(&me, &packet));
	return guard_egress(&config, &packet);
}

static bool egress6(const char *to, uint16_t port)
{
	struct packet packet = parsed(udp6("fd99:1::10", to, 1000, port));

	assert_true(guard_source(&me, &packet));
	return guard_egress(&config, &packet);
}

static bool egress_tcp(const char *to, uint16_t port, uint8_t flags)
{
	udp4("10.99.1.10", to, 1000, port);
	struct packet packet = parsed(tcp(PACKET_UDP_HEADERS4, flags));

	return guard_egress(&config, &packet);
}

static void test_egress_leads_to_the_world_alone(void **state)
{
	static const char *const forbidden[] = {
		"0.0.0.0",         "0.1.2.3",         "127.0.0.1", "127.255.255.255",
		"169.254.169.254", "169.254.0.1",     "224.0.0.1", "239.1.2.3",
		"240.0.0.1",       "255.255.255.255", "10.99.1.2", "10.99.1.3",
		"10.99.1.11",      "10.99.1.255",     "10.99.1.0", "10.99.1.1",
	};
	static const char *const forbidden6[] = {
		"::",        "::1",       "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1",
		"fd99:1::1", "fd99:1::2", "fd99:1::3",        "fd99:1::11",     "fd99:1::ffff",
		"fe80::1",   "ff02::1",   "ff05::2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (egress4(forbidden[i], 80) || egress_tcp(forbidden[i], 80, PACKET_TCP_SYN))
			fail_msg("%s", forbidden[i]);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden6); i++)
		if (egress6(forbidden6[i], 80))
			fail_msg("%s", forbidden6[i]);
	assert_true(egress4("8.8.8.8", 53));
	assert_true(egress4("10.99.2.1", 80));
	assert_true(egress4("192.168.0.1", 80));
	assert_true(egress6("2001:db8::1", 80));
	assert_true(egress_tcp("8.8.8.8", 80, PACKET_TCP_SYN));
}

static void test_egress_knows_services(void **state)
{
	/* Host ports that are allowed, at the gateway alone. */
	assert_true(egress4("10.99.1.1", 5432));
	assert_true(egress4("10.99.1.1", 8010));
	assert_false(egress4("10.99.1.1", 8011));
	assert_true(egress_tcp("10.99.1.1", 8000, PACKET_TCP_SYN));
	assert_true(egress6("fd99:1::1", 5432));
	assert_false(egress4("10.99.1.2", 5432));
	/* Answers to what was published belong to connections that are known. */
	assert_false(egress_tcp("10.99.1.1", 80, PACKET_TCP_SYN | PACKET_TCP_ACK));
	assert_false(egress_tcp("10.99.1.1", 80, PACKET_TCP_ACK));
	/* DNS over TCP. */
	assert_true(egress_tcp("10.99.1.3", 53, PACKET_TCP_SYN));
	assert_false(egress_tcp("10.99.1.3", 80, PACKET_TCP_SYN));
	/* What libslirp does badly. */
	assert_false(egress4("8.8.8.8", 69));
	assert_false(egress4("8.8.8.8", 67));
}

static void test_egress_takes_tcp_udp_and_icmp_alone(void **state)
{
	size_t size = udp4("10.99.1.10", "8.8.8.8", 1, 2);

	for (unsigned protocol = 0; protocol < 256; protocol++) {
		struct packet packet;

		if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP)
			continue;
		frame[ETH_HLEN + 9] = (uint8_t)protocol;
		if (packet_parse(frame, size, &packet) == 0)
			assert_false(guard_egress(&config, &packet));
	}
}

static bool guarded(size_t size)
{
	struct packet packet;

	return packet_parse(frame, size, &packet) == 0 && guard_source(&me, &packet);
}

static void test_guard_believes_own_addresses_alone(void **state)
{
	assert_true(guarded(udp4("10.99.1.10", "10.99.1.11", 1, 2)));
	assert_false(guarded(udp4("10.99.1.11", "10.99.1.10", 1, 2)));
	assert_false(guarded(udp4("0.0.0.0", "10.99.1.10", 1, 2)));
	assert_true(guarded(udp6("fd99:1::10", "fd99:1::11", 1, 2)));
	assert_true(guarded(udp6("fe80::ff:fe00:10a", "fd99:1::11", 1, 2)));
	assert_false(guarded(udp6("fe80::ff:fe00:10b", "fd99:1::11", 1, 2)));
	assert_false(guarded(udp6("fd99:1::1", "fd99:1::11", 1, 2)));
	assert_false(guarded(udp6("::", "fd99:1::11", 1, 2)));
	udp4("10.99.1.10", "10.99.1.11", 1, 2);
	memcpy(frame + 6, other_mac, 6);
	assert_false(guarded(50));
}

static void test_guard_knows_who_may_say_what(void **state)
{
	struct in6_addr own = a6("fd99:1::10"), gateway = a6("fd99:1::1");
	size_t size;

	/* ARP. */
	assert_true(guarded(
		packet_make_arp(frame, me.mac, a4("10.99.1.10"), other_mac, a4("10.99.1.11"))));
	assert_false(guarded(
		packet_make_arp(frame, me.mac, a4("10.99.1.1"), other_mac, a4("10.99.1.11"))));
	size = packet_make_arp(frame, me.mac, a4("10.99.1.10"), other_mac, a4("10.99.1.11"));
	memcpy(frame + ETH_HLEN + 8, other_mac, 6);
	assert_false(guarded(size));
	/* Neighbour discovery. */
	assert_true(guarded(packet_make_na(frame, me.mac, &own, other_mac, &gateway)));
	assert_false(guarded(packet_make_na(frame, me.mac, &gateway, other_mac, &own)));
	size = packet_make_na(frame, me.mac, &own, other_mac, &gateway);
	memcpy(frame + ETH_HLEN + 40 + 26, other_mac, 6);
	assert_false(guarded(size));
	size = packet_make_na(frame, me.mac, &own, other_mac, &gateway);
	memcpy(frame + ETH_HLEN + 40 + 8, &gateway, 16); /* of another's address */
	assert_false(guarded(size));
	for (uint8_t type = PACKET_ND_RS; type <= PACKET_ND_REDIRECT; type++) {
		size = packet_make_na(frame, me.mac, &own, other_mac, &gateway);
		frame[ETH_HLEN + 40] = type;
		assert_int_equal(guarded(size), type != PACKET_ND_RA && type != PACKET_ND_REDIRECT);
	}
	/* DHCP servers. */
	assert_false(guarded(udp4("10.99.1.10", "10.99.1.11", 67, 68)));
	assert_false(guarded(udp4("10.99.1.10", "255.255.255.255", 67, 1000)));
	assert_false(guarded(udp6("fd99:1::10", "fd99:1::11", 547, 546)));
	/* Neither VLANs nor anything else. */
	size = udp4("10.99.1.10", "10.99.1.11", 1, 2);
	packet_put16(frame + 12, 0x8100);
	assert_false(guarded(size));
}

/* Puts an extension header between the IPv6 header and what follows. */
static size_t extend(size_t size, uint8_t type, const uint8_t extension[8])
{
	uint8_t *at = frame + ETH_HLEN + 40;

	memmove(at + 8, at, size - ETH_HLEN - 40);
	memcpy(at, extension, 8);
	at[0] = frame[ETH_HLEN + 6];
	frame[ETH_HLEN + 6] = type;
	packet_put16(frame + ETH_HLEN + 4, (uint16_t)(size - ETH_HLEN - 40 + 8));
	return size + 8;
}

static void test_nothing_hides_behind_extension_headers(void **state)
{
	static const uint8_t padding[8] = { 0, 0, 1, 4 };
	static const uint8_t atomic[8] = { 0 };
	struct in6_addr own = a6("fd99:1::10"), gateway = a6("fd99:1::1");
	size_t size;

	size = packet_make_na(frame, me.mac, &own, other_mac, &gateway);
	frame[ETH_HLEN + 40] = PACKET_ND_RA;
	size = extend(size, IPPROTO_DSTOPTS, padding);
	size = extend(size, IPPROTO_HOPOPTS, padding);
	assert_false(guarded(size));
	size = packet_make_na(frame, me.mac, &own, other_mac, &gateway);
	assert_false(guarded(extend(size, IPPROTO_FRAGMENT, (const uint8_t[8]){ 0, 0, 0, 1 })));
	size = udp6("fd99:1::10", "2001:db8::1", 1, 69);
	size = extend(size, IPPROTO_FRAGMENT, atomic);
	struct packet packet = parsed(size);
	assert_false(guard_egress(&config, &packet));
	/* Too many to look through. */
	size = udp6("fd99:1::10", "2001:db8::1", 1, 2);
	for (int i = 0; i < 8; i++)
		size = extend(size, IPPROTO_DSTOPTS, padding);
	assert_true(guarded(size));
	size = extend(size, IPPROTO_DSTOPTS, padding);
	assert_int_equal(packet_parse(frame, size, &packet), -EBADMSG);
}

static void test_damaged_frames_are_refused(void **state)
{
	size_t size = udp4("10.99.1.10", "8.8.8.8", 1, 2);
	struct packet packet;

	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(packet_parse(frame, cut, &packet), -EBADMSG);
	assert_int_equal(packet_parse(frame, size + 10, &packet), 0); /* padded */
	assert_int_equal(packet.end, size);
	packet_put16(frame + ETH_HLEN + 20 + 4, 17); /* a datagram longer than its packet */
	assert_int_equal(packet_parse(frame, size, &packet), -EBADMSG);
	udp4("10.99.1.10", "8.8.8.8", 1, 2);
	frame[ETH_HLEN] = 0x44;
	assert_int_equal(packet_parse(frame, size, &packet), -EBADMSG);
	/* A second fragment over the flags that were looked at. */
	udp4("10.99.1.10", "8.8.8.8", 1, 2);
	size = tcp(PACKET_UDP_HEADERS4, PACKET_TCP_SYN);
	packet_put16(frame + ETH_HLEN + 6, 1);
	assert_int_equal(packet_parse(frame, size, &packet), -EBADMSG);
}

static void test_quota_slows_who_opens_many(void **state)
{
	struct packet syn = { .protocol = IPPROTO_TCP, .first = true, .tcp_flags = PACKET_TCP_SYN };
	struct packet ack = { .protocol = IPPROTO_TCP, .first = true, .tcp_flags = PACKET_TCP_ACK };
	struct packet udp = { .protocol = IPPROTO_UDP, .first = true, .source_port = 1000 };
	struct quota quota;
	unsigned taken = 0;

	quota_init(&quota);
	assert_true(quota_takes(&quota, &udp, 0, SIZE_MAX));
	while (taken < 1000000 && quota_takes(&quota, &syn, 0, SIZE_MAX))
		taken++;
	assert_in_range(taken, 1000, 999999);
	/* What is open goes on. */
	assert_true(quota_takes(&quota, &ack, 0, SIZE_MAX));
	assert_true(quota_takes(&quota, &udp, 0, SIZE_MAX));
	quota_release(&quota);
	/* With many sockets there, the first thousand is not to be had. */
	quota_init(&quota);
	for (taken = 0; taken < 1000 && quota_takes(&quota, &syn, 100000, SIZE_MAX); taken++)
		;
	assert_in_range(taken, 1, 999);
	quota_release(&quota);
	/* When there are as many as there may be, none is; what is open goes on. */
	quota_init(&quota);
	assert_true(quota_takes(&quota, &udp, 0, 10));
	assert_false(quota_takes(&quota, &syn, 10, 10));
	assert_true(quota_takes(&quota, &syn, 9, 10));
	assert_true(quota_takes(&quota, &ack, 10, 10));
	assert_true(quota_takes(&quota, &udp, 10, 10));
	quota_release(&quota);
}

static void test_refusals_are_whole_packets_back(void **state)
{
	uint8_t reply[PACKET_REFUSAL_MAX];
	struct packet packet;
	size_t size;

	packet = parsed(udp4("10.99.1.10", "169.254.169.254", 1000, 80));
	size = packet_make_refusal(reply, &packet);
	assert_int_equal(packet_parse(reply, size, &packet), 0);
	assert_int_equal(packet.protocol, IPPROTO_ICMP);
	assert_int_equal(packet.icmp_type, 3);
	assert_int_equal(packet.destination4.s_addr, me.ipv4.s_addr);
	udp4("10.99.1.10", "169.254.169.254", 1000, 80);
	packet = parsed(tcp(PACKET_UDP_HEADERS4, PACKET_TCP_SYN));
	size = packet_make_refusal(reply, &packet);
	assert_int_equal(packet_parse(reply, size, &packet), 0);
	assert_int_equal(packet.tcp_flags, PACKET_TCP_RST | PACKET_TCP_ACK);
	assert_int_equal(packet.source_port, 80);
	assert_int_equal(packet.destination_port, 1000);
	/* Nobody is told about shouts and resets. */
	packet = parsed(udp4("10.99.1.10", "224.0.0.1", 1000, 80));
	assert_int_equal(packet_make_refusal(reply, &packet), 0);
	udp6("fd99:1::10", "fd99:1::1", 1000, 80);
	packet = parsed(tcp(PACKET_UDP_HEADERS6, PACKET_TCP_RST));
	assert_int_equal(packet_make_refusal(reply, &packet), 0);
}

/* The part of a datagram of 40 bytes of data (numbers, behind its ports and length) from offset on.
 */
static bool add_part(struct fragments *fragments, const void *member, uint8_t id, size_t offset,
		     size_t size, bool last, struct packet *ret_whole)
{
	uint8_t data[48] = { 3, 232, 7, 208, 0, 48 };
	struct packet packet;

	for (uint8_t i = 8; i < sizeof(data); i++)
		data[i] = i;
	udp4("10.99.1.10", "198.51.100.2", 1000, 2000);
	packet_put16(frame + ETH_HLEN + 2, (uint16_t)(20 + size));
	packet_put16(frame + ETH_HLEN + 4, id);
	packet_put16(frame + ETH_HLEN + 6, (uint16_t)((last ? 0 : 0x2000) | offset / 8));
	memcpy(frame + ETH_HLEN + 20, data + offset, size);
	packet = parsed(ETH_HLEN + 20 + size);
	return fragments_add(fragments, member, &packet, ret_whole);
}

static void test_fragments_are_made_whole(void **state)
{
	struct fragments *fragments = fragments_new();
	const void *a = "a", *b = "b";
	struct packet whole, again;

	/* In any order, and each member's apart. */
	assert_false(add_part(fragments, a, 1, 32, 16, true, &whole));
	assert_false(add_part(fragments, b, 1, 0, 16, false, &whole));
	assert_false(add_part(fragments, a, 1, 0, 16, false, &whole));
	assert_true(add_part(fragments, a, 1, 16, 16, false, &whole));
	assert_int_equal(whole.source_port, 1000);
	assert_int_equal(whole.destination_port, 2000);
	assert_int_equal(whole.end - whole.payload, 40);
	for (uint8_t i = 8; i < 48; i++)
		assert_int_equal(whole.frame[whole.transport + i], i);
	assert_int_equal(packet_parse(whole.frame, whole.size, &again), 0);
	assert_false(again.fragment);
	/* Overlaps, ends that are passed, and two ends lose it. */
	assert_false(add_part(fragments, b, 1, 8, 8, false, &whole));
	assert_false(add_part(fragments, b, 1, 16, 32, true, &whole));
	assert_false(add_part(fragments, b, 2, 40, 8, false, &whole));
	assert_false(add_part(fragments, b, 2, 0, 8, false, &whole));
	assert_false(add_part(fragments, b, 2, 8, 8, true, &whole));
	assert_false(add_part(fragments, b, 3, 40, 8, true, &whole));
	assert_false(add_part(fragments, b, 3, 40, 8, true, &whole));
	/* One datagram of many does not fill the place of another member. */
	assert_false(add_part(fragments, a, 9, 0, 24, false, &whole));
	for (uint8_t id = 0; id < 200; id++)
		assert_false(add_part(fragments, b, id, 0, 24, false, &whole));
	assert_true(add_part(fragments, a, 9, 24, 24, true, &whole));
	assert_true(add_part(fragments, b, 199, 24, 24, true, &whole));
	assert_false(add_part(fragments, b, 100, 24, 24, true, &whole));
	fragments_forget(fragments, b);
	assert_false(add_part(fragments, b, 198, 24, 24, true, &whole));
	fragments_free(fragments);
}

/* A query for name (labels with their lengths) of a type. */
static size_t query(uint8_t *out, const char *labels, uint8_t type)
{
	static const uint8_t header[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	size_t length = strlen(labels) + 1;

	memcpy(out, header, sizeof(header));
	memcpy(out + 12, labels, length);
	memcpy(out + 12 + length, (uint8_t[]){ 0, type, 0, 1 }, 4);
	return 12 + length + 4;
}

static void test_dns_questions_and_answers(void **state)
{
	struct dns_answer answer = { .addresses4 = { { htonl(0x0a630132) } }, .count4 = 1 };
	uint8_t message[512], reply[DNS_UDP_MAX];
	struct dns_query asked;
	size_t size = query(message, "\3WWW\3Lan", DNS_TYPE_A);
	size_t reply_size;

	assert_int_equal(dns_parse(message, size, &asked), 0);
	assert_string_equal(asked.name, "www.lan");
	assert_int_equal(asked.question_end, size);
	reply_size = dns_build(message, &asked, &answer, reply);
	assert_int_equal(reply_size, size + 16);
	assert_int_equal(packet_get16(reply + 6), 1);
	assert_memory_equal(reply + reply_size - 4, &answer.addresses4[0], 4);
	assert_memory_equal(reply + size, "\xc0\x0c\0\1\0\1\0\0\0\0\0\4", 12);
	assert_true(dns_answers(reply, reply_size, message, size));
	reply[0] ^= 1;
	assert_false(dns_answers(reply, reply_size, message, size));
	reply[0] ^= 1;
	reply[14] ^= 1;
	assert_false(dns_answers(reply, reply_size, message, size));
	/* No address of the other kind: no records, no error. */
	size = query(message, "\3www\3lan", DNS_TYPE_AAAA);
	assert_int_equal(dns_parse(message, size, &asked), 0);
	assert_int_equal(dns_build(message, &asked, &answer, reply), size);
	assert_int_equal(reply[3] & 15, DNS_OK);
	for (size_t cut = 12; cut < size; cut++)
		assert_int_equal(dns_parse(message, cut, &asked), -EINVAL);
	message[12] = 0xc0; /* a pointer */
	assert_int_equal(dns_parse(message, size, &asked), -EINVAL);
	message[2] |= 0x80; /* an answer */
	assert_int_equal(dns_parse(message, size, &asked), -EBADMSG);
}

static void test_dns_reverse_names(void **state)
{
	struct in_addr address4 = { 0 };
	struct in6_addr address6 = { 0 }, wanted = a6("fd99:1::10");

	assert_int_equal(dns_reverse("10.1.99.10.in-addr.arpa", &address4, &address6), AF_INET);
	assert_int_equal(address4.s_addr, a4("10.99.1.10").s_addr);
	assert_int_equal(
		dns_reverse(
			"0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.9.9.d.f.ip6.arpa",
			&address4, &address6),
		AF_INET6);
	assert_memory_equal(&address6, &wanted, 16);
	assert_int_equal(dns_reverse("1.99.10.in-addr.arpa", &address4, &address6), 0);
	assert_int_equal(dns_reverse("300.1.99.10.in-addr.arpa", &address4, &address6), 0);
	assert_int_equal(dns_reverse("example.org", &address4, &address6), 0);
}

/* What goes in comes out, in order, whatever the sizes; what does not fit is refused. */
static void test_ring_keeps_frames_in_order(void **state)
{
	struct ring ring;
	uint8_t data[5000];
	unsigned in = 0, out = 0, refused = 0;

	assert_int_equal(ring_init(&ring, 65536), 0);
	for (unsigned step = 0; step < 20000; step++) {
		size_t size = 4 + (in * 7919u) % 4000;
		const uint8_t *frame_out;
		unsigned number;

		memcpy(data, &in, sizeof(in));
		if (size > 4)
			data[size - 1] = (uint8_t)in;
		if (ring_push(&ring, data, size))
			in++;
		else
			refused++;
		for (unsigned pops = (step / 50) % 3; pops && (frame_out = ring_peek(&ring, &size));
		     pops--) {
			memcpy(&number, frame_out, sizeof(number));
			assert_int_equal(number, out);
			assert_int_equal(size, 4 + (out * 7919u) % 4000);
			if (size > 4)
				assert_int_equal(frame_out[size - 1], (uint8_t)out);
			ring_pop(&ring);
			out++;
		}
	}
	assert_true(refused > 0 && out > 1000);
	while (!ring_is_empty(&ring)) {
		ring_pop(&ring);
		out++;
	}
	assert_int_equal(in, out);
	ring_release(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_egress_leads_to_the_world_alone),
		cmocka_unit_test(test_egress_knows_services),
		cmocka_unit_test(test_egress_takes_tcp_udp_and_icmp_alone),
		cmocka_unit_test(test_guard_believes_own_addresses_alone),
		cmocka_unit_test(test_guard_knows_who_may_say_what),
		cmocka_unit_test(test_nothing_hides_behind_extension_headers),
		cmocka_unit_test(test_damaged_frames_are_refused),
		cmocka_unit_test(test_quota_slows_who_opens_many),
		cmocka_unit_test(test_refusals_are_whole_packets_back),
		cmocka_unit_test(test_fragments_are_made_whole),
		cmocka_unit_test(test_dns_questions_and_answers),
		cmocka_unit_test(test_dns_reverse_names),
		cmocka_unit_test(test_ring_keeps_frames_in_order),
	};

	return cmocka_run_group_tests(tests, load, NULL);
}
