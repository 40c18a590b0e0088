/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/sock.h"
#include "base/vec.h"
#include "proto/pack.h"

#define WINDOW (64 * 1024)
#define READ_SIZE (32 * 1024)
#define CONNECTION_MAX (UINT32_MAX >> 2)

struct connection {
	struct sockets *sockets; /* borrowed */
	uint32_t number;
	int fd; /* owned */
	struct loop_source *source;
	uint32_t events;
	char *waiting; /* owned; bytes that the socket does not take yet, at most WINDOW */
	size_t start, size;
	bool read_ended; /* the socket's end was passed on */
	bool peer_ended; /* the other side sends no more */
	bool shut;       /* and the socket was told so */
};

struct listener {
	struct sockets *sockets; /* borrowed */
	int fd;                  /* owned */
	struct loop_source *source;
	uint32_t relay;
	char *path; /* owned */
};

struct sockets {
	struct loop *loop; /* borrowed */
	struct mux *mux;   /* borrowed */
	const struct sockets_ops *ops;
	void *ctx;
	uint32_t next_number;
	VEC(struct connection *) connections; /* owned */
	VEC(struct listener *) listeners;     /* owned */
};

void msg_socket_open_encode(const struct msg_socket_open *msg, struct sbuf *out)
{
	pack_u32(out, msg->connection);
	pack_u32(out, msg->relay);
	pack_string(out, msg->path);
}

int msg_socket_open_decode(const uint8_t *data, size_t size, struct msg_socket_open *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_socket_open msg = { .connection = unpack_u32(&in), .relay = unpack_u32(&in) };

	msg.path = unpack_string(&in);
	if (unpack_done(&in) < 0 || msg.connection == 0 || msg.connection > CONNECTION_MAX ||
	    msg.relay >= SOCKETS_RELAYS_MAX || (msg.path[0] && msg.path[0] != '/'))
		return -EPROTO;
	*ret_msg = msg;
	return 0;
}

void msg_socket_close_encode(const struct msg_socket_close *msg, struct sbuf *out)
{
	pack_u32(out, msg->connection);
}

int msg_socket_close_decode(const uint8_t *data, size_t size, struct msg_socket_close *ret_msg)
{
	struct unpack in = { .data = data, .size = size };
	struct msg_socket_close msg = { .connection = unpack_u32(&in) };

	if (unpack_done(&in) < 0 || msg.connection == 0 || msg.connection > CONNECTION_MAX)
		return -EPROTO;
	*ret_msg = msg;
	return 0;
}

static uint32_t stream_of(const struct connection *connection)
{
	return connection->number << 2;
}

static struct connection *find(struct sockets *sockets, uint32_t number)
{
	if (!sockets)
		return NULL;
	VEC_EACH (&sockets->connections, it)
		if ((*it)->number == number)
			return *it;
	return NULL;
}

static void forget(struct connection *connection)
{
	struct sockets *sockets = connection->sockets;

	for (size_t i = 0; i < sockets->connections.count; i++)
		if (sockets->connections.items[i] == connection) {
			VEC_REMOVE(&sockets->connections, i);
			break;
		}
	loop_remove(connection->source);
	mux_close(sockets->mux, stream_of(connection));
	close(connection->fd);
	free(connection->waiting);
	free(connection);
}

static void send_close(struct sockets *sockets, uint32_t number)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_socket_close_encode(&(struct msg_socket_close){ number }, &out);
	mux_send_control(sockets->mux, MSG_SOCKET_CLOSE, out.text, out.length);
}

static void abort_connection(struct connection *connection)
{
	send_close(connection->sockets, connection->number);
	forget(connection);
}

static void on_ready(void *ctx, int fd, uint32_t events);

/* Without a source nothing is reported, not even a hang-up. */
static void want(struct connection *connection, uint32_t events)
{
	if (events == connection->events)
		return;
	if (events && connection->source)
		loop_set_events(connection->source, events);
	else if (events)
		connection->source = loop_add_fd(connection->sockets->loop, connection->fd, events,
						 on_ready, connection);
	else
		connection->source = loop_remove(connection->source);
	connection->events = events;
}

/* What it waits for next; it is forgotten when there is nothing. */
static void settle(struct connection *connection)
{
	bool has_room = !connection->read_ended &&
			mux_send_room(connection->sockets->mux, stream_of(connection)) > 0;

	if (connection->peer_ended && !connection->size && !connection->shut) {
		connection->shut = true;
		shutdown(connection->fd, SHUT_WR);
	}
	if (connection->read_ended && connection->shut) {
		forget(connection);
		return;
	}
	if (!connection->read_ended && !has_room &&
	    mux_send(connection->sockets->mux, stream_of(connection), "", 1) < 0) {
		abort_connection(connection);
		return;
	}
	want(connection, (has_room ? EPOLLIN : 0u) | (connection->size ? EPOLLOUT : 0u));
}

/* False when the connection is over. */
static bool pass_on(struct connection *connection)
{
	struct mux *mux = connection->sockets->mux;
	size_t room = mux_send_room(mux, stream_of(connection));
	char buffer[READ_SIZE];
	ssize_t n;

	if (room == 0 || connection->read_ended)
		return true;
	n = read(connection->fd, buffer, room < sizeof(buffer) ? room : sizeof(buffer));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		connection->read_ended = true;
		mux_send_eof(mux, stream_of(connection));
	} else {
		mux_send(mux, stream_of(connection), buffer, (size_t)n);
	}
	return true;
}

static bool write_waiting(struct connection *connection)
{
	ssize_t n;

	if (!connection->size)
		return true;
	n = send(connection->fd, connection->waiting + connection->start, connection->size,
		 MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	connection->start += (size_t)n;
	connection->size -= (size_t)n;
	if (!connection->size)
		connection->start = 0;
	mux_consumed(connection->sockets->mux, stream_of(connection), (size_t)n);
	return true;
}

static void on_ready(void *ctx, int fd, uint32_t events)
{
	struct connection *connection = ctx;
	bool ok = true;

	if (events & EPOLLOUT)
		ok = write_waiting(connection);
	if (ok && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ok = pass_on(connection);
	if (ok)
		settle(connection);
	else
		abort_connection(connection);
}

/* Takes fd. */
static struct connection *add(struct sockets *sockets, uint32_t number, int fd)
{
	struct connection *connection = xcalloc(1, sizeof(*connection));

	*connection = (struct connection){ .sockets = sockets, .number = number, .fd = fd };
	fd_set_nonblock(fd, true);
	VEC_PUSH(&sockets->connections, connection);
	return connection;
}

static void on_listener(void *ctx, int fd, uint32_t events)
{
	struct listener *listener = ctx;
	struct sockets *sockets = listener->sockets;
	int accepted = sock_accept_any(fd, SOCK_NONBLOCK);
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_socket_open open = { .connection = sockets->next_number,
					.relay = listener->relay,
					.path = listener->path };

	if (accepted < 0)
		return;
	while (find(sockets, open.connection))
		open.connection += 2;
	if (sockets->connections.count >= SOCKETS_MAX || open.connection > CONNECTION_MAX - 2 ||
	    mux_open(sockets->mux, open.connection << 2, WINDOW) < 0) {
		close(accepted);
		return;
	}
	sockets->next_number = open.connection + 2;
	if (sockets->next_number > CONNECTION_MAX - 2)
		sockets->next_number = 1 + (open.connection + 1) % 2;
	msg_socket_open_encode(&open, &out);
	mux_send_control(sockets->mux, MSG_SOCKET_OPEN, out.text, out.length);
	settle(add(sockets, open.connection, accepted));
}

struct sockets *sockets_new(struct loop *loop, struct mux *mux, bool is_guest,
			    const struct sockets_ops *ops, void *ctx)
{
	struct sockets *sockets = xcalloc(1, sizeof(*sockets));

	*sockets = (struct sockets){
		.loop = loop, .mux = mux, .ops = ops, .ctx = ctx, .next_number = is_guest ? 1 : 2
	};
	return sockets;
}

struct sockets *sockets_free(struct sockets *sockets)
{
	if (!sockets)
		return NULL;
	while (sockets->connections.count)
		forget(sockets->connections.items[0]);
	VEC_EACH (&sockets->listeners, it) {
		struct listener *listener = *it;

		loop_remove(listener->source);
		close(listener->fd);
		free(listener->path);
		free(listener);
	}
	VEC_FREE(&sockets->connections);
	VEC_FREE(&sockets->listeners);
	free(sockets);
	return NULL;
}

void sockets_hang_up(struct sockets *sockets)
{
	while (sockets && sockets->connections.count)
		forget(sockets->connections.items[0]);
}

void sockets_listen(struct sockets *sockets, int listener_fd, uint32_t relay, const char *path)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));

	*listener = (struct listener){
		.sockets = sockets, .fd = listener_fd, .relay = relay, .path = xstrdup(path)
	};
	fd_set_nonblock(listener_fd, true);
	listener->source = loop_add_fd(sockets->loop, listener_fd, EPOLLIN, on_listener, listener);
	VEC_PUSH(&sockets->listeners, listener);
}

static int take_open(struct sockets *sockets, const uint8_t *data, size_t size)
{
	struct msg_socket_open open;
	int r = msg_socket_open_decode(data, size, &open);
	int fd;

	/* The numbers of the other side are not ours. */
	if (r < 0 || (open.connection - sockets->next_number) % 2 == 0 ||
	    find(sockets, open.connection))
		return -EPROTO;
	if (sockets->connections.count >= SOCKETS_MAX) {
		send_close(sockets, open.connection);
		return 0;
	}
	fd = sockets->ops->connect(sockets->ctx, &open);
	if (fd < 0 || mux_open(sockets->mux, open.connection << 2, WINDOW) < 0) {
		if (fd >= 0)
			close(fd);
		send_close(sockets, open.connection);
		return 0;
	}
	settle(add(sockets, open.connection, fd));
	return 0;
}

int sockets_control(struct sockets *sockets, uint16_t type, const uint8_t *data, size_t size)
{
	struct msg_socket_close message;
	struct connection *connection;

	if (!sockets)
		return -EPROTO;
	if (type == MSG_SOCKET_OPEN)
		return take_open(sockets, data, size);
	if (msg_socket_close_decode(data, size, &message) < 0)
		return -EPROTO;
	connection = find(sockets, message.connection);
	if (connection)
		forget(connection);
	return 0;
}

void sockets_data(struct sockets *sockets, uint32_t stream, const uint8_t *data, size_t size)
{
	struct connection *connection = find(sockets, stream >> 2);

	if (!connection)
		return;
	if (!connection->waiting)
		connection->waiting = xmalloc(WINDOW);
	if (connection->start) {
		memmove(connection->waiting, connection->waiting + connection->start,
			connection->size);
		connection->start = 0;
	}
	/* The window granted is the buffer's size, so that this always fits. */
	memcpy(connection->waiting + connection->size, data, size);
	connection->size += size;
	if (write_waiting(connection))
		settle(connection);
	else
		abort_connection(connection);
}

void sockets_eof(struct sockets *sockets, uint32_t stream)
{
	struct connection *connection = find(sockets, stream >> 2);

	if (!connection)
		return;
	connection->peer_ended = true;
	settle(connection);
}

void sockets_reset(struct sockets *sockets, uint32_t stream)
{
	struct connection *connection = find(sockets, stream >> 2);

	if (connection)
		abort_connection(connection);
}

void sockets_writable(struct sockets *sockets, uint32_t stream)
{
	struct connection *connection = find(sockets, stream >> 2);

	if (connection)
		settle(connection);
}
