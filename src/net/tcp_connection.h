/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of a member: a socket of the host at one side, the state machine of net/tcp_core.h
 * at the other, and the bytes between them. For net/tcp.c alone, which has them in a table.
 *
 * Whatever happens to a connection gives it a turn; in its turn all that can be done is done: bytes
 * of the member are written to the socket (most were when they came), the socket is read as far as
 * the buffer has room, segments are sent as far as the member's window and its port allow. A turn
 * is bounded; who has more to do waits at the end of the line. One whose port is full waits until
 * it is not. So an acknowledgment is for all segments that came in one turn of the loop, and
 * nothing is sent that would be dropped here.
 */
#ifndef NET_TCP_CONNECTION_H
#define NET_TCP_CONNECTION_H

#include <sys/socket.h>

#include "net/switch.h"
#include "net/tcp_buffer.h"
#include "net/tcp_wire.h"

#define TCP_BATCH 32 /* segments that are sent by one call */
#define TCP_WINDOW TCP_BUFFER_LARGE

/* A place in a list; alone when it points to itself. */
struct tcp_link {
	struct tcp_link *next, *previous;
};

enum tcp_stage {
	TCP_CONNECTING, /* the socket; the member's SYN waits for that */
	TCP_PASSING,
	TCP_ENDING, /* no socket any more, but the member may not know that its last was heard */
};

struct tcp_connection {
	struct tcp_stack *stack; /* borrowed */
	struct port *member;     /* borrowed; NULL: nobody's, free */
	struct tcp_ends ends;
	struct tcp tcp;
	enum tcp_stage stage;
	int fd; /* owned */
	struct loop_source *source;
	bool may_read, may_write; /* as far as is known */
	bool hung_up;             /* the other side will not say more than what waits */
	bool ended;               /* and all of that was read */
	bool broken;              /* the socket tells an error */
	bool shut;                /* it was told that no more comes */
	struct tcp_buffer to_member, to_socket;
	struct tcp_link turn, timed;
	uint64_t ends_ms; /* when it is forgotten; 0: not yet */
	uint32_t next;    /* in its bucket, or of those that are free */
};

/* Where segments are made that are sent together. */
struct tcp_batch {
	struct mmsghdr messages[TCP_BATCH];
	struct iovec parts[TCP_BATCH][3];
	struct tcp_out segments[TCP_BATCH];
	uint8_t headers[TCP_BATCH][TCP_HEADERS_MAX];
};

enum tcp_turn {
	TCP_TURN_DONE,    /* waits for something to happen */
	TCP_TURN_MORE,    /* has more to do */
	TCP_TURN_BLOCKED, /* waits for its port */
	TCP_TURN_BROKEN,  /* the socket is: the member is to be told */
	TCP_TURN_OVER,    /* both sides are done */
};

struct tcp_shared {
	const struct net_config *config;
	struct tcp_pool *pool;
	struct tcp_batch *batch;
	uint64_t now_ms;
};

/* A turn. */
enum tcp_turn tcp_connection_run(struct tcp_connection *connection, struct tcp_shared *shared);
/* Data of the member that is new: to the socket, or kept for it. -errno when the socket is broken.
 */
int tcp_connection_take(struct tcp_connection *connection, struct tcp_shared *shared,
			const struct tcp_effect *effect);
/* Tells the member that the connection is over, and no more than that. */
void tcp_connection_send_reset(struct tcp_connection *connection, struct tcp_shared *shared);

#endif
