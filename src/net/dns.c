/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "net/packet.h"

#define FLAGS_RESPONSE 0x8000
#define FLAGS_OPCODE 0x7800
#define FLAGS_AUTHORITATIVE 0x0400
#define FLAGS_RECURSION_DESIRED 0x0100
#define FLAGS_RECURSION_AVAILABLE 0x0080
#define CLASS_IN 1
#define CLASS_ANY 255
#define POINTER_TO_QUESTION (0xc000 | DNS_HEADER_SIZE)

/* The name at *offset as text; moves *offset behind it. The name of a first question has nothing
 * before it that it could point to, so pointers are refused. */
static int parse_name(const uint8_t *message, size_t size, size_t *offset, char *ret)
{
	size_t at = *offset;
	size_t length = 0;

	for (;;) {
		uint8_t label;

		if (at >= size)
			return -EINVAL;
		label = message[at++];
		if (label == 0)
			break;
		if (label > 63 || label > size - at || length + label + 1 >= DNS_NAME_SIZE)
			return -EINVAL;
		if (length)
			ret[length++] = '.';
		for (uint8_t i = 0; i < label; i++) {
			unsigned char c = message[at + i];

			/* What no name of ours holds must not look like one: "a.b" in a label. */
			ret[length++] = c == '.' || c == 0 ? '?' : (char)tolower(c);
		}
		at += label;
	}
	ret[length] = '\0';
	*offset = at;
	return 0;
}

int dns_parse(const uint8_t *message, size_t size, struct dns_query *ret_query)
{
	size_t offset = DNS_HEADER_SIZE;
	uint16_t class;

	if (size < DNS_HEADER_SIZE || packet_get16(message + 2) & FLAGS_RESPONSE)
		return -EBADMSG;
	if (packet_get16(message + 2) & FLAGS_OPCODE)
		return -EOPNOTSUPP;
	if (packet_get16(message + 4) != 1 ||
	    parse_name(message, size, &offset, ret_query->name) < 0 || size - offset < 4)
		return -EINVAL;
	ret_query->type = packet_get16(message + offset);
	class = packet_get16(message + offset + 2);
	ret_query->question_end = offset + 4;
	return class == CLASS_IN || class == CLASS_ANY ? 0 : -EOPNOTSUPP;
}

/* Header and question. */
static size_t build_head(const uint8_t *message, const struct dns_query *query, enum dns_code code,
			 uint8_t *out)
{
	uint16_t flags = packet_get16(message + 2) & (FLAGS_OPCODE | FLAGS_RECURSION_DESIRED);
	size_t size = query ? query->question_end : DNS_HEADER_SIZE;

	memcpy(out, message, size);
	memset(out + 4, 0, DNS_HEADER_SIZE - 4);
	packet_put16(out + 2, (uint16_t)(flags | FLAGS_RESPONSE | FLAGS_AUTHORITATIVE |
					 FLAGS_RECURSION_AVAILABLE | code));
	packet_put16(out + 4, query != NULL);
	return size;
}

size_t dns_build_code(const uint8_t *message, const struct dns_query *query, enum dns_code code,
		      uint8_t *out)
{
	return build_head(message, query, code, out);
}

/* Appends a record about the question's name; what does not fit stays away. */
static void add_record(uint8_t *out, size_t *size, uint16_t type, const void *data,
		       size_t data_size)
{
	uint8_t *record = out + *size;

	if (*size + 12 + data_size > DNS_UDP_MAX)
		return;
	packet_put16(record, POINTER_TO_QUESTION);
	packet_put16(record + 2, type);
	packet_put16(record + 4, CLASS_IN);
	memset(record + 6, 0, 4); /* addresses come and go: not to be kept */
	packet_put16(record + 10, (uint16_t)data_size);
	memcpy(record + 12, data, data_size);
	*size += 12 + data_size;
	packet_put16(out + 6, (uint16_t)(packet_get16(out + 6) + 1));
}

/* Text as labels: the size, 0 if it is no name. */
static size_t encode_name(const char *text, uint8_t out[DNS_NAME_SIZE])
{
	AUTO_STRV char **labels = str_split(text, '.', 0);
	size_t size = 0;

	STRV_EACH (labels, it) {
		size_t length = strlen(*it);

		if (length == 0 || length > 63 || size + length + 2 > DNS_NAME_SIZE)
			return 0;
		out[size++] = (uint8_t)length;
		memcpy(out + size, *it, length);
		size += length;
	}
	out[size++] = 0;
	return size;
}

size_t dns_build(const uint8_t *message, const struct dns_query *query,
		 const struct dns_answer *answer, uint8_t *out)
{
	size_t size = build_head(message, query, answer->code, out);
	bool any = query->type == DNS_TYPE_ANY;
	uint8_t name[DNS_NAME_SIZE];
	size_t name_size;

	for (size_t i = 0; i < answer->count4 && (any || query->type == DNS_TYPE_A); i++)
		add_record(out, &size, DNS_TYPE_A, &answer->addresses4[i], 4);
	for (size_t i = 0; i < answer->count6 && (any || query->type == DNS_TYPE_AAAA); i++)
		add_record(out, &size, DNS_TYPE_AAAA, &answer->addresses6[i], 16);
	if (answer->pointer[0] && (any || query->type == DNS_TYPE_PTR)) {
		name_size = encode_name(answer->pointer, name);
		if (name_size)
			add_record(out, &size, DNS_TYPE_PTR, name, name_size);
	}
	return size;
}

bool dns_answers(const uint8_t *reply, size_t reply_size, const uint8_t *query, size_t query_size)
{
	struct dns_query asked;

	return dns_parse(query, query_size, &asked) == 0 && reply_size >= DNS_HEADER_SIZE &&
	       packet_get16(reply + 2) & FLAGS_RESPONSE && memcmp(reply, query, 2) == 0 &&
	       (packet_get16(reply + 4) == 0 || /* a mere error */
		(reply_size >= asked.question_end && packet_get16(reply + 4) == 1 &&
		 memcmp(reply + DNS_HEADER_SIZE, query + DNS_HEADER_SIZE,
			asked.question_end - DNS_HEADER_SIZE) == 0));
}

static bool reverse6(const char *name, struct in6_addr *ret)
{
	struct in6_addr address = { 0 };

	for (int i = 0; i < 32; i++) {
		unsigned char c = (unsigned char)name[2 * i];
		int digit = isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0 || name[2 * i + 1] != (i < 31 ? '.' : '\0'))
			return false;
		address.s6_addr[15 - i / 2] |= (uint8_t)(digit << (i % 2 ? 4 : 0));
	}
	*ret = address;
	return true;
}

int dns_reverse(const char *name, struct in_addr *ret4, struct in6_addr *ret6)
{
	unsigned byte[4];
	char rest;

	if (str_ends(name, ".in-addr.arpa") &&
	    sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arp%c", &byte[3], &byte[2], &byte[1], &byte[0],
		   &rest) == 5 &&
	    (byte[0] | byte[1] | byte[2] | byte[3]) < 256) {
		ret4->s_addr = htonl(byte[0] << 24 | byte[1] << 16 | byte[2] << 8 | byte[3]);
		return AF_INET;
	}
	if (str_ends(name, ".ip6.arpa") && strlen(name) == 63 + strlen(".ip6.arpa")) {
		char nibbles[64] = { 0 };

		memcpy(nibbles, name, 63);
		return reverse6(nibbles, ret6) ? AF_INET6 : 0;
	}
	return 0;
}
