/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/dns.h"
#include "net/member.h"
#include "net/resolv_conf.h"

#define RESOLV_CONF_MAX 65536
#define PENDING_MAX 256
#define PENDING_OF_MEMBER 64
#define TRY_MS 1500 /* one resolver, before the next is asked */
#define REPLY_MAX 65535
#define PORT_DNS 53

struct pending {
	struct resolver *resolver;  /* borrowed */
	int fd;                     /* owned; -1: free */
	struct loop_source *source; /* owned */
	struct resolver_asker asker;
	struct resolvers resolvers; /* as they were when it was asked */
	size_t tried;
	uint64_t next_ms; /* when the next one is asked */
	uint8_t id[2];    /* of the question; the relayed one has another */
	uint8_t message[DNS_QUERY_MAX];
	size_t size;
};

struct resolver {
	struct netd *netd; /* borrowed */
	struct pending pending[PENDING_MAX];
	size_t pending_count;
	struct loop_source *timer; /* owned; armed while something is pending */
	struct resolvers hosts;    /* of /etc/resolv.conf */
	struct stat system_stat;
	uint8_t frame[PACKET_FRAME_MAX + PACKET_UDP_HEADERS6]; /* that is being made */
};

static void parse_resolv_conf(struct resolvers *resolvers, char *text)
{
	AUTO_STRV char **lines = str_split(text, '\n', 0);

	*resolvers = (struct resolvers){ 0 };
	STRV_EACH (lines, line) {
		const char *value = str_after(*line, "nameserver");
		char address[128];

		if (!value || resolvers->count == ARRAY_SIZE(resolvers->items) ||
		    sscanf(value, " %127s", address) != 1)
			continue;
		if (endpoint_parse(address, PORT_DNS, &resolvers->items[resolvers->count]) == 0)
			resolvers->count++;
	}
}

/* Reads the file again if it, or what it links to, is another one. */
static const struct resolvers *system_resolvers(struct resolver *resolver)
{
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	const struct stat *old = &resolver->system_stat;
	struct stat st;

	if (stat(RESOLV_CONF, &st) < 0)
		return &resolver->hosts;
	if (st.st_dev == old->st_dev && st.st_ino == old->st_ino && st.st_size == old->st_size &&
	    st.st_mtim.tv_sec == old->st_mtim.tv_sec && st.st_mtim.tv_nsec == old->st_mtim.tv_nsec)
		return &resolver->hosts;
	fd = resolv_conf_open(resolver->netd->resolv_helper);
	if (fd < 0 || fd_read_text(fd, RESOLV_CONF_MAX, &text, NULL) < 0)
		return &resolver->hosts; /* being replaced: the next question looks again */
	parse_resolv_conf(&resolver->hosts, text);
	resolver->system_stat = st;
	return &resolver->hosts;
}

const struct resolvers *resolver_of(struct resolver *resolver, const struct port *port)
{
	const struct resolvers *own =
		port ? members_resolvers(resolver->netd->members, port) : NULL;

	if (own && own->count)
		return own;
	if (resolver->netd->config.resolvers.count)
		return &resolver->netd->config.resolvers;
	return system_resolvers(resolver);
}

void resolver_reply(struct resolver *resolver, const struct resolver_asker *asker,
		    const uint8_t *message, size_t size)
{
	const struct net_config *config = &resolver->netd->config;
	const struct binding *binding = port_binding(asker->port);
	size_t headers = asker->v6 ? PACKET_UDP_HEADERS6 : PACKET_UDP_HEADERS4;
	uint8_t *payload = resolver->frame + headers;
	struct dns_query query;
	size_t frame_size;

	memcpy(payload, message, size);
	if (headers - ETH_HLEN + size > config->mtu) {
		payload[2] &= 0x7f; /* as if it were a query, to find the end of the question */
		size = dns_parse(payload, size, &query) == 0 ? query.question_end : DNS_HEADER_SIZE;
		payload[2] |= 0x82; /* an answer, truncated: TCP has the rest */
		memset(payload + 6, 0, 6);
	}
	if (asker->v6)
		frame_size = packet_make_udp6(resolver->frame, config->gateway_mac, binding->mac,
					      &config->names6, &asker->source6, PORT_DNS,
					      asker->source_port, size);
	else
		frame_size = packet_make_udp4(resolver->frame, config->gateway_mac, binding->mac,
					      config->names, binding->ipv4, PORT_DNS,
					      asker->source_port, size);
	port_send(asker->port, resolver->frame, frame_size);
}

static void pending_close(struct pending *pending)
{
	pending->source = loop_remove(pending->source);
	if (pending->fd >= 0)
		close(pending->fd);
	pending->fd = -1;
}

static void pending_end(struct pending *pending)
{
	struct resolver *resolver = pending->resolver;

	pending_close(pending);
	pending->size = 0;
	if (--resolver->pending_count == 0)
		loop_disarm(resolver->timer);
}

static void on_reply(void *ctx, int fd, uint32_t events);

/* Asks the next resolver that can be asked. Nobody left: a failure, so that the asker need not wait
 * for it. */
static void pending_ask(struct pending *pending)
{
	struct resolver *resolver = pending->resolver;
	uint8_t reply[DNS_UDP_MAX];
	struct dns_query query;

	pending_close(pending);
	while (pending->tried < pending->resolvers.count) {
		const union endpoint *to = &pending->resolvers.items[pending->tried++];

		pending->fd =
			socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (pending->fd >= 0 && connect(pending->fd, &to->any, endpoint_size(to)) == 0 &&
		    send(pending->fd, pending->message, pending->size, MSG_NOSIGNAL) >= 0) {
			pending->source = loop_add_fd(resolver->netd->loop, pending->fd, EPOLLIN,
						      on_reply, pending);
			pending->next_ms = clock_monotonic_ms() + TRY_MS;
			return;
		}
		pending_close(pending);
	}
	memcpy(pending->message, pending->id, sizeof(pending->id));
	if (dns_parse(pending->message, pending->size, &query) == 0)
		resolver_reply(resolver, &pending->asker, reply,
			       dns_build_code(pending->message, &query, DNS_SERVER_FAILURE, reply));
	pending_end(pending);
}

static void on_reply(void *ctx, int fd, uint32_t events)
{
	static uint8_t reply[REPLY_MAX];
	struct pending *pending = ctx;
	ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		pending_ask(pending); /* nobody listens there */
		return;
	}
	if (!dns_answers(reply, (size_t)n, pending->message, pending->size))
		return;
	memcpy(reply, pending->id, sizeof(pending->id));
	resolver_reply(pending->resolver, &pending->asker, reply, (size_t)n);
	pending_end(pending);
}

static void on_timer(void *ctx)
{
	struct resolver *resolver = ctx;
	uint64_t now = clock_monotonic_ms();

	for (size_t i = 0; i < PENDING_MAX; i++)
		if (resolver->pending[i].size && resolver->pending[i].next_ms <= now)
			pending_ask(&resolver->pending[i]);
	if (resolver->pending_count)
		loop_arm(resolver->timer, TRY_MS / 3);
}

/* A free place, unless the member has its share already. */
static struct pending *pending_new(struct resolver *resolver, const struct port *port)
{
	struct pending *found = NULL;
	size_t of_member = 0;

	for (size_t i = 0; i < PENDING_MAX; i++) {
		struct pending *pending = &resolver->pending[i];

		if (pending->size == 0)
			found = pending;
		else if (pending->asker.port == port)
			of_member++;
	}
	return of_member < PENDING_OF_MEMBER ? found : NULL;
}

void resolver_relay(struct resolver *resolver, const struct resolver_asker *asker,
		    const uint8_t *message, size_t size)
{
	struct pending *pending = size <= DNS_QUERY_MAX ? pending_new(resolver, asker->port) : NULL;

	if (!pending) {
		port_refuse(asker->port);
		return;
	}
	pending->asker = *asker;
	pending->resolvers = *resolver_of(resolver, asker->port);
	pending->tried = 0;
	pending->size = size;
	memcpy(pending->message, message, size);
	memcpy(pending->id, message, sizeof(pending->id));
	hash_random(pending->message, sizeof(pending->id));
	if (resolver->pending_count++ == 0)
		loop_arm(resolver->timer, TRY_MS);
	pending_ask(pending);
}

void resolver_forget(struct resolver *resolver, const struct port *port)
{
	for (size_t i = 0; i < PENDING_MAX; i++)
		if (resolver->pending[i].size && resolver->pending[i].asker.port == port)
			pending_end(&resolver->pending[i]);
}

struct resolver *resolver_new(struct netd *netd)
{
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));

	resolver->netd = netd;
	for (size_t i = 0; i < PENDING_MAX; i++) {
		resolver->pending[i].resolver = resolver;
		resolver->pending[i].fd = -1;
	}
	resolver->timer = loop_add_timer(netd->loop, on_timer, resolver);
	system_resolvers(resolver);
	return resolver;
}

struct resolver *resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return NULL;
	for (size_t i = 0; i < PENDING_MAX; i++)
		pending_close(&resolver->pending[i]);
	loop_remove(resolver->timer);
	free(resolver);
	return NULL;
}
