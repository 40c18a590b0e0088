/* SPDX-License-Identifier: Apache-2.0 */
/* Networks as their members see them: socket pairs instead of machines, on a real hull-netd. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/proc.h"
#include "net/client.h"
#include "net/packet.h"

#define WAIT_MS 5000

static const uint8_t gateway_mac[6] = { 0x52, 0x55, 10, 99, 1, 1 };

/* A machine: one end of a pair, and who it is. */
struct machine {
	struct net_client *client;
	int nic; /* what the emulator would have */
	int link;
	uint8_t mac[6];
	char mac_text[18], ipv4[16], ipv6[40], uuid[8];
	struct net_joined joined;
};

static struct net_spec spec_in(const char *run)
{
	return (struct net_spec){
		.run = run,
		.id = "n1",
		.program = getenv("HULL_NETD"),
		.name = "n1",
		.subnet = "10.99.1.0/24",
		.subnet6 = "fd99:1::/64",
		.linger_ms = 1,
	};
}

static int machine_join(struct machine *machine, const struct net_spec *spec, struct err *err)
{
	struct net_member member = { .uuid = machine->uuid,
				     .name = machine->uuid,
				     .mac = machine->mac_text,
				     .ipv4 = machine->ipv4,
				     .ipv6 = machine->ipv6 };

	return net_client_join(spec, &member, machine->link, &machine->client, &machine->joined,
			       err);
}

static void machine_init(struct machine *machine, unsigned number)
{
	int fds[2];

	*machine = (struct machine){ .mac = { 2, 0, 0, 0, 1, (uint8_t)number } };
	snprintf(machine->mac_text, sizeof(machine->mac_text), "02:00:00:00:01:%02x", number);
	snprintf(machine->ipv4, sizeof(machine->ipv4), "10.99.1.%u", number);
	snprintf(machine->ipv6, sizeof(machine->ipv6), "fd99:1::%x", number);
	snprintf(machine->uuid, sizeof(machine->uuid), "c%u", number);
	assert_int_equal(net_pair(fds, NULL), 0);
	machine->nic = fds[0];
	machine->link = fds[1];
}

static void machine_start(struct machine *machine, const struct net_spec *spec, unsigned number)
{
	struct err err = { 0 };

	machine_init(machine, number);
	if (machine_join(machine, spec, &err) < 0)
		fail_msg("%s", err.message);
}

static void machine_stop(struct machine *machine)
{
	machine->client = net_client_free(machine->client);
	close(machine->nic);
	close(machine->link);
}

/* Waits until the network's process is gone, so that the directory can be. */
static void wait_down(const char *run)
{
	AUTO_FREE char *path = path_join(run, "net/n1/lock");
	int lock = lock_take(path, LOCK_EXCLUSIVE, true, NULL);

	assert_true(lock >= 0);
	close(lock);
}

static void send_frame(const struct machine *machine, const void *frame, size_t size)
{
	assert_int_equal(send(machine->nic, frame, size, 0), size);
}

/* The next frame, or 0 when none comes in time. */
static size_t next_frame(const struct machine *machine, uint8_t *frame, int wait_ms)
{
	ssize_t n;

	if (fd_wait(machine->nic, POLLIN, wait_ms) <= 0)
		return 0;
	n = recv(machine->nic, frame, PACKET_FRAME_MAX + 1, 0);
	return n < 0 ? 0 : (size_t)n;
}

static struct in_addr address_of(const char *text)
{
	struct in_addr address = { 0 };

	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

/* A UDP datagram from one machine to another. */
static size_t make_datagram(uint8_t *out, const struct machine *from, const struct machine *to,
			    const char *text)
{
	memcpy(out + PACKET_UDP_HEADERS4, text, strlen(text));
	return packet_make_udp4(out, from->mac, to->mac, address_of(from->ipv4),
				address_of(to->ipv4), 1000, 2000, strlen(text));
}

static void assert_delivers(const struct machine *from, const struct machine *to, const char *text)
{
	static uint8_t sent[PACKET_FRAME_MAX], received[PACKET_FRAME_MAX + 1];
	size_t size = make_datagram(sent, from, to, text);

	send_frame(from, sent, size);
	assert_int_equal(next_frame(to, received, WAIT_MS), size);
	assert_memory_equal(sent, received, size);
}

static void test_members_reach_each_other(void **state)
{
	struct net_spec spec = spec_in(*state);
	struct machine a, b;

	machine_start(&a, &spec, 10);
	machine_start(&b, &spec, 11);
	assert_string_equal(a.joined.gateway, "10.99.1.1");
	assert_string_equal(a.joined.names6, "fd99:1::3");
	assert_int_equal(a.joined.mtu, 65520);
	assert_delivers(&a, &b, "hello");
	assert_delivers(&b, &a, "hello yourself");
	machine_stop(&a);
	machine_stop(&b);
	wait_down(*state);
}

static void test_network_is_asked_for_addresses(void **state)
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
	struct net_spec spec = spec_in(*state);
	uint8_t frame[PACKET_FRAME_MAX + 1];
	struct packet packet;
	struct machine a, b;

	machine_start(&a, &spec, 10);
	machine_start(&b, &spec, 11);
	packet_make_arp(frame, a.mac, address_of(a.ipv4), broadcast, address_of(b.ipv4));
	frame[21] = 1; /* a question */
	send_frame(&a, frame, 42);
	assert_int_equal(packet_parse(frame, next_frame(&a, frame, WAIT_MS), &packet), 0);
	assert_int_equal(packet.kind, PACKET_ARP);
	assert_memory_equal(packet.sender_mac, b.mac, 6);
	assert_int_equal(packet.arp_sender.s_addr, address_of(b.ipv4).s_addr);
	machine_stop(&a);
	machine_stop(&b);
	wait_down(*state);
}

static void test_one_address_one_member(void **state)
{
	struct net_spec spec = spec_in(*state);
	struct err err = { 0 };
	struct machine a, b;

	machine_start(&a, &spec, 10);
	machine_init(&b, 10);
	assert_int_equal(machine_join(&b, &spec, &err), -EADDRINUSE);
	assert_non_null(strstr(err.message, "'c10' is a member already"));
	snprintf(b.uuid, sizeof(b.uuid), "other");
	assert_int_equal(machine_join(&b, &spec, &err), -EADDRINUSE);
	snprintf(b.ipv4, sizeof(b.ipv4), "10.99.1.2");
	assert_int_equal(machine_join(&b, &spec, &err), -EINVAL);
	spec.subnet = "10.99.2.0/24";
	snprintf(b.ipv4, sizeof(b.ipv4), "10.99.2.10");
	assert_int_equal(machine_join(&b, &spec, &err), -EEXIST);
	machine_stop(&a);
	machine_stop(&b);
	wait_down(*state);
}

static struct net_stats stats_of(const struct machine *machine)
{
	struct net_stats stats = { 0 };
	struct err err = { 0 };

	if (net_client_stats(machine->client, &stats, &err) < 0)
		fail_msg("%s", err.message);
	return stats;
}

/* Asks until so many frames were refused. */
static void wait_refused(const struct machine *machine, uint64_t count)
{
	uint64_t deadline = clock_monotonic_ms() + WAIT_MS;

	while (stats_of(machine).refused < count)
		assert_true(clock_monotonic_ms() < deadline);
}

/* The next value of a small generator: the same frames in each run. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* A frame that begins as a good one and is damaged somewhere, or is nothing at all. */
static size_t make_garbage(uint8_t *out, const struct machine *from, const struct machine *to,
			   uint32_t *random)
{
	size_t size = make_datagram(out, from, to, "some text that is not too short");

	if (next_random(random) % 4 == 0)
		memcpy(out, gateway_mac, sizeof(gateway_mac));
	for (uint32_t i = next_random(random) % 6; i; i--)
		out[12 + next_random(random) % (size - 12)] = (uint8_t)next_random(random);
	switch (next_random(random) % 8) {
	case 0:
		return 1 + next_random(random) % size;
	case 1:
		return PACKET_FRAME_MAX + next_random(random) % 64; /* too long, rest as it was */
	default:
		return size;
	}
}

static void test_garbage_and_floods_hurt_nobody_else(void **state)
{
	static uint8_t frame[PACKET_FRAME_MAX + 128];
	struct net_spec spec = spec_in(*state);
	struct machine a, b, hostile;
	uint32_t random = 12345;
	uint64_t refused;

	machine_start(&a, &spec, 10);
	machine_start(&b, &spec, 11);
	machine_start(&hostile, &spec, 66);
	for (int round = 0; round < 200; round++) {
		/* Until its link is full, without waiting. */
		for (int i = 0; i < 200; i++) {
			size_t size = make_garbage(frame, &hostile, &hostile, &random);

			if (send(hostile.nic, frame, size, MSG_DONTWAIT) < 0)
				break;
		}
		while (recv(hostile.nic, frame, sizeof(frame), MSG_DONTWAIT) > 0)
			;
		if (round % 10 == 0) {
			assert_delivers(&a, &b, "in between");
			assert_delivers(&b, &a, "and back");
		}
	}
	wait_refused(&hostile, 1000);
	/* As another one. */
	send_frame(&hostile, frame, make_datagram(frame, &hostile, &b, "from itself"));
	assert_true(next_frame(&b, frame, WAIT_MS) > 0); /* what came before has been dealt with */
	refused = stats_of(&hostile).refused;
	send_frame(&hostile, frame, make_datagram(frame, &a, &b, "not from a"));
	wait_refused(&hostile, refused + 1);
	assert_int_equal(next_frame(&b, frame, 0), 0);
	assert_int_equal(stats_of(&a).refused, 0);
	machine_stop(&a);
	machine_stop(&b);
	machine_stop(&hostile);
	wait_down(*state);
}

static void test_slow_reader_loses_its_own_frames_alone(void **state)
{
	static uint8_t frame[PACKET_FRAME_MAX + 1];
	struct net_spec spec = spec_in(*state);
	struct machine a, b, slow;
	size_t size;

	machine_start(&a, &spec, 10);
	machine_start(&b, &spec, 11);
	machine_start(&slow, &spec, 12);
	memset(frame, 'x', sizeof(frame));
	for (int i = 0; i < 2000 && stats_of(&slow).dropped == 0; i++) {
		size = packet_make_udp4(frame, a.mac, slow.mac, address_of(a.ipv4),
					address_of(slow.ipv4), 1, 2, 60000);
		send_frame(&a, frame, size);
	}
	assert_true(stats_of(&slow).dropped > 0);
	assert_delivers(&a, &b, "past it");
	/* What waited for it is all there, in whole frames. */
	while ((size = next_frame(&slow, frame, 0)) > 0)
		assert_int_equal(size, 60000 + PACKET_UDP_HEADERS4);
	machine_stop(&a);
	machine_stop(&b);
	machine_stop(&slow);
	wait_down(*state);
}

/* A socket on loopback, and its port. */
static int listen_udp(const char *address, uint16_t *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(*port),
				  .sin_addr = address_of(address) };
	socklen_t size = sizeof(in);
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(sock, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(sock, (struct sockaddr *)&in, &size), 0);
	*port = ntohs(in.sin_port);
	return sock;
}

static void send_out(const struct machine *machine, const char *to, uint16_t port, const char *text)
{
	uint8_t frame[256];

	memcpy(frame + PACKET_UDP_HEADERS4, text, strlen(text));
	send_frame(machine, frame,
		   packet_make_udp4(frame, machine->mac, gateway_mac, address_of(machine->ipv4),
				    address_of(to), 1000, port, strlen(text)));
}

static void send_out6(const struct machine *machine, const char *to, uint16_t port)
{
	uint8_t frame[256] = { 0 };
	struct in6_addr from6, to6;

	inet_pton(AF_INET6, machine->ipv6, &from6);
	assert_int_equal(inet_pton(AF_INET6, to, &to6), 1);
	send_frame(machine, frame,
		   packet_make_udp6(frame, machine->mac, gateway_mac, &from6, &to6, 1000, port, 4));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)packet_get16(p) << 16 | packet_get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	packet_put16(p, (uint16_t)(value >> 16));
	packet_put16(p + 2, (uint16_t)value);
}

/* A segment of 24 bytes, with the option of the longest segment, that answers the SYN of that
 * number. */
static void answer_syn(const struct machine *machine, const struct packet *syn, uint32_t number)
{
	uint8_t frame[PACKET_UDP_HEADERS4 + 16], *ip = frame + ETH_HLEN, *tcp = ip + 20;
	uint32_t sum = IPPROTO_TCP + 24;

	packet_make_udp4(frame, machine->mac, gateway_mac, syn->destination4, syn->source4,
			 syn->destination_port, syn->source_port, 16);
	ip[9] = IPPROTO_TCP;
	packet_set_checksum4(ip);
	put32(tcp + 4, 1000);
	put32(tcp + 8, number + 1);
	packet_put16(tcp + 12, 6 << 12 | PACKET_TCP_SYN | PACKET_TCP_ACK);
	packet_put16(tcp + 14, 65000); /* window */
	put32(tcp + 16, 0);
	put32(tcp + 20, 2 << 24 | 4 << 16 | 1460);
	for (size_t i = 0; i < 32; i += 2) /* from the addresses on */
		sum += packet_get16(ip + 12 + i);
	packet_put16(tcp + 16, (uint16_t) ~(sum % 0xffff));
	send_frame(machine, frame, sizeof(frame));
}

/* Waits for a segment with all of the flags, and data if data is given. */
static struct packet next_segment(const struct machine *machine, uint8_t flags, const char *data)
{
	static uint8_t frame[PACKET_FRAME_MAX + 1];
	uint64_t end_ms = clock_monotonic_ms() + 4 * (uint64_t)WAIT_MS;

	while (clock_monotonic_ms() < end_ms) {
		size_t size = next_frame(machine, frame, WAIT_MS);
		struct packet packet;

		if (size == 0 || packet_parse(frame, size, &packet) < 0 ||
		    packet.protocol != IPPROTO_TCP || (packet.tcp_flags & flags) != flags)
			continue;
		if (!data || (size == packet.transport + 20 + strlen(data) &&
			      memcmp(frame + packet.transport + 20, data, strlen(data)) == 0))
			return packet;
	}
	fail_msg("no such segment came");
	return (struct packet){ 0 };
}

/* A system whose program is slow to accept forgets what came, and says SYN-ACK once more. */
static void test_what_a_client_said_outlives_a_second_syn_ack(void **state)
{
	struct net_spec spec = spec_in(*state);
	struct net_rule rule = {
		.protocol = NET_TCP, .address = "127.0.0.1", .container_port = 80, .count = 1
	};
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address_of("127.0.0.1") };
	AUTO_CLOSE int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct packet syn;
	struct machine a;
	uint32_t number;

	machine_start(&a, &spec, 10);
	assert_int_equal(net_client_publish(a.client, &rule, 1, NULL), 0);
	in.sin_port = htons(rule.host_port);
	assert_int_equal(connect(sock, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(send(sock, "request", 7, 0), 7);
	syn = next_segment(&a, PACKET_TCP_SYN, NULL);
	assert_int_equal(syn.destination_port, 80);
	number = get32(syn.frame + syn.transport + 4);
	answer_syn(&a, &syn, number);
	next_segment(&a, PACKET_TCP_ACK, "request");
	answer_syn(&a, &syn, number);
	next_segment(&a, PACKET_TCP_ACK, "");
	next_segment(&a, PACKET_TCP_ACK, "request");
	machine_stop(&a);
	wait_down(*state);
}

/* All roads to the host's loopback that libslirp knows, against a socket there. The one that is
 * allowed comes last, so that the others would have been seen. */
static void test_host_is_reached_as_allowed_alone(void **state)
{
	static const char *const roads[] = { "127.0.0.1", "127.1.2.3",       "0.0.0.0",
					     "10.99.1.2", "10.99.1.3",       "10.99.1.255",
					     "10.99.1.9", "255.255.255.255", "10.99.1.0",
					     "0.0.0.1" };
	static const char *const roads6[] = { "::1",         "::",        "::ffff:127.0.0.1",
					      "::127.0.0.1", "fd99:1::2", "fd99:1::3",
					      "fd99:1::9",   "ff02::1",   "fe80::1" };
	char *host_ports[] = { "all", NULL };
	struct net_spec spec = spec_in(*state);
	struct machine a;
	uint16_t port = 0;
	AUTO_CLOSE int sock = listen_udp("0.0.0.0", &port);
	char text[32] = { 0 };

	spec.host_ports = host_ports;
	machine_start(&a, &spec, 10);
	for (size_t i = 0; i < ARRAY_SIZE(roads); i++)
		send_out(&a, roads[i], port, roads[i]);
	for (size_t i = 0; i < ARRAY_SIZE(roads6); i++)
		send_out6(&a, roads6[i], port);
	send_out(&a, "10.99.1.1", port, "allowed");
	assert_int_equal(fd_wait(sock, POLLIN, WAIT_MS), 1);
	assert_int_equal(recv(sock, text, sizeof(text) - 1, 0), strlen("allowed"));
	assert_string_equal(text, "allowed");
	assert_int_equal(recv(sock, text, sizeof(text), MSG_DONTWAIT), -1);
	machine_stop(&a);
	wait_down(*state);
	/* And not when it is not. */
	spec.host_ports = NULL;
	machine_start(&a, &spec, 10);
	send_out(&a, "10.99.1.1", port, "not allowed");
	wait_refused(&a, 1);
	assert_int_equal(recv(sock, text, sizeof(text), MSG_DONTWAIT), -1);
	machine_stop(&a);
	wait_down(*state);
}

/* The process that holds the network's lock. */
static pid_t process_of(const char *run)
{
	AUTO_FREE char *path = path_join(run, "net/n1/lock");
	char *argv[] = { "sh", "-c", "exec fuser \"$0\" 2> /dev/null", path, NULL };
	AUTO_FREE char *output = NULL;

	assert_int_equal(proc_output(argv, false, 256, &output, NULL), 0);
	return (pid_t)strtol(output, NULL, 10);
}

static void test_process_is_confined_and_small(void **state)
{
	struct net_spec spec = spec_in(*state);
	AUTO_FREE char *text = NULL;
	char path[64];
	struct machine machines[20];
	const char *value;

	for (unsigned i = 0; i < ARRAY_SIZE(machines); i++)
		machine_start(&machines[i], &spec, 10 + i);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)process_of(*state));
	assert_int_equal(file_read(path, 65536, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "\nNoNewPrivs:\t1\n"));
	assert_non_null(strstr(text, "\nSeccomp:\t2\n"));
	value = strstr(text, "\nCapEff:\t");
	assert_non_null(value);
	assert_int_equal(strtoull(value + 9, NULL, 16) & ~(1ull << 10), 0);
	value = strstr(text, "\nCapBnd:\t");
	if (geteuid() == 0)
		assert_int_equal(strtoull(value + 9, NULL, 16) & ~(1ull << 10), 0);
	value = strstr(text, "\nVmHWM:");
	assert_non_null(value);
#ifndef __SANITIZE_ADDRESS__ /* which has uses for memory of its own */
	assert_true(strtoul(value + 7, NULL, 10) < 20 * 1024);
#endif
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		machine_stop(&machines[i]);
	wait_down(*state);
}

/* Many find nobody at once: one of them starts it. */
static void test_one_process_however_many_start_it(void **state)
{
	struct net_spec spec = spec_in(*state);
	pid_t children[8];
	struct machine a;

	for (int round = 0; round < 5; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(children); i++) {
			children[i] = fork();
			if (children[i] == 0) {
				struct err err = { 0 };

				machine_init(&a, 20 + i);
				if (machine_join(&a, &spec, &err) < 0)
					fprintf(stderr, "%s\n", err.message);
				_exit(!a.client);
			}
		}
		for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
			assert_int_equal(proc_wait(children[i]), 0);
	}
	wait_down(*state);
}

/* Killed with a frame on its way: whoever joins again finds all as it was. */
static void test_members_join_again_after_a_kill(void **state)
{
	struct net_spec spec = spec_in(*state);
	uint8_t frame[256];
	struct err err = { 0 };
	struct machine a, b;
	pid_t pid;

	machine_start(&a, &spec, 10);
	machine_start(&b, &spec, 11);
	assert_delivers(&a, &b, "before");
	pid = process_of(*state);
	kill(pid, SIGKILL);
	assert_int_equal(fd_wait(net_client_fd(a.client), POLLIN, WAIT_MS), 1);
	/* Its link is there all the time. */
	send_frame(&a, frame, make_datagram(frame, &a, &b, "meanwhile"));
	a.client = net_client_free(a.client);
	b.client = net_client_free(b.client);
	assert_int_equal(machine_join(&b, &spec, &err), 0);
	assert_int_equal(machine_join(&a, &spec, &err), 0);
	assert_true(process_of(*state) != pid);
	assert_true(next_frame(&b, frame, WAIT_MS) > 0);
	assert_memory_equal(frame + PACKET_UDP_HEADERS4, "meanwhile", 9);
	assert_delivers(&b, &a, "after");
	machine_stop(&a);
	machine_stop(&b);
	wait_down(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_members_reach_each_other),
		TEST_IN_DIR(test_network_is_asked_for_addresses),
		TEST_IN_DIR(test_one_address_one_member),
		TEST_IN_DIR(test_garbage_and_floods_hurt_nobody_else),
		TEST_IN_DIR(test_slow_reader_loses_its_own_frames_alone),
		TEST_IN_DIR(test_host_is_reached_as_allowed_alone),
		TEST_IN_DIR(test_what_a_client_said_outlives_a_second_syn_ack),
		TEST_IN_DIR(test_process_is_confined_and_small),
		TEST_IN_DIR(test_one_process_however_many_start_it),
		TEST_IN_DIR(test_members_join_again_after_a_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
