/* SPDX-License-Identifier: Apache-2.0 */
#include "net/switch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/guard.h"
#include "net/quota.h"
#include "net/ring.h"

#define BATCH 32          /* frames of a port at a turn */
#define FRAME_ROOM 65664  /* PACKET_FRAME_MAX, and a byte more to see that it was more */
#define RING_SIZE 1048576 /* bytes that wait for a port: 16 frames of 64 KiB */
/* Broadcasts and multicasts of a port that are copied to all others. */
#define FLOOD_PER_SECOND 200
#define HASH_SIZE (SWITCH_PORTS_MAX * 4)

static_assert(FRAME_ROOM > PACKET_FRAME_MAX, "a frame that is too large must be seen to be");

struct port {
	struct net_switch *sw; /* borrowed */
	int fd;                /* owned */
	bool tap;
	bool full; /* waits until the descriptor takes more */
	struct binding binding;
	struct loop_source *source; /* owned; NULL when the other end is gone */
	struct ring ring;
	struct port_counters counters;
	uint64_t flood_second;
	unsigned flooded; /* in that second */
	struct quota quota;
	struct tcp_share share;
};

struct net_switch {
	struct loop *loop;               /* borrowed */
	const struct net_config *config; /* borrowed */
	switch_gateway_fn to_gateway;
	switch_tap_fn tap_passes;
	switch_ready_fn ready;
	void *ctx;
	struct port *ports[SWITCH_PORTS_MAX];
	size_t count;
	struct port *by_mac[HASH_SIZE]; /* open addressing; rebuilt when a port comes or goes */
	uint8_t *buffers;               /* BATCH of FRAME_ROOM */
	struct iovec iovs[BATCH];
	struct mmsghdr messages[BATCH];
};

static size_t hash_mac(const uint8_t mac[ETH_ALEN])
{
	uint32_t low;

	memcpy(&low, mac + 2, sizeof(low));
	return (low * 2654435761u >> 16 ^ mac[1]) % HASH_SIZE;
}

static void index_ports(struct net_switch *sw)
{
	memset(sw->by_mac, 0, sizeof(sw->by_mac));
	for (size_t i = 0; i < sw->count; i++) {
		size_t slot = hash_mac(sw->ports[i]->binding.mac);

		while (sw->by_mac[slot])
			slot = (slot + 1) % HASH_SIZE;
		sw->by_mac[slot] = sw->ports[i];
	}
}

struct port *switch_find_mac(const struct net_switch *sw, const uint8_t mac[ETH_ALEN])
{
	size_t slot = hash_mac(mac);

	while (sw->by_mac[slot] && memcmp(sw->by_mac[slot]->binding.mac, mac, ETH_ALEN) != 0)
		slot = (slot + 1) % HASH_SIZE;
	return sw->by_mac[slot];
}

struct port *switch_find4(const struct net_switch *sw, struct in_addr address)
{
	for (size_t i = 0; i < sw->count; i++)
		if (sw->ports[i]->binding.ipv4.s_addr == address.s_addr)
			return sw->ports[i];
	return NULL;
}

struct port *switch_find6(const struct net_switch *sw, const struct in6_addr *address)
{
	for (size_t i = 0; i < sw->count; i++) {
		const struct binding *binding = &sw->ports[i]->binding;

		if ((binding->has6 && memcmp(&binding->ipv6, address, sizeof(*address)) == 0) ||
		    memcmp(&binding->link_local, address, sizeof(*address)) == 0)
			return sw->ports[i];
	}
	return NULL;
}

const struct binding *port_binding(const struct port *port)
{
	return &port->binding;
}

const struct port_counters *port_counters(const struct port *port)
{
	return &port->counters;
}

bool port_may_open(struct port *port, const struct packet *packet, size_t sockets, size_t most)
{
	return quota_takes(&port->quota, packet, sockets, most);
}

struct tcp_share *port_share(struct port *port)
{
	return &port->share;
}

bool port_is_tap(const struct port *port)
{
	return port->tap;
}

void port_refuse(struct port *port)
{
	port->counters.refused++;
}

static void count_received(struct port *port, size_t size)
{
	port->counters.received_bytes += size;
	port->counters.received_frames++;
}

static void wait_writable(struct port *port, bool full)
{
	if (port->full == full || !port->source)
		return;
	port->full = full;
	loop_set_events(port->source, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void enqueue(struct port *port, const uint8_t *frame, size_t size)
{
	if (!ring_push(&port->ring, frame, size)) {
		port->counters.dropped++;
		return;
	}
	wait_writable(port, true);
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == ENOBUFS || errno == EINTR;
}

/* Writes one frame: whether it is dealt with. What fails for good is the end of the port, which
 * reading tells. */
static bool write_frame(struct port *port, const uint8_t *frame, size_t size)
{
	ssize_t n = port->tap ? write(port->fd, frame, size)
			      : send(port->fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && would_block())
		return false;
	if (n < 0)
		port->counters.dropped++;
	else
		count_received(port, size);
	return true;
}

void port_send(struct port *port, const uint8_t *frame, size_t size)
{
	if (!ring_is_empty(&port->ring) || !write_frame(port, frame, size))
		enqueue(port, frame, size);
}

static size_t size_of(const struct msghdr *message)
{
	size_t size = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		size += message->msg_iov[i].iov_len;
	return size;
}

/* As many as can be written by one call. */
static size_t write_frames(struct port *port, struct mmsghdr *frames, size_t count)
{
	int n = sendmmsg(port->fd, frames, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);

	for (int i = 0; i < n; i++)
		count_received(port, size_of(&frames[i].msg_hdr));
	return n > 0 ? (size_t)n : 0;
}

size_t port_send_many(struct port *port, struct mmsghdr *frames, size_t count)
{
	size_t sent = 0;

	if (ring_is_empty(&port->ring))
		sent = write_frames(port, frames, count);
	if (sent < count && port->source)
		wait_writable(port, true);
	return sent;
}

/* Sends the frames first .. first + count of the batch. */
static void send_run(struct port *port, struct net_switch *sw, size_t first, size_t count)
{
	size_t sent = 0;

	if (ring_is_empty(&port->ring) && !port->tap && count > 1)
		sent = write_frames(port, sw->messages + first, count);
	for (; sent < count; sent++)
		port_send(port, sw->iovs[first + sent].iov_base, sw->iovs[first + sent].iov_len);
}

static void drain(struct port *port)
{
	size_t size;
	const uint8_t *frame;

	while ((frame = ring_peek(&port->ring, &size))) {
		if (!write_frame(port, frame, size))
			return;
		ring_pop(&port->ring);
	}
	wait_writable(port, false);
	port->sw->ready(port->sw->ctx, port);
}

/* To all others, as often as a well-behaved network needs it. */
static void flood(struct port *from, const uint8_t *frame, size_t size)
{
	struct net_switch *sw = from->sw;
	uint64_t second = clock_monotonic_ms() / 1000;

	if (second != from->flood_second) {
		from->flood_second = second;
		from->flooded = 0;
	}
	if (from->flooded++ >= FLOOD_PER_SECOND) {
		from->counters.refused++;
		return;
	}
	for (size_t i = 0; i < sw->count; i++)
		if (sw->ports[i] != from && !sw->ports[i]->tap)
			port_send(sw->ports[i], frame, size);
}

static bool is_for_gateway(const struct net_switch *sw, const struct packet *packet)
{
	return packet->kind == PACKET_ARP ||
	       (packet->kind == PACKET_IPV6 && packet->protocol == IPPROTO_ICMPV6 &&
		packet->first && packet->icmp_type >= PACKET_ND_RS &&
		packet->icmp_type <= PACKET_ND_NA) ||
	       memcmp(packet_destination(packet), sw->config->gateway_mac, ETH_ALEN) == 0;
}

/* The port a frame goes to; NULL when it has been dealt with. */
static struct port *route(struct port *from, const uint8_t *frame, size_t size)
{
	struct net_switch *sw = from->sw;
	struct packet packet;
	struct port *to;

	if (packet_parse(frame, size, &packet) < 0 || !guard_source(&from->binding, &packet) ||
	    (from->tap && !sw->tap_passes(sw->ctx, true, &packet))) {
		from->counters.refused++;
		return NULL;
	}
	from->counters.sent_bytes += size;
	from->counters.sent_frames++;
	if (is_for_gateway(sw, &packet)) {
		sw->to_gateway(sw->ctx, from, &packet);
		return NULL;
	}
	if (packet_destination(&packet)[0] & 1) {
		flood(from, frame, size);
		return NULL;
	}
	to = switch_find_mac(sw, packet_destination(&packet));
	if (to && to->tap && !sw->tap_passes(sw->ctx, false, &packet)) {
		from->counters.refused++;
		return NULL;
	}
	return to == from ? NULL : to;
}

static void forward(struct port *from, size_t count)
{
	struct net_switch *sw = from->sw;
	struct port *run_to = NULL;
	size_t run_first = 0;

	for (size_t i = 0; i < count; i++) {
		struct port *to = route(from, sw->iovs[i].iov_base, sw->iovs[i].iov_len);

		if (to == run_to)
			continue;
		if (run_to)
			send_run(run_to, sw, run_first, i - run_first);
		run_to = to;
		run_first = i;
	}
	if (run_to)
		send_run(run_to, sw, run_first, count - run_first);
}

/* Reads up to a batch into the buffers: how many, 0 at the end, or negative errno. */
static int read_batch(struct port *port)
{
	struct net_switch *sw = port->sw;
	int n;

	for (size_t i = 0; i < BATCH; i++)
		sw->iovs[i].iov_len = FRAME_ROOM;
	if (port->tap) {
		for (n = 0; n < BATCH; n++) {
			ssize_t size = read(port->fd, sw->iovs[n].iov_base, FRAME_ROOM);

			if (size <= 0)
				break;
			sw->iovs[n].iov_len = (size_t)size;
		}
		return n ? n : errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
	}
	n = recvmmsg(port->fd, sw->messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return would_block() ? -EAGAIN : 0;
	for (int i = 0; i < n; i++) {
		sw->iovs[i].iov_len = sw->messages[i].msg_len;
		if (sw->messages[i].msg_len == 0)
			return i; /* the end */
	}
	return n;
}

static void on_port(void *ctx, int fd, uint32_t events)
{
	struct port *port = ctx;
	int n;

	if (events & EPOLLOUT)
		drain(port);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = read_batch(port);
	if (n > 0)
		forward(port, (size_t)n);
	else if (n == 0) /* the machine is gone; the port goes with its member */
		port->source = loop_remove(port->source);
}

struct net_switch *switch_new(struct loop *loop, const struct net_config *config,
			      switch_gateway_fn to_gateway, switch_tap_fn tap_passes,
			      switch_ready_fn ready, void *ctx)
{
	struct net_switch *sw = xcalloc(1, sizeof(*sw));

	*sw = (struct net_switch){ .loop = loop,
				   .config = config,
				   .to_gateway = to_gateway,
				   .tap_passes = tap_passes,
				   .ready = ready,
				   .ctx = ctx };
	/* Mapped, not allocated: the pages of frames that never come are never there. */
	sw->buffers = mmap(NULL, (size_t)BATCH * FRAME_ROOM, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sw->buffers == MAP_FAILED)
		abort();
	for (size_t i = 0; i < BATCH; i++) {
		sw->iovs[i].iov_base = sw->buffers + i * FRAME_ROOM;
		sw->messages[i].msg_hdr =
			(struct msghdr){ .msg_iov = &sw->iovs[i], .msg_iovlen = 1 };
	}
	return sw;
}

struct net_switch *switch_free(struct net_switch *sw)
{
	if (!sw)
		return NULL;
	while (sw->count)
		switch_remove(sw->ports[sw->count - 1]);
	munmap(sw->buffers, (size_t)BATCH * FRAME_ROOM);
	free(sw);
	return NULL;
}

static int check_free(const struct net_switch *sw, const struct binding *binding, struct err *err)
{
	if (sw->count == SWITCH_PORTS_MAX)
		return err_set(err, -ENOSPC, "the network has %d members already",
			       SWITCH_PORTS_MAX);
	if (switch_find_mac(sw, binding->mac))
		return err_set(err, -EADDRINUSE, "another member has the same MAC address");
	if (switch_find4(sw, binding->ipv4) || (binding->has6 && switch_find6(sw, &binding->ipv6)))
		return err_set(err, -EADDRINUSE, "another member has the same address");
	return 0;
}

int switch_add(struct net_switch *sw, int fd, bool tap, const struct binding *binding,
	       struct port **ret_port, struct err *err)
{
	struct port *port;
	int r = check_free(sw, binding, err);

	if (r < 0)
		return r;
	port = xcalloc(1, sizeof(*port));
	*port = (struct port){ .sw = sw, .fd = fd, .tap = tap, .binding = *binding };
	r = ring_init(&port->ring, RING_SIZE);
	if (r < 0) {
		free(port);
		return err_set(err, r, "cannot make room for frames: %m");
	}
	quota_init(&port->quota);
	port->source = loop_add_fd(sw->loop, fd, EPOLLIN, on_port, port);
	sw->ports[sw->count++] = port;
	index_ports(sw);
	*ret_port = port;
	return 0;
}

struct port *switch_remove(struct port *port)
{
	struct net_switch *sw;

	if (!port)
		return NULL;
	sw = port->sw;
	for (size_t i = 0; i < sw->count; i++)
		if (sw->ports[i] == port) {
			sw->ports[i] = sw->ports[--sw->count];
			break;
		}
	index_ports(sw);
	loop_remove(port->source);
	ring_release(&port->ring);
	quota_release(&port->quota);
	close(port->fd);
	free(port);
	return NULL;
}
