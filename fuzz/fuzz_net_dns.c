/* SPDX-License-Identifier: Apache-2.0 */
/* DNS: questions of machines and what is answered, answers of resolvers, reverse names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t question[] = { 0, 1, 1,   0, 0,   1, 0, 0, 0, 0, 0,
					    0, 1, 'a', 1, 'b', 0, 0, 1, 0, 1 };
	struct dns_answer answer = { .count4 = DNS_ADDRESSES_MAX,
				     .count6 = DNS_ADDRESSES_MAX,
				     .pointer = "a.b" };
	AUTO_FREE uint8_t *message = malloc(size ? size : 1);
	uint8_t reply[DNS_UDP_MAX];
	struct in6_addr address6;
	struct in_addr address4;
	struct dns_query query;
	size_t reply_size;
	int r;

	memcpy(message, data, size);
	dns_answers(message, size, question, sizeof(question));
	r = dns_parse(message, size, &query);
	if (r < 0) {
		if (size >= DNS_HEADER_SIZE)
			dns_build_code(message, NULL, DNS_FORMAT_ERROR, reply);
		return 0;
	}
	if (strlen(query.name) >= DNS_NAME_SIZE || query.question_end > size)
		abort();
	dns_reverse(query.name, &address4, &address6);
	/* A name of a question comes back as one of an answer. */
	memcpy(answer.pointer, query.name, sizeof(answer.pointer));
	reply_size = dns_build(message, &query, &answer, reply);
	if (reply_size > DNS_UDP_MAX || !dns_answers(reply, reply_size, message, size))
		abort();
	return 0;
}
