/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over TCP (RFC 7766): connections, and the messages in them. Each connection has one question
 * under way, a deadline, and gives way when there are too many.
 */
#ifndef NET_DNS_SERVER_H
#define NET_DNS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "net/dns.h"

#define DNS_MESSAGE_MAX 65535

struct dns_server;
struct dns_connection;

struct dns_server_ops {
	/* A question of at most DNS_QUERY_MAX bytes, borrowed, with its length (2 bytes) in front
	 * of it. It is answered by dns_connection_answer, now or later. Negative: it is not worth
	 * an answer, the connection ends. */
	int (*question)(void *ctx, struct dns_connection *connection, const uint8_t *message,
			size_t size);
	/* The connection is about to go; NULL: nobody wants to know. */
	void (*closed)(void *ctx, struct dns_connection *connection);
};

/* listener: non-blocking, taken over; -1: none. */
struct dns_server *dns_server_new(struct loop *loop, int listener, const struct dns_server_ops *ops,
				  void *ctx);
struct dns_server *dns_server_free(struct dns_server *server);
/* A connection (non-blocking, taken over); owner: what dns_connection_owner says of it. */
void dns_server_add(struct dns_server *server, int fd, const void *owner);
/* Ends the connections of an owner. */
void dns_server_forget(struct dns_server *server, const void *owner);

/* NULL: of one that came by itself. */
const void *dns_connection_owner(const struct dns_connection *connection);
/* What the answering side keeps of it; NULL at first. */
void *dns_connection_data(const struct dns_connection *connection);
void dns_connection_set_data(struct dns_connection *connection, void *data);
/* Where an answer is made: room for DNS_MESSAGE_MAX bytes behind 2 for their length. */
uint8_t *dns_connection_room(struct dns_connection *connection);
/* It is being worked at. */
void dns_connection_touch(struct dns_connection *connection);
/* Sends the message of so many bytes that is in the room. */
void dns_connection_answer(struct dns_connection *connection, size_t size);

#endif
