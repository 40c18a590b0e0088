/* SPDX-License-Identifier: Apache-2.0 */
#include "net/names_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/dns_server.h"
#include "net/names.h"

/* A question that goes on to a resolver: it is written, and the answer is read into the room of the
 * connection, each with its length in front. */
struct question {
	struct names_tcp *tcp;             /* borrowed */
	struct dns_connection *connection; /* borrowed */
	int fd;                            /* owned: to the resolver; -1 */
	struct loop_source *source;
	struct resolvers resolvers; /* as they were when it was asked */
	size_t tried;
	bool asked;  /* all is written */
	size_t done; /* bytes written, then read */
	uint8_t message[2 + DNS_QUERY_MAX];
	size_t size;
};

struct names_tcp {
	struct netd *netd;         /* borrowed */
	struct resolver *resolver; /* borrowed */
	struct dns_server *server; /* owned */
};

static void hang_up(struct question *question)
{
	question->source = loop_remove(question->source);
	if (question->fd >= 0)
		close(question->fd);
	question->fd = -1;
}

static void question_free(struct question *question)
{
	if (!question)
		return;
	hang_up(question);
	dns_connection_set_data(question->connection, NULL);
	free(question);
}

static void on_closed(void *ctx, struct dns_connection *connection)
{
	question_free(dns_connection_data(connection));
}

/* 1 when all is written. */
static int write_question(struct question *question)
{
	ssize_t n = send(question->fd, question->message + question->done,
			 question->size - question->done, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	question->done += (size_t)n;
	return question->done == question->size;
}

/* 1 when a whole answer is there, 0 when more must come, or negative errno. */
static int read_answer(struct question *question)
{
	uint8_t *room = dns_connection_room(question->connection);
	size_t want = 2;
	ssize_t n;

	if (question->done >= 2)
		want += packet_get16(room);
	n = recv(question->fd, room + question->done, want - question->done, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0 && want > question->done)
		return -EPIPE;
	question->done += (size_t)n;
	return question->done >= 2 && question->done == 2u + packet_get16(room);
}

static void on_resolver(void *ctx, int fd, uint32_t events);

static bool call(struct question *question, const union endpoint *to)
{
	question->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (question->fd < 0 ||
	    (connect(question->fd, &to->any, endpoint_size(to)) < 0 && errno != EINPROGRESS)) {
		hang_up(question);
		return false;
	}
	question->asked = false;
	question->done = 0;
	question->source = loop_add_fd(question->tcp->netd->loop, question->fd, EPOLLOUT,
				       on_resolver, question);
	return true;
}

/* Asks the next resolver that can be asked; nobody left: a failure. */
static void ask_next(struct question *question)
{
	struct dns_connection *connection = question->connection;
	struct dns_query query;
	size_t size = 0;

	hang_up(question);
	while (question->tried < question->resolvers.count)
		if (call(question, &question->resolvers.items[question->tried++]))
			return;
	if (dns_parse(question->message + 2, question->size - 2, &query) == 0)
		size = dns_build_code(question->message + 2, &query, DNS_SERVER_FAILURE,
				      dns_connection_room(connection) + 2);
	question_free(question);
	dns_connection_answer(connection, size);
}

static void on_resolver(void *ctx, int fd, uint32_t events)
{
	struct question *question = ctx;
	struct dns_connection *connection = question->connection;
	int r = question->asked ? read_answer(question) : write_question(question);

	dns_connection_touch(connection);
	if (r < 0) {
		ask_next(question);
	} else if (r > 0 && !question->asked) {
		question->asked = true;
		question->done = 0;
		loop_set_events(question->source, EPOLLIN);
	} else if (r > 0) {
		size_t size = question->done - 2;

		question_free(question);
		dns_connection_answer(connection, size);
	}
}

static void pass_on(struct names_tcp *tcp, struct dns_connection *connection,
		    const uint8_t *message, size_t size)
{
	struct question *question = xcalloc(1, sizeof(*question));

	question->tcp = tcp;
	question->connection = connection;
	question->fd = -1;
	question->resolvers = *resolver_of(tcp->resolver, dns_connection_owner(connection));
	packet_put16(question->message, (uint16_t)size);
	memcpy(question->message + 2, message, size);
	question->size = 2 + size;
	dns_connection_set_data(connection, question);
	ask_next(question);
}

static int on_question(void *ctx, struct dns_connection *connection, const uint8_t *message,
		       size_t size)
{
	struct names_tcp *tcp = ctx;
	uint8_t *room = dns_connection_room(connection) + 2;
	int r = names_answer(tcp->netd, dns_connection_owner(connection), message, size, room);

	if (r > 0)
		dns_connection_answer(connection, (size_t)r);
	else if (r == 0)
		pass_on(tcp, connection, message, size);
	return r < 0 ? r : 0;
}

int names_tcp_connect(struct names_tcp *tcp, const struct port *from)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	dns_server_add(tcp->server, fds[0], from);
	return fds[1];
}

void names_tcp_forget(struct names_tcp *tcp, const struct port *port)
{
	dns_server_forget(tcp->server, port);
}

struct names_tcp *names_tcp_new(struct netd *netd, struct resolver *resolver)
{
	static const struct dns_server_ops ops = { .question = on_question, .closed = on_closed };
	struct names_tcp *tcp = xcalloc(1, sizeof(*tcp));

	*tcp = (struct names_tcp){ .netd = netd, .resolver = resolver };
	tcp->server = dns_server_new(netd->loop, -1, &ops, tcp);
	return tcp;
}

struct names_tcp *names_tcp_free(struct names_tcp *tcp)
{
	if (!tcp)
		return NULL;
	dns_server_free(tcp->server);
	free(tcp);
	return NULL;
}
