/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets relayed between host and guest, in both directions, each connection as a stream of
 * the channel. One and the same code runs on both sides: whoever accepts a connection sends
 * MSG_SOCKET_OPEN, whoever gets that connects. Stream of connection c (1 …): c << 2. The guest's
 * connections have odd numbers, the host's even ones, so that none is chosen twice.
 *
 * Bytes flow under the streams' credit; the end of one direction is passed on as EOF. When both
 * have ended each side forgets the connection; MSG_SOCKET_CLOSE ends it at once (nobody listens,
 * an error, the other side hung up). Descriptors that programs send along are lost.
 */
#ifndef PROTO_SOCKETS_H
#define PROTO_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/str.h"
#include "proto/mux.h"

#define MSG_SOCKET_OPEN 30  /* both: msg_socket_open */
#define MSG_SOCKET_CLOSE 31 /* both: msg_socket_close */
#define SOCKETS_MAX 512     /* connections at once */
#define SOCKETS_RELAYS_MAX 64

struct msg_socket_open {
	uint32_t connection;
	uint32_t relay;   /* which of the session's; from the guest */
	const char *path; /* absolute, in the container; from the host, else "" */
};
struct msg_socket_close {
	uint32_t connection;
};
void msg_socket_open_encode(const struct msg_socket_open *msg, struct sbuf *out);
int msg_socket_open_decode(const uint8_t *data, size_t size, struct msg_socket_open *ret_msg);
void msg_socket_close_encode(const struct msg_socket_close *msg, struct sbuf *out);
int msg_socket_close_decode(const uint8_t *data, size_t size, struct msg_socket_close *ret_msg);

struct sockets;

struct sockets_ops {
	/* A connection to what the other side means, non-blocking or in progress, the relay's from
	 * now on; negative errno: it is refused. */
	int (*connect)(void *ctx, const struct msg_socket_open *open);
};

/* is_guest: which numbers its connections have. mux is borrowed. */
struct sockets *sockets_new(struct loop *loop, struct mux *mux, bool is_guest,
			    const struct sockets_ops *ops, void *ctx);
struct sockets *sockets_free(struct sockets *sockets);
/* Ends all connections, whose streams are gone: the channel begins anew. NULL is ignored. */
void sockets_hang_up(struct sockets *sockets);
/* Takes a listening socket, whose connections go to the relay or path of the other side (copied).
 */
void sockets_listen(struct sockets *sockets, int listener, uint32_t relay, const char *path);

/* sockets may be NULL: nothing is relayed (any more). From the channel: MSG_SOCKET_OPEN and
 * MSG_SOCKET_CLOSE (0, or -EPROTO), and whether the stream is one of a relay: then the event has
 * been handled. */
int sockets_control(struct sockets *sockets, uint16_t type, const uint8_t *data, size_t size);
static inline bool sockets_owns(uint32_t stream)
{
	return (stream & 3) == 0;
}
void sockets_data(struct sockets *sockets, uint32_t stream, const uint8_t *data, size_t size);
void sockets_eof(struct sockets *sockets, uint32_t stream);
void sockets_reset(struct sockets *sockets, uint32_t stream);
void sockets_writable(struct sockets *sockets, uint32_t stream);

#endif
