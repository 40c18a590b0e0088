/* SPDX-License-Identifier: Apache-2.0 */
#include "net/publish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sock.h"
#include "base/vec.h"
#include "net/tcp.h"
#include "net/udp.h"

#define ANY_PORT_FIRST 10000
#define BACKLOG 128
#define ACCEPT_BATCH 64

struct published {
	struct publisher *publisher; /* borrowed */
	struct port *member;         /* borrowed */
	struct udp_port *udp;        /* owned; NULL for TCP */
	uint16_t container_port;
	int fd; /* owned: listens for TCP; -1: none */
	struct loop_source *source;
};

struct publisher {
	struct netd *netd;            /* borrowed */
	VEC(struct published *) list; /* owned */
};

static struct published *published_free(struct published *published)
{
	udp_close(published->udp);
	loop_remove(published->source);
	if (published->fd >= 0)
		close(published->fd);
	free(published);
	return NULL;
}
DEFINE_CLEANUP(struct published *, published_free)

static void on_accept(void *ctx, int fd, uint32_t events)
{
	struct published *published = ctx;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int client = sock_accept_any(fd, SOCK_NONBLOCK);
		union endpoint address = { 0 };
		socklen_t size = sizeof(address);

		if (client == -EAGAIN)
			return;
		if (client < 0)
			continue;
		if (getpeername(client, &address.any, &size) < 0)
			close(client); /* it has gone */
		else
			tcp_stack_serve(published->publisher->netd->tcp, published->member,
					published->container_port, client, &address);
	}
}

static int open_tcp(struct published *published, uint16_t container_port, union endpoint *listen_at,
		    struct err *err)
{
	bool v6 = listen_at->any.sa_family == AF_INET6;
	AUTO_CLOSE int fd =
		socket(listen_at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(*listen_at);
	int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0) ||
	    bind(fd, &listen_at->any, endpoint_size(listen_at)) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, &listen_at->any, &size) < 0)
		return err_set(err, -errno, "cannot listen: %m");
	published->container_port = container_port;
	published->fd = TAKE_FD(fd);
	published->source = loop_add_fd(published->publisher->netd->loop, published->fd, EPOLLIN,
					on_accept, published);
	return 0;
}

static int open_udp(struct published *published, uint16_t container_port, union endpoint *listen_at,
		    struct err *err)
{
	struct publisher *publisher = published->publisher;
	bool taken[UDP_SLOTS + 1] = { false };
	uint16_t slot = 0;

	VEC_EACH (&publisher->list, it)
		if ((*it)->udp)
			taken[udp_slot((*it)->udp, published->member, container_port)] = true;
	while (slot < UDP_SLOTS && taken[slot])
		slot++;
	if (slot == UDP_SLOTS)
		return err_set(err, -ENOSPC, "too many ports for one port of a container");
	return udp_open(publisher->netd, published->member, container_port, slot, listen_at,
			&published->udp, err);
}

/* One port at exactly *listen_at, whose port 0 becomes a real one. */
static int open_at(struct publisher *publisher, struct port *member, const struct rule *rule,
		   uint16_t container_port, union endpoint *listen_at, struct err *err)
{
	CLEANUP(published_freep) struct published *published = xcalloc(1, sizeof(*published));
	int r;

	published->publisher = publisher;
	published->member = member;
	published->fd = -1;
	if (rule->protocol == NET_UDP)
		r = open_udp(published, container_port, listen_at, err);
	else
		r = open_tcp(published, container_port, listen_at, err);
	if (r < 0)
		return r;
	VEC_PUSH(&publisher->list, published);
	published = NULL;
	return 0;
}

static int explain(const union endpoint *listen_at, int code, struct err *err)
{
	char address[INET6_ADDRSTRLEN] = "";
	uint16_t port = endpoint_port(listen_at);

	if (code == -EACCES)
		return err_set(err, code, "Permission denied while binding to host port %u", port);
	if (code == -EADDRINUSE)
		return err_set(err, code, "host port %u is in use", port);
	if (listen_at->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &listen_at->v4.sin_addr, address, sizeof(address));
	else
		inet_ntop(AF_INET6, &listen_at->v6.sin6_addr, address, sizeof(address));
	return err_set(err, code, "cannot publish host port %u on '%s': %m", port, address);
}

static bool unavailable(int code)
{
	return code == -EADDRINUSE || code == -EACCES;
}

/* Port `offset` of a rule's range. */
static int open_one(struct publisher *publisher, struct port *member, const struct rule *rule,
		    uint16_t offset, uint16_t *ret_port, struct err *err)
{
	uint16_t wished = endpoint_port(&rule->listen);
	uint16_t container_port = (uint16_t)(rule->container_port + offset);
	union endpoint at = rule->listen;
	int r;

	endpoint_set_port(&at, (uint16_t)(wished + offset));
	r = open_at(publisher, member, rule, container_port, &at, NULL);
	for (uint32_t port = ANY_PORT_FIRST; rule->any_port && unavailable(r) && port < 65536;
	     port++) {
		endpoint_set_port(&at, (uint16_t)port);
		r = open_at(publisher, member, rule, container_port, &at, NULL);
	}
	if (r < 0)
		return explain(&at, r, err);
	*ret_port = endpoint_port(&at);
	return 0;
}

/* Those from number `first` on. */
static void shorten(struct publisher *publisher, size_t first)
{
	while (publisher->list.count > first)
		published_free(publisher->list.items[--publisher->list.count]);
}

int publisher_add(struct publisher *publisher, struct port *member, const struct rule *rules,
		  size_t count, uint16_t *ret_ports, struct err *err)
{
	size_t before = publisher->list.count;

	if (publisher->netd->config.internal)
		return err_set(err, -ENOTSUP, "the network '%s' is internal: it publishes no ports",
			       publisher->netd->config.name);
	for (size_t i = 0; i < count; i++)
		for (uint16_t offset = 0; offset < rules[i].count; offset++) {
			uint16_t port = 0;
			int r = publisher->list.count - before >= NET_PUBLISH_MAX
					? err_set(err, -E2BIG, "more than %d ports to publish",
						  NET_PUBLISH_MAX)
					: open_one(publisher, member, &rules[i], offset, &port,
						   err);

			if (r < 0) {
				shorten(publisher, before);
				return r;
			}
			if (offset == 0)
				ret_ports[i] = port;
		}
	return 0;
}

void publisher_remove(struct publisher *publisher, const struct port *member)
{
	for (size_t i = publisher->list.count; i-- > 0;) {
		struct published *published = publisher->list.items[i];

		if (published->member != member)
			continue;
		VEC_REMOVE(&publisher->list, i);
		published_free(published);
	}
}

bool publisher_has_udp(const struct publisher *publisher, const struct port *member)
{
	VEC_EACH (&publisher->list, it)
		if ((*it)->member == member && (*it)->udp)
			return true;
	return false;
}

bool publisher_reply(struct publisher *publisher, const struct port *member,
		     const struct packet *packet)
{
	if (packet->protocol != IPPROTO_UDP)
		return false;
	VEC_EACH (&publisher->list, it)
		if ((*it)->member == member && (*it)->udp && udp_reply((*it)->udp, packet))
			return true;
	return false;
}

struct publisher *publisher_new(struct netd *netd)
{
	struct publisher *publisher = xcalloc(1, sizeof(*publisher));

	publisher->netd = netd;
	return publisher;
}

struct publisher *publisher_free(struct publisher *publisher)
{
	if (!publisher)
		return NULL;
	shorten(publisher, 0);
	VEC_FREE(&publisher->list);
	free(publisher);
	return NULL;
}
