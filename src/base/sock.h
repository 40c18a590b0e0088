/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets. Paths longer than sun_path work too: they are reached through /proc/self/fd. */
#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* A connected pair of stream sockets, close-on-exec, blocking. */
int sock_pair(int ret_fds[2], struct err *err);
/* A listening, non-blocking stream socket at path (0600); an old socket file there is replaced. */
int sock_listen(const char *path, struct err *err);
/* A blocking stream connection. -ECONNREFUSED or -ENOENT when nobody listens. */
int sock_connect(const char *path, struct err *err);
/* The same without waiting, and non-blocking: -EAGAIN when too many wait to be accepted. */
int sock_connect_now(const char *path, struct err *err);
/* The same of sockets that keep the boundaries of messages (SOCK_SEQPACKET). */
int sock_listen_packets(const char *path, struct err *err);
int sock_connect_packets(const char *path, struct err *err);
/* Accepts a connection of whoever it is; flags: as of accept4, besides close-on-exec. When no
 * descriptor is left (-EMFILE, -ENFILE) the connection is closed, since it would be told of for
 * ever; one descriptor is kept back for that. */
int sock_accept_any(int listener, int flags);
/* Accepts one connection whose peer is this user or root; -EPERM for anybody else (closed),
 * -EAGAIN when there is none. The result blocks. */
int sock_accept(int listener);
/* Sends all of data at once, with a descriptor as ancillary data (-1: none). 0, -EAGAIN where it
 * would have to wait, or another negative errno. */
int sock_send_with_fd(int sock, const void *data, size_t size, int fd);
/* Receives at most size bytes, and the descriptor that came with the first of them (else -1). Their
 * number; 0 at the end of the stream; negative errno. */
long sock_receive_with_fd(int sock, void *data, size_t size, int *ret_fd);
/* Sends one byte with a descriptor as ancillary data; the peer's copy is independent. */
int sock_send_fd(int sock, int fd);
/* Receives what sock_send_fd sent: the descriptor, -EPIPE at the end of the stream, or negative
 * errno. */
int sock_receive_fd(int sock);

#endif
