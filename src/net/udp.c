/* SPDX-License-Identifier: Apache-2.0 */
#include "net/udp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"

#define CLIENTS_MAX 256
#define BUCKETS 128
#define BATCH 32
#define MAPPED_PORT 1024 /* of the gateway, for the first client of slot 0 */
#define NONE UINT16_MAX

static_assert(MAPPED_PORT + UDP_SLOTS * CLIENTS_MAX <= 65536, "a port for every client");

/* What the client sent its datagram to, so that the answer comes from there. */
union local {
	struct in_pktinfo v4;
	struct in6_pktinfo v6;
};

struct client {
	union endpoint endpoint;
	union local local;
	struct in_addr seen_address; /* by the member */
	uint16_t seen_port;
	uint16_t next_by_endpoint, next_by_seen; /* in their buckets */
	uint64_t used;                           /* when, in datagrams */
};

struct udp_port {
	struct netd *netd;   /* borrowed */
	struct port *member; /* borrowed */
	uint16_t container_port, slot;
	bool v6;
	int fd; /* owned */
	struct loop_source *source;
	struct client clients[CLIENTS_MAX];
	uint16_t client_count;
	uint16_t by_endpoint[BUCKETS], by_seen[BUCKETS];
	uint64_t datagrams;
	uint16_t fragmented; /* numbers those that were */
};

#define DATAGRAM_MAX 65507 /* of IPv4 */

static uint8_t frame[PACKET_UDP_HEADERS4 + DATAGRAM_MAX]; /* that is being made */

static bool same_endpoint(const union endpoint *a, const union endpoint *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
	       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
}

static size_t bucket_of_endpoint(const union endpoint *endpoint)
{
	uint16_t port = endpoint_port(endpoint);
	uint64_t hash = hash_fnv1a(HASH_FNV_INIT, &port, sizeof(port));

	if (endpoint->any.sa_family == AF_INET)
		hash = hash_fnv1a(hash, &endpoint->v4.sin_addr, 4);
	else
		hash = hash_fnv1a(hash, &endpoint->v6.sin6_addr, 16);
	return hash % BUCKETS;
}

static size_t bucket_of_seen(struct in_addr address, uint16_t port)
{
	return hash_fnv1a(hash_fnv1a(HASH_FNV_INIT, &port, sizeof(port)), &address, 4) % BUCKETS;
}

static struct client *find_client(struct udp_port *udp, const union endpoint *endpoint)
{
	uint16_t i = udp->by_endpoint[bucket_of_endpoint(endpoint)];

	while (i != NONE && !same_endpoint(&udp->clients[i].endpoint, endpoint))
		i = udp->clients[i].next_by_endpoint;
	return i == NONE ? NULL : &udp->clients[i];
}

static struct client *find_seen(struct udp_port *udp, struct in_addr address, uint16_t port)
{
	uint16_t i = udp->by_seen[bucket_of_seen(address, port)];

	while (i != NONE && (udp->clients[i].seen_port != port ||
			     udp->clients[i].seen_address.s_addr != address.s_addr))
		i = udp->clients[i].next_by_seen;
	return i == NONE ? NULL : &udp->clients[i];
}

static void unlink_client(struct udp_port *udp, uint16_t index)
{
	const struct client *client = &udp->clients[index];
	uint16_t *link = &udp->by_endpoint[bucket_of_endpoint(&client->endpoint)];

	while (*link != index)
		link = &udp->clients[*link].next_by_endpoint;
	*link = client->next_by_endpoint;
	link = &udp->by_seen[bucket_of_seen(client->seen_address, client->seen_port)];
	while (*link != index)
		link = &udp->clients[*link].next_by_seen;
	*link = client->next_by_seen;
}

static uint16_t take_place(struct udp_port *udp)
{
	uint16_t oldest = 0;

	if (udp->client_count < CLIENTS_MAX)
		return udp->client_count++;
	for (uint16_t i = 1; i < CLIENTS_MAX; i++)
		if (udp->clients[i].used < udp->clients[oldest].used)
			oldest = i;
	unlink_client(udp, oldest);
	return oldest;
}

/* Addresses that mean another thing to the member than to the host. */
static bool must_map(const struct net_config *config, const union endpoint *endpoint)
{
	uint32_t address = ntohl(endpoint->v4.sin_addr.s_addr);

	return endpoint->any.sa_family != AF_INET || address >> 24 == 127 || address >> 24 == 0 ||
	       config_in_subnet(config, endpoint->v4.sin_addr);
}

static struct client *add_client(struct udp_port *udp, const union endpoint *endpoint)
{
	const struct net_config *config = &udp->netd->config;
	uint16_t index = take_place(udp);
	struct client *client = &udp->clients[index];
	uint16_t *by_endpoint = &udp->by_endpoint[bucket_of_endpoint(endpoint)];
	uint16_t *by_seen;

	*client = (struct client){ .endpoint = *endpoint, .next_by_endpoint = *by_endpoint };
	*by_endpoint = index;
	if (must_map(config, endpoint)) {
		client->seen_address = config->gateway;
		client->seen_port = (uint16_t)(MAPPED_PORT + udp->slot * CLIENTS_MAX + index);
	} else {
		client->seen_address = endpoint->v4.sin_addr;
		client->seen_port = endpoint_port(endpoint);
	}
	by_seen = &udp->by_seen[bucket_of_seen(client->seen_address, client->seen_port)];
	client->next_by_seen = *by_seen;
	*by_seen = index;
	return client;
}

static void read_local(const struct udp_port *udp, struct msghdr *message, union local *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (!udp->v6 && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			memcpy(&ret->v4, CMSG_DATA(c), sizeof(ret->v4));
		if (udp->v6 && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			memcpy(&ret->v6, CMSG_DATA(c), sizeof(ret->v6));
	}
}

/* The frame to the member, in fragments if it is longer than the network has them (RFC 791, 3.2). A
 * fragment's headers are written over the end of the one before, which has gone. */
static void send_frame(struct udp_port *udp, size_t size)
{
	const size_t headers = ETH_HLEN + 20;
	size_t most = (udp->netd->config.mtu - 20u) & ~7u; /* bytes of a fragment */
	size_t data = size - headers;
	uint8_t saved[ETH_HLEN + 20];

	if (size - ETH_HLEN <= udp->netd->config.mtu) {
		port_send(udp->member, frame, size);
		return;
	}
	udp->fragmented++;
	memcpy(saved, frame, headers);
	for (size_t offset = 0; offset < data; offset += most) {
		bool last = data - offset <= most;
		size_t part = last ? data - offset : most;
		uint8_t *ip = frame + offset + ETH_HLEN;

		memcpy(frame + offset, saved, headers);
		packet_put16(ip + 2, (uint16_t)(20 + part));
		packet_put16(ip + 4, udp->fragmented);
		packet_put16(ip + 6, (uint16_t)((last ? 0 : 0x2000) | offset / 8));
		packet_set_checksum4(ip);
		port_send(udp->member, frame + offset, headers + part);
	}
}

/* One datagram of a client to the member; false when there is none. */
static bool receive(struct udp_port *udp)
{
	const struct net_config *config = &udp->netd->config;
	const struct binding *binding = port_binding(udp->member);
	union endpoint from = { 0 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
	struct iovec iov = { frame + PACKET_UDP_HEADERS4, DATAGRAM_MAX };
	struct msghdr message = { .msg_name = &from,
				  .msg_namelen = sizeof(from),
				  .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t n;
	struct client *client;

	n = recvmsg(udp->fd, &message, MSG_DONTWAIT);
	if (n < 0)
		return errno != EAGAIN; /* the error of an earlier answer: not ours */
	if (message.msg_flags & MSG_TRUNC)
		return true; /* a jumbogram: nothing that IPv4 has */
	client = find_client(udp, &from);
	if (!client)
		client = add_client(udp, &from);
	client->used = ++udp->datagrams;
	read_local(udp, &message, &client->local);
	send_frame(udp, packet_make_udp4(frame, config->gateway_mac, binding->mac,
					 client->seen_address, binding->ipv4, client->seen_port,
					 udp->container_port, (size_t)n));
	return true;
}

static void on_socket(void *ctx, int fd, uint32_t events)
{
	struct udp_port *udp = ctx;

	for (int i = 0; i < BATCH && receive(udp); i++)
		;
}

/* The answer comes from the address that was asked. */
static size_t write_local(const struct udp_port *udp, const struct client *client, void *control)
{
	struct cmsghdr *header = control;

	if (udp->v6) {
		struct in6_pktinfo info = client->local.v6;

		*header = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6,
					    .cmsg_type = IPV6_PKTINFO,
					    .cmsg_len = CMSG_LEN(sizeof(info)) };
		memcpy(CMSG_DATA(header), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	struct in_pktinfo info = { .ipi_spec_dst = client->local.v4.ipi_spec_dst };

	*header = (struct cmsghdr){ .cmsg_level = IPPROTO_IP,
				    .cmsg_type = IP_PKTINFO,
				    .cmsg_len = CMSG_LEN(sizeof(info)) };
	memcpy(CMSG_DATA(header), &info, sizeof(info));
	return CMSG_SPACE(sizeof(info));
}

uint16_t udp_slot(const struct udp_port *udp, const struct port *member, uint16_t container_port)
{
	return udp->member == member && udp->container_port == container_port ? udp->slot
									      : UDP_SLOTS;
}

bool udp_reply(struct udp_port *udp, const struct packet *packet)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control = { 0 };
	struct client *client;

	if (packet->kind != PACKET_IPV4 || packet->protocol != IPPROTO_UDP || packet->fragment ||
	    packet->source_port != udp->container_port)
		return false;
	client = find_seen(udp, packet->destination4, packet->destination_port);
	if (!client)
		return false;
	struct iovec iov = { (uint8_t *)packet->frame + packet->payload,
			     packet_get16(packet->frame + packet->transport + 4) - 8u };
	struct msghdr message = { .msg_name = &client->endpoint,
				  .msg_namelen = endpoint_size(&client->endpoint),
				  .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = write_local(udp, client, &control) };

	client->used = ++udp->datagrams;
	sendmsg(udp->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

int udp_open(struct netd *netd, struct port *member, uint16_t container_port, uint16_t slot,
	     union endpoint *listen, struct udp_port **ret_udp, struct err *err)
{
	AUTO_CLOSE int fd =
		socket(listen->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool v6 = listen->any.sa_family == AF_INET6;
	struct udp_port *udp;
	socklen_t size = sizeof(*listen);
	int yes = 1;

	if (fd < 0 || (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0) ||
	    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &yes,
		       sizeof(yes)) < 0 ||
	    bind(fd, &listen->any, endpoint_size(listen)) < 0 ||
	    getsockname(fd, &listen->any, &size) < 0)
		return err_set(err, -errno, "cannot listen: %m");
	udp = xcalloc(1, sizeof(*udp));
	udp->netd = netd;
	udp->member = member;
	udp->container_port = container_port;
	udp->slot = slot;
	udp->v6 = v6;
	udp->fd = TAKE_FD(fd);
	memset(udp->by_endpoint, 0xff, sizeof(udp->by_endpoint));
	memset(udp->by_seen, 0xff, sizeof(udp->by_seen));
	udp->source = loop_add_fd(netd->loop, udp->fd, EPOLLIN, on_socket, udp);
	*ret_udp = udp;
	return 0;
}

struct udp_port *udp_close(struct udp_port *udp)
{
	if (!udp)
		return NULL;
	loop_remove(udp->source);
	close(udp->fd);
	free(udp);
	return NULL;
}
