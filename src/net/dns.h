/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035), as much as a name server needs that answers a few names itself. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_SIZE 256 /* as text, with the NUL */
#define DNS_HEADER_SIZE 12
#define DNS_UDP_MAX 512 /* without the extension that asks for more */
#define DNS_QUERY_MAX 1232
#define DNS_ADDRESSES_MAX 16

#define DNS_TYPE_A 1
#define DNS_TYPE_PTR 12
#define DNS_TYPE_AAAA 28
#define DNS_TYPE_ANY 255

enum dns_code {
	DNS_OK = 0,
	DNS_FORMAT_ERROR = 1,
	DNS_SERVER_FAILURE = 2,
	DNS_NO_SUCH_NAME = 3,
	DNS_NOT_IMPLEMENTED = 4,
	DNS_REFUSED = 5,
};

struct dns_query {
	char name[DNS_NAME_SIZE]; /* lower case, without the last dot; "" is the root */
	uint16_t type;
	size_t question_end; /* offset in the message */
};

struct dns_answer {
	enum dns_code code;
	struct in_addr addresses4[DNS_ADDRESSES_MAX];
	struct in6_addr addresses6[DNS_ADDRESSES_MAX];
	size_t count4, count6;
	char pointer[DNS_NAME_SIZE]; /* "": none */
};

/* A query with one question of class IN. -EBADMSG: not even worth an answer; -EINVAL: to be
 * answered with dns_build_code(DNS_FORMAT_ERROR); -EOPNOTSUPP: DNS_NOT_IMPLEMENTED. */
int dns_parse(const uint8_t *message, size_t size, struct dns_query *ret_query);
/* An answer to message in out (max bytes, at least DNS_UDP_MAX), with a time to live of 0. What
 * does not fit in DNS_UDP_MAX is left out. The result is its size. */
size_t dns_build(const uint8_t *message, const struct dns_query *query,
		 const struct dns_answer *answer, uint8_t *out);
/* An answer of a code alone; the question is repeated if there is one (query is not NULL). */
size_t dns_build_code(const uint8_t *message, const struct dns_query *query, enum dns_code code,
		      uint8_t *out);
/* Whether reply answers the query that was sent. */
bool dns_answers(const uint8_t *reply, size_t reply_size, const uint8_t *query, size_t query_size);
/* The address that a name below in-addr.arpa or ip6.arpa stands for: AF_INET, AF_INET6, or 0 when
 * it is no such name. */
int dns_reverse(const char *name, struct in_addr *ret4, struct in6_addr *ret6);

#endif
