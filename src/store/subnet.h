/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subnets and the hosts in them: "10.1.2.0/24", "fd12:3456::/64". Host n of a subnet is its address
 * plus n; hosts 1 (gateway), 2 (kept) and 3 (names) are the network's own (see src/net/client.h).
 */
#ifndef STORE_SUBNET_H
#define STORE_SUBNET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define SUBNET_TEXT_MAX (INET6_ADDRSTRLEN + 4)
#define SUBNET_FIRST_HOST 4 /* the first that a container may have */

struct subnet {
	int family;        /* AF_INET, AF_INET6 */
	uint8_t bytes[16]; /* network order; 4 of them, or all */
	uint8_t prefix;
};

/* "ADDRESS/PREFIX", its host bits set to zero. -EINVAL. */
int subnet_parse(const char *text, struct subnet *ret_subnet, struct err *err);
void subnet_text(const struct subnet *subnet, char out[SUBNET_TEXT_MAX]);
/* Whether they share an address; those of different families do not. */
bool subnet_overlaps(const struct subnet *a, const struct subnet *b);
/* The last host that a container may have; bounded, whatever the subnet's size. */
uint32_t subnet_last_host(const struct subnet *subnet);
/* The address of host n, as text. */
void subnet_host_text(const struct subnet *subnet, uint32_t host, char out[INET6_ADDRSTRLEN]);
/* Its bytes (4 or 16). */
void subnet_host_bytes(const struct subnet *subnet, uint32_t host, uint8_t out[16]);
/* Which host the address is. -EINVAL unless it is one that a container may have. */
int subnet_find_host(const struct subnet *subnet, const char *address, uint32_t *ret_host,
		     struct err *err);

#endif
