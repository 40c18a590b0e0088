/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_connection.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define READ_MOST 262144 /* of a socket in a turn */
#define SEND_MOST 262144 /* to a port in a turn */
#define SEND_BATCH 131072

static bool temporary(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static size_t *large_of(const struct tcp_connection *connection)
{
	return &port_share(connection->member)->large_buffers;
}

static void release(struct tcp_connection *connection, struct tcp_shared *shared,
		    struct tcp_buffer *buffer)
{
	if (buffer->data && buffer->size == 0)
		tcp_buffer_release(shared->pool, buffer, large_of(connection));
}

/* What the member may send: to the buffer when the socket takes no more. */
static size_t room_of(const struct tcp_connection *connection)
{
	const struct tcp_buffer *buffer = &connection->to_socket;

	return buffer->data ? buffer->capacity - buffer->size : TCP_WINDOW;
}

static int write_socket(struct tcp_connection *connection, struct tcp_shared *shared)
{
	struct tcp_buffer *buffer = &connection->to_socket;

	while (buffer->size && connection->may_write) {
		struct iovec parts[2];
		ssize_t n;

		tcp_buffer_get(buffer, 0, buffer->size, parts);
		n = writev(connection->fd, parts, parts[1].iov_len ? 2 : 1);
		if (n < 0 && !temporary())
			return -errno;
		if (n < 0)
			connection->may_write = false;
		else
			tcp_buffer_drop(buffer, (size_t)n);
	}
	release(connection, shared, buffer);
	tcp_set_room(&connection->tcp, room_of(connection));
	if (connection->tcp.peer_fin && buffer->size == 0 && !connection->shut) {
		connection->shut = true;
		shutdown(connection->fd, SHUT_WR);
	}
	return 0;
}

int tcp_connection_take(struct tcp_connection *connection, struct tcp_shared *shared,
			const struct tcp_effect *effect)
{
	struct tcp_buffer *buffer = &connection->to_socket;
	size_t taken = 0;

	if (effect->size && buffer->size == 0 && connection->may_write) {
		ssize_t n = send(connection->fd, effect->data, effect->size,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && !temporary())
			return -errno;
		taken = n > 0 ? (size_t)n : 0;
		connection->may_write = taken == effect->size;
	}
	if (taken < effect->size &&
	    tcp_buffer_reserve(shared->pool, buffer, effect->size - taken, large_of(connection)))
		taken += tcp_buffer_copy(buffer, effect->data + taken, effect->size - taken);
	tcp_take(&connection->tcp, taken, effect->last && taken == effect->size);
	return 0;
}

/* Room for what waits at the socket: how much to read. */
static size_t make_room(struct tcp_connection *connection, struct tcp_shared *shared)
{
	struct tcp_buffer *buffer = &connection->to_member;
	int waiting = 1;

	if (buffer->capacity == TCP_BUFFER_LARGE)
		return buffer->capacity - buffer->size;
	if (ioctl(connection->fd, FIONREAD, &waiting) < 0 || waiting < 1)
		waiting = 1;
	return tcp_buffer_reserve(shared->pool, buffer, (size_t)waiting, large_of(connection));
}

/* Reads what there is room for. 1 when there may be more. */
static int read_socket(struct tcp_connection *connection, struct tcp_shared *shared)
{
	struct tcp_buffer *buffer = &connection->to_member;
	size_t done = 0;

	if (connection->tcp.state != TCP_OPEN)
		return 0;
	while (connection->may_read && !connection->ended) {
		struct iovec parts[2];
		size_t room = make_room(connection, shared);
		ssize_t n;

		if (room == 0 || done >= READ_MOST)
			return room > 0;
		tcp_buffer_room(buffer, room, parts);
		n = readv(connection->fd, parts, parts[1].iov_len ? 2 : 1);
		if (n < 0 && !temporary())
			return -errno;
		if (n == 0) {
			connection->ended = true;
			tcp_finish(&connection->tcp);
		}
		if (n > 0) {
			tcp_buffer_add(buffer, (size_t)n);
			tcp_queue(&connection->tcp, (size_t)n);
			done += (size_t)n;
		}
		/* Less than asked for was all; but the end is told once. */
		if (n < 0 || ((size_t)n < room && !connection->hung_up))
			connection->may_read = false;
	}
	release(connection, shared, buffer);
	return 0;
}

static size_t make_frame(struct tcp_connection *connection, const struct tcp_shared *shared,
			 size_t i)
{
	struct tcp_batch *batch = shared->batch;
	const struct tcp_out *segment = &batch->segments[i];
	struct iovec *parts = batch->parts[i];

	parts[1] = parts[2] = (struct iovec){ 0 };
	if (segment->size)
		tcp_buffer_get(&connection->to_member, segment->offset, segment->size, parts + 1);
	parts[0].iov_base = batch->headers[i];
	parts[0].iov_len = tcp_make_headers(batch->headers[i], shared->config->gateway_mac,
					    port_binding(connection->member)->mac,
					    &connection->ends, segment, parts + 1);
	batch->messages[i].msg_hdr = (struct msghdr){ .msg_iov = parts,
						      .msg_iovlen = parts[2].iov_len   ? 3
								    : parts[1].iov_len ? 2
										       : 1 };
	return segment->size;
}

static enum tcp_turn send_segments(struct tcp_connection *connection, struct tcp_shared *shared)
{
	struct tcp_batch *batch = shared->batch;
	size_t total = 0;

	while (total < SEND_MOST) {
		size_t count = 0;
		size_t size = 0;
		size_t sent;

		while (count < TCP_BATCH && size < SEND_BATCH &&
		       tcp_next(&connection->tcp, shared->now_ms, &batch->segments[count]))
			size += make_frame(connection, shared, count++);
		if (count == 0)
			return TCP_TURN_DONE;
		sent = port_send_many(connection->member, batch->messages, count);
		if (sent < count) {
			while (count > sent)
				tcp_unsend(&connection->tcp, &batch->segments[--count]);
			return TCP_TURN_BLOCKED;
		}
		total += size;
	}
	return TCP_TURN_MORE;
}

enum tcp_turn tcp_connection_run(struct tcp_connection *connection, struct tcp_shared *shared)
{
	enum tcp_turn turn;
	int more = 0;

	if (connection->broken)
		return TCP_TURN_BROKEN;
	if (connection->stage == TCP_CONNECTING)
		return TCP_TURN_DONE;
	if (connection->stage == TCP_PASSING) {
		if (write_socket(connection, shared) < 0)
			return TCP_TURN_BROKEN;
		more = read_socket(connection, shared);
		if (more < 0)
			return TCP_TURN_BROKEN;
	}
	turn = send_segments(connection, shared);
	if (turn != TCP_TURN_DONE)
		return turn;
	if (connection->stage == TCP_PASSING && tcp_is_over(&connection->tcp) && connection->shut)
		return TCP_TURN_OVER;
	return more ? TCP_TURN_MORE : TCP_TURN_DONE;
}

void tcp_connection_send_reset(struct tcp_connection *connection, struct tcp_shared *shared)
{
	struct tcp_batch *batch = shared->batch;

	tcp_reset(&connection->tcp, &batch->segments[0]);
	make_frame(connection, shared, 0);
	port_send(connection->member, batch->headers[0], batch->parts[0][0].iov_len);
}
