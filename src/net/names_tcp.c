/* SPDX-License-Identifier: Apache-2.0 */
#include "net/names_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/sock.h"
#include "net/names.h"

#define CLIENTS_MAX 64
#define IDLE_MS 10000
#define CHECK_MS 2000
#define MESSAGE_MAX 65535

enum state {
	STATE_QUESTION, /* reads from the client */
	STATE_ASK,      /* writes to a resolver */
	STATE_REPLY,    /* reads from it */
	STATE_ANSWER,   /* writes to the client */
};

struct client {
	struct names_tcp *tcp; /* borrowed */
	int fd, upstream;      /* owned; -1 */
	struct loop_source *source, *upstream_source;
	enum state state;
	size_t tried; /* resolvers */
	uint64_t active_ms;
	size_t done;                         /* bytes of buffer read or written */
	size_t size;                         /* to be written */
	uint8_t question[2 + DNS_QUERY_MAX]; /* each with its length in front */
	size_t question_size;
	uint8_t buffer[2 + MESSAGE_MAX];
};

struct names_tcp {
	struct netd *netd;         /* borrowed */
	struct resolver *resolver; /* borrowed */
	int listener;              /* owned */
	struct loop_source *source, *timer;
	struct client *clients[CLIENTS_MAX]; /* owned */
};

static void close_upstream(struct client *client)
{
	client->upstream_source = loop_remove(client->upstream_source);
	if (client->upstream >= 0)
		close(client->upstream);
	client->upstream = -1;
}

static void client_free(struct client *client)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (client->tcp->clients[i] == client)
			client->tcp->clients[i] = NULL;
	close_upstream(client);
	loop_remove(client->source);
	close(client->fd);
	free(client);
}

/* 1 when a whole message is there, 0 when more must come, or negative errno. */
static int read_message(struct client *client, int fd)
{
	size_t want = 2;
	ssize_t n;

	if (client->done >= 2)
		want += packet_get16(client->buffer);
	n = recv(fd, client->buffer + client->done, want - client->done, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0 && want > client->done)
		return -EPIPE;
	client->done += (size_t)n;
	return client->done >= 2 && client->done == 2u + packet_get16(client->buffer);
}

/* 1 when all is written. */
static int write_message(struct client *client, int fd)
{
	ssize_t n = send(fd, client->buffer + client->done, client->size - client->done,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->done += (size_t)n;
	return client->done == client->size;
}

static void start_answer(struct client *client, size_t message_size)
{
	close_upstream(client);
	packet_put16(client->buffer, (uint16_t)message_size);
	client->state = STATE_ANSWER;
	client->size = 2 + message_size;
	client->done = 0;
	loop_set_events(client->source, EPOLLOUT);
}

static void on_upstream(void *ctx, int fd, uint32_t events);

static void ask_next(struct client *client)
{
	const struct resolvers *resolvers = resolver_of(client->tcp->resolver, NULL);
	struct dns_query query;

	close_upstream(client);
	while (client->tried < resolvers->count) {
		const union endpoint *to = &resolvers->items[client->tried++];

		client->upstream =
			socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (client->upstream >= 0 &&
		    (connect(client->upstream, &to->any, endpoint_size(to)) == 0 ||
		     errno == EINPROGRESS)) {
			client->state = STATE_ASK;
			client->done = 0;
			client->size = client->question_size;
			memcpy(client->buffer, client->question, client->size);
			client->upstream_source =
				loop_add_fd(client->tcp->netd->loop, client->upstream, EPOLLOUT,
					    on_upstream, client);
			loop_set_events(client->source, 0);
			return;
		}
		close_upstream(client);
	}
	if (dns_parse(client->question + 2, client->question_size - 2, &query) == 0)
		start_answer(client, dns_build_code(client->question + 2, &query,
						    DNS_SERVER_FAILURE, client->buffer + 2));
}

static void on_upstream(void *ctx, int fd, uint32_t events)
{
	struct client *client = ctx;
	int r = client->state == STATE_ASK ? write_message(client, fd) : read_message(client, fd);

	client->active_ms = clock_monotonic_ms();
	if (r < 0) {
		ask_next(client);
	} else if (r > 0 && client->state == STATE_ASK) {
		client->state = STATE_REPLY;
		client->done = 0;
		loop_set_events(client->upstream_source, EPOLLIN);
	} else if (r > 0) {
		start_answer(client, client->done - 2);
	}
}

/* A question is there. -EBADMSG: not worth an answer. */
static int answer(struct client *client)
{
	const uint8_t *message = client->question + 2;
	size_t size = client->done - 2;
	struct dns_answer found;
	struct dns_query query;
	int r;

	if (size > DNS_QUERY_MAX)
		return -EBADMSG;
	memcpy(client->question, client->buffer, client->done);
	client->question_size = client->done;
	r = dns_parse(message, size, &query);
	if (r == -EBADMSG)
		return r;
	if (r < 0)
		start_answer(client,
			     dns_build_code(message, NULL,
					    r == -EINVAL ? DNS_FORMAT_ERROR : DNS_NOT_IMPLEMENTED,
					    client->buffer + 2));
	else if (names_lookup(client->tcp->netd, &query, &found))
		start_answer(client, dns_build(message, &query, &found, client->buffer + 2));
	else
		ask_next(client);
	return 0;
}

static void on_client(void *ctx, int fd, uint32_t events)
{
	struct client *client = ctx;
	int r;

	client->active_ms = clock_monotonic_ms();
	if (client->state == STATE_QUESTION) {
		r = read_message(client, fd);
		if (r > 0) {
			client->tried = 0;
			r = answer(client);
		}
	} else if (client->state == STATE_ANSWER) {
		r = write_message(client, fd);
		if (r > 0) {
			client->state = STATE_QUESTION;
			client->done = 0;
			loop_set_events(client->source, EPOLLIN);
		}
	} else {
		r = -EPIPE; /* nothing is asked of it now, so that it is gone */
	}
	if (r < 0)
		client_free(client);
}

/* A free place; the one that was idle for longest gives way. */
static size_t make_place(struct names_tcp *tcp)
{
	size_t oldest = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (!tcp->clients[i])
			return i;
		if (tcp->clients[i]->active_ms < tcp->clients[oldest]->active_ms)
			oldest = i;
	}
	client_free(tcp->clients[oldest]);
	return oldest;
}

void names_tcp_accept(struct names_tcp *tcp)
{
	for (;;) {
		AUTO_CLOSE int fd = sock_accept(tcp->listener);
		struct client *client;
		size_t place;

		if (fd == -EAGAIN || fd == -EMFILE || fd == -ENFILE)
			return;
		if (fd < 0 || fd_set_nonblock(fd, true) < 0)
			continue;
		place = make_place(tcp);
		client = xcalloc(1, sizeof(*client));
		client->tcp = tcp;
		client->upstream = -1;
		client->active_ms = clock_monotonic_ms();
		client->fd = TAKE_FD(fd);
		client->source =
			loop_add_fd(tcp->netd->loop, client->fd, EPOLLIN, on_client, client);
		tcp->clients[place] = client;
		loop_arm(tcp->timer, CHECK_MS);
	}
}

static void on_accept(void *ctx, int fd, uint32_t events)
{
	names_tcp_accept(ctx);
}

static void on_timer(void *ctx)
{
	struct names_tcp *tcp = ctx;
	uint64_t now = clock_monotonic_ms();
	bool any = false;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (tcp->clients[i] && tcp->clients[i]->active_ms + IDLE_MS <= now)
			client_free(tcp->clients[i]);
		any |= tcp->clients[i] != NULL;
	}
	if (any)
		loop_arm(tcp->timer, CHECK_MS);
}

struct names_tcp *names_tcp_new(struct netd *netd, struct resolver *resolver, int listener)
{
	struct names_tcp *tcp = xcalloc(1, sizeof(*tcp));

	*tcp = (struct names_tcp){ .netd = netd, .resolver = resolver, .listener = listener };
	tcp->source = loop_add_fd(netd->loop, listener, EPOLLIN, on_accept, tcp);
	tcp->timer = loop_add_timer(netd->loop, on_timer, tcp);
	return tcp;
}

struct names_tcp *names_tcp_free(struct names_tcp *tcp)
{
	if (!tcp)
		return NULL;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (tcp->clients[i])
			client_free(tcp->clients[i]);
	loop_remove(tcp->source);
	loop_remove(tcp->timer);
	close(tcp->listener);
	free(tcp);
	return NULL;
}
