/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sock.h"

#define CONNECTIONS_MAX 64
#define ACCEPT_BATCH 128
#define IDLE_MS 10000
#define CHECK_MS 2000

enum state {
	STATE_QUESTION, /* reads one */
	STATE_WAIT,     /* for somebody to answer it */
	STATE_ANSWER,   /* writes that */
};

struct dns_connection {
	struct dns_server *server; /* borrowed */
	int fd;                    /* owned */
	struct loop_source *source;
	const void *owner;
	void *data;
	enum state state;
	uint64_t active_ms;
	size_t done;                         /* bytes of question read, or of room written */
	size_t size;                         /* to be written */
	uint8_t question[2 + DNS_QUERY_MAX]; /* with its length in front */
	uint8_t room[2 + DNS_MESSAGE_MAX];   /* the same of the answer */
};

struct dns_server {
	struct loop *loop; /* borrowed */
	const struct dns_server_ops *ops;
	void *ctx;
	int listener; /* owned; -1: none */
	struct loop_source *source, *timer;
	struct dns_connection *connections[CONNECTIONS_MAX]; /* owned */
};

static void connection_free(struct dns_connection *connection)
{
	struct dns_server *server = connection->server;

	if (server->ops->closed)
		server->ops->closed(server->ctx, connection);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (server->connections[i] == connection)
			server->connections[i] = NULL;
	loop_remove(connection->source);
	close(connection->fd);
	free(connection);
}

/* 1 when a whole question is there, 0 when more must come, or negative errno. */
static int read_question(struct dns_connection *connection)
{
	uint8_t *question = connection->question;
	size_t want = 2;
	ssize_t n;

	if (connection->done >= 2)
		want += (size_t)question[0] << 8 | question[1];
	if (want > sizeof(connection->question))
		return -EMSGSIZE;
	n = recv(connection->fd, question + connection->done, want - connection->done,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0 && want > connection->done)
		return -EPIPE;
	connection->done += (size_t)n;
	return connection->done >= 2 &&
	       connection->done == 2u + ((size_t)question[0] << 8 | question[1]);
}

/* 1 when all is written. */
static int write_answer(struct dns_connection *connection)
{
	ssize_t n = send(connection->fd, connection->room + connection->done,
			 connection->size - connection->done, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	connection->done += (size_t)n;
	return connection->done == connection->size;
}

/* A connection of which nothing is expected now is not listened to: its end comes out later. */
static void enter(struct dns_connection *connection, enum state state)
{
	static const uint32_t events[] = {
		[STATE_QUESTION] = EPOLLIN,
		[STATE_WAIT] = 0,
		[STATE_ANSWER] = EPOLLOUT,
	};

	connection->state = state;
	connection->done = 0;
	loop_set_events(connection->source, events[state]);
}

static void on_connection(void *ctx, int fd, uint32_t events)
{
	struct dns_connection *connection = ctx;
	const struct dns_server *server = connection->server;
	int r = -EPIPE; /* in STATE_WAIT, where it can only be gone */

	dns_connection_touch(connection);
	if (connection->state == STATE_QUESTION) {
		r = read_question(connection);
		if (r > 0) {
			size_t size = connection->done - 2;

			enter(connection, STATE_WAIT);
			r = server->ops->question(server->ctx, connection, connection->question + 2,
						  size);
		}
	} else if (connection->state == STATE_ANSWER) {
		r = write_answer(connection);
		if (r > 0)
			enter(connection, STATE_QUESTION);
	}
	if (r < 0)
		connection_free(connection);
}

/* A free place; the one that was idle for longest gives way. */
static size_t make_place(struct dns_server *server)
{
	size_t oldest = 0;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (!server->connections[i])
			return i;
		if (server->connections[i]->active_ms < server->connections[oldest]->active_ms)
			oldest = i;
	}
	connection_free(server->connections[oldest]);
	return oldest;
}

void dns_server_add(struct dns_server *server, int fd, const void *owner)
{
	size_t place = make_place(server);
	struct dns_connection *connection = xcalloc(1, sizeof(*connection));

	connection->server = server;
	connection->fd = fd;
	connection->owner = owner;
	connection->source = loop_add_fd(server->loop, fd, EPOLLIN, on_connection, connection);
	dns_connection_touch(connection);
	server->connections[place] = connection;
	loop_arm(server->timer, CHECK_MS);
}

void dns_server_forget(struct dns_server *server, const void *owner)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (server->connections[i] && server->connections[i]->owner == owner)
			connection_free(server->connections[i]);
}

const void *dns_connection_owner(const struct dns_connection *connection)
{
	return connection->owner;
}

void *dns_connection_data(const struct dns_connection *connection)
{
	return connection->data;
}

void dns_connection_set_data(struct dns_connection *connection, void *data)
{
	connection->data = data;
}

uint8_t *dns_connection_room(struct dns_connection *connection)
{
	return connection->room;
}

void dns_connection_touch(struct dns_connection *connection)
{
	connection->active_ms = clock_monotonic_ms();
}

void dns_connection_answer(struct dns_connection *connection, size_t size)
{
	connection->room[0] = (uint8_t)(size >> 8);
	connection->room[1] = (uint8_t)size;
	connection->size = 2 + size;
	enter(connection, STATE_ANSWER);
}

static void on_listener(void *ctx, int fd, uint32_t events)
{
	struct dns_server *server = ctx;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int client = sock_accept_any(server->listener, SOCK_NONBLOCK);

		if (client == -EAGAIN)
			return;
		if (client >= 0)
			dns_server_add(server, client, NULL);
	}
}

static void on_timer(void *ctx)
{
	struct dns_server *server = ctx;
	uint64_t now = clock_monotonic_ms();
	bool any = false;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (server->connections[i] && server->connections[i]->active_ms + IDLE_MS <= now)
			connection_free(server->connections[i]);
		any |= server->connections[i] != NULL;
	}
	if (any)
		loop_arm(server->timer, CHECK_MS);
}

struct dns_server *dns_server_new(struct loop *loop, int listener, const struct dns_server_ops *ops,
				  void *ctx)
{
	struct dns_server *server = xcalloc(1, sizeof(*server));

	*server = (struct dns_server){ .loop = loop, .listener = listener, .ops = ops, .ctx = ctx };
	if (listener >= 0)
		server->source = loop_add_fd(loop, listener, EPOLLIN, on_listener, server);
	server->timer = loop_add_timer(loop, on_timer, server);
	return server;
}

struct dns_server *dns_server_free(struct dns_server *server)
{
	if (!server)
		return NULL;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (server->connections[i])
			connection_free(server->connections[i]);
	loop_remove(server->source);
	loop_remove(server->timer);
	if (server->listener >= 0)
		close(server->listener);
	free(server);
	return NULL;
}
