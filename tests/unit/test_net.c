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
#include "base/fd.h"
#include "base/lock.h"
#include "net/client.h"
#include "net/packet.h"

#define WAIT_MS 5000

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_members_reach_each_other),
		TEST_IN_DIR(test_network_is_asked_for_addresses),
		TEST_IN_DIR(test_one_address_one_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
