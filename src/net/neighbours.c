/* SPDX-License-Identifier: Apache-2.0 */
#include "net/neighbours.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/tap.h"

#define NETWORKS_MAX 512 /* more TAP devices, twice, than a host has */
#define ANSWER_MAX 32768 /* of one read; the kernel fills no more than that */
#define TIMEOUT_S 2

struct subnet {
	int family;
	uint8_t prefix;
	uint8_t address[16];
};

struct neighbours {
	const struct net_config *config; /* borrowed */
	int events;                      /* owned; tells that links or addresses change */
	int questions;                   /* owned; dumps */
	struct loop_source *source;
	size_t tap_count, count;
	int taps[NETWORKS_MAX]; /* interface indexes */
	struct subnet subnets[NETWORKS_MAX];
	uint8_t answer[ANSWER_MAX];
};

static int open_netlink(uint32_t groups)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	AUTO_CLOSE int fd = socket(
		AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (groups ? SOCK_NONBLOCK : 0), NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* An attribute's data of at least size bytes, or NULL. */
static const void *attribute(const struct nlmsghdr *header, size_t body, uint16_t type, size_t size)
{
	const struct rtattr *it =
		(const void *)((const char *)NLMSG_DATA(header) + NLMSG_ALIGN(body));
	ssize_t left = (ssize_t)header->nlmsg_len - (ssize_t)NLMSG_SPACE(body);

	for (; RTA_OK(it, left); it = RTA_NEXT(it, left))
		if (it->rta_type == type && RTA_PAYLOAD(it) >= size)
			return RTA_DATA(it);
	return NULL;
}

static void on_link(struct neighbours *neighbours, const struct nlmsghdr *header)
{
	const struct ifinfomsg *info = NLMSG_DATA(header);
	const char *name = attribute(header, sizeof(*info), IFLA_IFNAME, 1);

	if (name && str_starts(name, TAP_NAME_PREFIX) && neighbours->tap_count < NETWORKS_MAX)
		neighbours->taps[neighbours->tap_count++] = info->ifi_index;
}

/* The network's own device is no neighbour. */
static bool is_own(const struct net_config *config, int family, const void *address)
{
	struct in_addr address4;
	struct in6_addr address6;

	if (family == AF_INET) {
		memcpy(&address4, address, sizeof(address4));
		return config_in_subnet(config, address4);
	}
	memcpy(&address6, address, sizeof(address6));
	return config->has6 && config_in_subnet6(config, &address6);
}

static void on_address(struct neighbours *neighbours, const struct nlmsghdr *header)
{
	const struct ifaddrmsg *info = NLMSG_DATA(header);
	size_t size = info->ifa_family == AF_INET ? 4 : 16;
	const void *address = attribute(header, sizeof(*info), IFA_ADDRESS, size);
	struct subnet *subnet = &neighbours->subnets[neighbours->count];
	size_t i = 0;

	while (i < neighbours->tap_count && neighbours->taps[i] != (int)info->ifa_index)
		i++;
	if (!address || i == neighbours->tap_count || neighbours->count == NETWORKS_MAX ||
	    info->ifa_scope == RT_SCOPE_LINK ||
	    is_own(neighbours->config, info->ifa_family, address))
		return;
	*subnet = (struct subnet){ .family = info->ifa_family, .prefix = info->ifa_prefixlen };
	memcpy(subnet->address, address, size);
	neighbours->count++;
}

static int dump(struct neighbours *neighbours, uint16_t type,
		void (*fn)(struct neighbours *neighbours, const struct nlmsghdr *header))
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg body;
	} request = { .header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)),
				  .nlmsg_type = type,
				  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };

	if (send(neighbours->questions, &request, sizeof(request), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t size = recv(neighbours->questions, neighbours->answer, ANSWER_MAX, 0);
		const struct nlmsghdr *it = (const void *)neighbours->answer;

		if (size <= 0)
			return size < 0 ? -errno : -EPROTO;
		for (; NLMSG_OK(it, (size_t)size); it = NLMSG_NEXT(it, size)) {
			if (it->nlmsg_type == NLMSG_DONE)
				return 0;
			if (it->nlmsg_type == NLMSG_ERROR)
				return -EPROTO;
			fn(neighbours, it);
		}
	}
}

static int refresh(struct neighbours *neighbours)
{
	int r;

	neighbours->tap_count = neighbours->count = 0;
	r = dump(neighbours, RTM_GETLINK, on_link);
	if (r == 0 && neighbours->tap_count)
		r = dump(neighbours, RTM_GETADDR, on_address);
	return r;
}

/* What it says does not matter, nor what was lost: all is asked for again. */
static void on_event(void *ctx, int fd, uint32_t events)
{
	struct neighbours *neighbours = ctx;
	uint8_t event[8192];
	ssize_t n;

	do
		n = recv(fd, event, sizeof(event), MSG_DONTWAIT);
	while (n > 0 || (n < 0 && (errno == ENOBUFS || errno == EINTR)));
	refresh(neighbours);
}

struct neighbours *neighbours_free(struct neighbours *neighbours)
{
	if (!neighbours)
		return NULL;
	loop_remove(neighbours->source);
	if (neighbours->events >= 0)
		close(neighbours->events);
	if (neighbours->questions >= 0)
		close(neighbours->questions);
	free(neighbours);
	return NULL;
}

struct neighbours *neighbours_new(struct loop *loop, const struct net_config *config,
				  struct err *err)
{
	struct neighbours *neighbours = xcalloc(1, sizeof(*neighbours));
	int r;

	neighbours->config = config;
	/* Listening begins before the first look: nothing is missed in between. */
	neighbours->events = open_netlink(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
	neighbours->questions = open_netlink(0);
	r = neighbours->events < 0      ? neighbours->events
	    : neighbours->questions < 0 ? neighbours->questions
					: refresh(neighbours);
	if (r < 0) {
		err_set(err, r, "cannot ask for the host's networks: %m");
		return neighbours_free(neighbours);
	}
	neighbours->source = loop_add_fd(loop, neighbours->events, EPOLLIN, on_event, neighbours);
	return neighbours;
}

static bool holds(const struct subnet *subnet, int family, const void *address)
{
	const uint8_t *bytes = address;
	size_t whole = subnet->prefix / 8;
	unsigned rest = subnet->prefix % 8;

	return subnet->family == family && memcmp(subnet->address, bytes, whole) == 0 &&
	       (rest == 0 || (subnet->address[whole] ^ bytes[whole]) >> (8 - rest) == 0);
}

bool neighbours_have(const struct neighbours *neighbours, const struct packet *packet)
{
	bool v4 = packet->kind == PACKET_IPV4;
	const void *to =
		v4 ? (const void *)&packet->destination4 : (const void *)&packet->destination6;

	for (size_t i = 0; neighbours && i < neighbours->count; i++)
		if (holds(&neighbours->subnets[i], v4 ? AF_INET : AF_INET6, to))
			return true;
	return false;
}
