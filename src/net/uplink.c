/* SPDX-License-Identifier: Apache-2.0 */
#include "net/uplink.h"

#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/gateway.h"
#include "net/guard.h"
#include "net/quota.h"

#define READY_BATCH 64
#define QUESTIONS_MAX 64 /* of libslirp between two turns; more are asked again */
#define SOCKETS_MAX 16384

/* What is known of a descriptor of libslirp's, by its number. */
struct watched {
	uint32_t events;     /* registered in the epoll set; 0: not there */
	uint32_t generation; /* of the last fill that wanted it */
	int slot;            /* of that fill */
};

struct slot {
	int fd;
	uint32_t ready; /* epoll events */
};

struct question {
	bool v6;
	struct in_addr address4;
	struct in6_addr address6;
};

struct uplink {
	struct netd *netd; /* borrowed */
	Slirp *slirp;      /* owned */
	int epoll_fd;      /* owned */
	struct loop_source *ready, *timer;
	uint64_t armed_ms; /* when the timer fires; 0: never */
	bool touched;      /* since the last fill */
	uint32_t generation;
	struct watched *watched; /* owned; watched_count of them */
	size_t watched_count;
	struct slot *slots, *old_slots; /* owned; slot_capacity each */
	size_t slot_count, old_slot_count, slot_capacity;
	size_t sockets_max; /* that it may have, about */
	struct question questions[QUESTIONS_MAX];
	size_t question_count;
	uint8_t frame[PACKET_UDP_HEADERS6 + 128]; /* that is being made */
};

static void ask(struct uplink *uplink, struct question question)
{
	if (uplink->question_count < QUESTIONS_MAX)
		uplink->questions[uplink->question_count++] = question;
}

/* libslirp sends: a question for a MAC address, or a packet to a member. */
static ssize_t on_send(const void *data, size_t size, void *ctx)
{
	struct uplink *uplink = ctx;
	struct packet packet;
	struct port *port;

	if (packet_parse(data, size, &packet) < 0)
		return (ssize_t)size;
	if (packet.kind == PACKET_ARP) {
		if (packet.arp_operation == 1)
			ask(uplink, (struct question){ .address4 = packet.arp_target });
		return (ssize_t)size;
	}
	if (packet.kind == PACKET_IPV6 && packet.protocol == IPPROTO_ICMPV6 && packet.first &&
	    packet.icmp_type >= PACKET_ND_RS && packet.icmp_type <= PACKET_ND_REDIRECT) {
		if (packet.icmp_type == PACKET_ND_NS)
			ask(uplink, (struct question){ .v6 = true, .address6 = packet.nd_target });
		return (ssize_t)size; /* members are configured, they need no advertisement */
	}
	port = switch_find_mac(uplink->netd->sw, packet_destination(&packet));
	if (port)
		port_send(port, data, size);
	return (ssize_t)size;
}

static void on_guest_error(const char *message, void *ctx)
{
	log_debug("uplink: %s", message);
}

static int64_t on_clock(void *ctx)
{
	return (int64_t)clock_monotonic_ns();
}

/* Its one timer is for router advertisements. */
static void *on_timer_new(SlirpTimerId id, void *cb_opaque, void *ctx)
{
	return ctx;
}

static void on_timer_free(void *timer, void *ctx)
{
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *ctx)
{
}

/* A descriptor that it opened or is about to close: nothing that was known of the number holds. */
static void on_forget_fd(int fd, void *ctx)
{
	struct uplink *uplink = ctx;

	uplink->touched = true;
	if ((size_t)fd >= uplink->watched_count || !uplink->watched[fd].events)
		return;
	epoll_ctl(uplink->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	uplink->watched[fd].events = 0;
}

static void on_notify(void *ctx)
{
	struct uplink *uplink = ctx;

	uplink->touched = true;
}

static void on_init_completed(Slirp *slirp, void *ctx)
{
}

static const SlirpCb callbacks = {
	.send_packet = on_send,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new_opaque = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_forget_fd,
	.unregister_poll_fd = on_forget_fd,
	.notify = on_notify,
	.init_completed = on_init_completed,
};

static uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
	       (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u) |
	       EPOLLERR; /* always told; makes the set of a watched one never empty */
}

static int from_epoll(uint32_t events)
{
	return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static struct watched *watched_of(struct uplink *uplink, int fd)
{
	size_t wanted = uplink->watched_count ? uplink->watched_count : 64;

	while ((size_t)fd >= wanted)
		wanted *= 2;
	if (wanted != uplink->watched_count) {
		uplink->watched = xrealloc(uplink->watched, wanted, sizeof(*uplink->watched));
		memset(uplink->watched + uplink->watched_count, 0,
		       (wanted - uplink->watched_count) * sizeof(*uplink->watched));
		uplink->watched_count = wanted;
	}
	return &uplink->watched[fd];
}

static void watch(struct uplink *uplink, struct watched *watched, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };
	int operation = watched->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (watched->events == events)
		return;
	if (epoll_ctl(uplink->epoll_fd, operation, fd, &event) < 0)
		epoll_ctl(uplink->epoll_fd,
			  operation == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
	watched->events = events;
}

static int on_add_poll(int fd, int events, void *ctx)
{
	struct uplink *uplink = ctx;
	struct watched *watched = watched_of(uplink, fd);

	if (uplink->slot_count == uplink->slot_capacity) {
		uplink->slot_capacity = uplink->slot_capacity ? 2 * uplink->slot_capacity : 64;
		uplink->slots =
			xrealloc(uplink->slots, uplink->slot_capacity, sizeof(*uplink->slots));
		uplink->old_slots = xrealloc(uplink->old_slots, uplink->slot_capacity,
					     sizeof(*uplink->old_slots));
	}
	watched->generation = uplink->generation;
	watched->slot = (int)uplink->slot_count;
	watch(uplink, watched, fd, to_epoll(events));
	uplink->slots[uplink->slot_count] = (struct slot){ .fd = fd };
	return (int)uplink->slot_count++;
}

/* What the last fill wanted and this one does not. */
static void unwatch_old(struct uplink *uplink)
{
	for (size_t i = 0; i < uplink->old_slot_count; i++) {
		int fd = uplink->old_slots[i].fd;
		struct watched *watched = &uplink->watched[fd];

		if (watched->generation == uplink->generation || !watched->events)
			continue;
		epoll_ctl(uplink->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		watched->events = 0;
	}
}

/* The timer fires when libslirp wants to be called, or earlier. */
static void arm(struct uplink *uplink, uint32_t timeout_ms)
{
	uint64_t now = clock_monotonic_ms();

	if (timeout_ms == UINT32_MAX || (uplink->armed_ms && uplink->armed_ms <= now + timeout_ms))
		return;
	uplink->armed_ms = now + timeout_ms;
	loop_arm(uplink->timer, timeout_ms);
}

static void fill(struct uplink *uplink)
{
	struct slot *slots = uplink->old_slots;
	uint32_t timeout_ms = UINT32_MAX;

	uplink->touched = false;
	uplink->old_slots = uplink->slots;
	uplink->old_slot_count = uplink->slot_count;
	uplink->slots = slots;
	uplink->slot_count = 0;
	uplink->generation++;
	slirp_pollfds_fill(uplink->slirp, &timeout_ms, on_add_poll, uplink);
	unwatch_old(uplink);
	arm(uplink, timeout_ms);
}

static int on_get_revents(int slot, void *ctx)
{
	struct uplink *uplink = ctx;
	uint32_t ready;

	if (slot < 0 || (size_t)slot >= uplink->slot_count)
		return 0;
	ready = uplink->slots[slot].ready;
	uplink->slots[slot].ready = 0;
	return from_epoll(ready);
}

static void tell_ready(struct uplink *uplink)
{
	uplink->touched = true;
	slirp_pollfds_poll(uplink->slirp, 0, on_get_revents, uplink);
}

static void on_ready(void *ctx, int fd, uint32_t events)
{
	struct uplink *uplink = ctx;
	struct epoll_event ready[READY_BATCH];
	int n = epoll_wait(uplink->epoll_fd, ready, READY_BATCH, 0);

	for (int i = 0; i < n; i++) {
		const struct watched *watched = &uplink->watched[ready[i].data.fd];

		if (watched->events && watched->generation == uplink->generation)
			uplink->slots[watched->slot].ready = ready[i].events;
	}
	tell_ready(uplink);
}

static void on_timer(void *ctx)
{
	struct uplink *uplink = ctx;

	uplink->armed_ms = 0;
	tell_ready(uplink);
}

static void answer4(struct uplink *uplink, struct in_addr address)
{
	const struct net_config *config = &uplink->netd->config;
	const uint8_t *mac = gateway_mac_of4(uplink->netd, address);
	size_t size;

	if (!mac)
		return;
	size = packet_make_arp(uplink->frame, mac, address, config->gateway_mac, config->gateway);
	slirp_input(uplink->slirp, uplink->frame, (int)size);
}

static void answer6(struct uplink *uplink, const struct in6_addr *address)
{
	const struct net_config *config = &uplink->netd->config;
	const uint8_t *mac = gateway_mac_of6(uplink->netd, address);
	size_t size;

	if (!mac || !config->has6)
		return;
	size = packet_make_na(uplink->frame, mac, address, config->gateway_mac, &config->gateway6);
	slirp_input(uplink->slirp, uplink->frame, (int)size);
}

/* What waits for the answers goes out when libslirp is called the next time. */
static void answer_questions(struct uplink *uplink)
{
	struct question questions[QUESTIONS_MAX];
	size_t count = uplink->question_count;

	if (count == 0)
		return;
	memcpy(questions, uplink->questions, count * sizeof(questions[0]));
	uplink->question_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (questions[i].v6)
			answer6(uplink, &questions[i].address6);
		else
			answer4(uplink, questions[i].address4);
	}
	tell_ready(uplink);
}

void uplink_sync(struct uplink *uplink)
{
	if (!uplink)
		return;
	answer_questions(uplink);
	if (uplink->touched)
		fill(uplink);
}

void uplink_introduce(struct uplink *uplink, const struct binding *binding)
{
	if (!uplink)
		return;
	answer4(uplink, binding->ipv4);
	if (binding->has6)
		answer6(uplink, &binding->ipv6);
}

void uplink_input(struct uplink *uplink, struct port *from, const struct packet *packet)
{
	if (!port_may_open(from, packet, uplink->slot_count, uplink->sockets_max)) {
		port_refuse(from); /* it tries again */
		return;
	}
	uplink->touched = true;
	slirp_input(uplink->slirp, packet->frame, (int)packet->size);
}

static SlirpConfig slirp_config(const struct net_config *config)
{
	return (SlirpConfig){
		.version = 4,
		.in_enabled = true,
		.vnetwork = config->subnet,
		.vnetmask = config->mask,
		.vhost = config->gateway,
		.vnameserver = config->host, /* unused, but must be somebody */
		.in6_enabled = config->has6,
		.vprefix_addr6 = config->subnet6,
		.vprefix_len = config->prefix6,
		.vhost6 = config->gateway6,
		.vnameserver6 = config->host6,
		.if_mtu = config->mtu,
		.if_mru = config->mtu,
		.disable_host_loopback = config->host_port_count == 0,
		.disable_dns = true,
		.disable_dhcp = true,
	};
}

struct uplink *uplink_new(struct netd *netd, struct err *err)
{
	SlirpConfig config = slirp_config(&netd->config);
	struct uplink *uplink = xcalloc(1, sizeof(*uplink));

	uplink->netd = netd;
	/* TCP may have half (net/tcp.c); the rest is for published ports, for questions to
	 * resolvers, and for members. */
	uplink->sockets_max = quota_sockets(4, SOCKETS_MAX);
	uplink->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (uplink->epoll_fd < 0)
		abort();
	uplink->ready = loop_add_fd(netd->loop, uplink->epoll_fd, EPOLLIN, on_ready, uplink);
	uplink->timer = loop_add_timer(netd->loop, on_timer, uplink);
	uplink->slirp = slirp_new(&config, &callbacks, uplink);
	if (!uplink->slirp) {
		uplink_free(uplink);
		err_set(err, -EINVAL, "libslirp refuses the network");
		return NULL;
	}
	return uplink;
}

struct uplink *uplink_free(struct uplink *uplink)
{
	if (!uplink)
		return NULL;
	if (uplink->slirp)
		slirp_cleanup(uplink->slirp);
	loop_remove(uplink->ready);
	loop_remove(uplink->timer);
	close(uplink->epoll_fd);
	free(uplink->watched);
	free(uplink->slots);
	free(uplink->old_slots);
	free(uplink);
	return NULL;
}
