/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/str.h"

#define ROUTES_MAX ((size_t)4 * 1024 * 1024)
#define RANDOM_ATTEMPTS 100

void subnets_release(struct subnets *subnets)
{
	VEC_FREE(subnets);
}

bool subnets_overlap(const struct subnets *subnets, const struct subnet *subnet,
		     struct subnet *ret_which)
{
	VEC_EACH (subnets, it) {
		if (!subnet_overlaps(it, subnet))
			continue;
		if (ret_which)
			*ret_which = *it;
		return true;
	}
	return false;
}

/* proc(5): interface, destination, gateway, flags, 3 numbers, mask; addresses as hexadecimal of the
 * number that they are in this machine's byte order. */
void routes_parse_ipv4(const char *text, struct subnets *routes)
{
	AUTO_STRV char **lines = str_split(text, '\n', 0);

	STRV_EACH (lines, it) {
		struct subnet route = { .family = AF_INET };
		uint32_t destination = 0;
		uint32_t mask = 0;

		if (sscanf(*it, "%*s %x %*x %*x %*d %*d %*d %x", &destination, &mask) != 2 || !mask)
			continue;
		route.prefix = (uint8_t)__builtin_popcount(mask);
		memcpy(route.bytes, &destination, sizeof(destination));
		VEC_PUSH(routes, route);
	}
}

/* Destination as 32 hexadecimal digits, prefix, … */
void routes_parse_ipv6(const char *text, struct subnets *routes)
{
	AUTO_STRV char **lines = str_split(text, '\n', 0);

	STRV_EACH (lines, it) {
		struct subnet route = { .family = AF_INET6 };
		unsigned prefix = 0;
		size_t i = 0;

		while (i < 16 && sscanf(*it + 2 * i, "%2hhx", &route.bytes[i]) == 1)
			i++;
		if (i < 16 || sscanf(*it + 32, " %2x", &prefix) != 1 || prefix == 0 ||
		    prefix >= 128 || route.bytes[0] >= 0xfe)
			continue;
		route.prefix = (uint8_t)prefix;
		VEC_PUSH(routes, route);
	}
}

void routes_read(struct subnets *routes)
{
	AUTO_FREE char *ipv4 = NULL;
	AUTO_FREE char *ipv6 = NULL;

	if (file_read("/proc/net/route", ROUTES_MAX, &ipv4, NULL, NULL) == 0)
		routes_parse_ipv4(ipv4, routes);
	if (file_read("/proc/net/ipv6_route", ROUTES_MAX, &ipv6, NULL, NULL) == 0)
		routes_parse_ipv6(ipv6, routes);
}

static struct subnet candidate(uint8_t a, uint8_t b, uint8_t c)
{
	return (struct subnet){ .family = AF_INET, .bytes = { a, b, c }, .prefix = 24 };
}

int subnets_choose_ipv4(const struct subnets *taken, struct subnet *ret_subnet, struct err *err)
{
	for (unsigned i = 64; i < 255; i++) {
		*ret_subnet = candidate(192, 168, (uint8_t)i);
		if (!subnets_overlap(taken, ret_subnet, NULL))
			return 0;
	}
	for (unsigned i = 64 << 8; i < 128 << 8; i++) {
		*ret_subnet = candidate(10, (uint8_t)(i >> 8), (uint8_t)i);
		if (!subnets_overlap(taken, ret_subnet, NULL))
			return 0;
	}
	return err_set(err, -EADDRNOTAVAIL, "no subnet is free; name one with --subnet");
}

int subnets_choose_ipv6(const struct subnets *taken, struct subnet *ret_subnet, struct err *err)
{
	for (int i = 0; i < RANDOM_ATTEMPTS; i++) {
		struct subnet subnet = { .family = AF_INET6, .prefix = 64 };

		hash_random(subnet.bytes, 6);
		subnet.bytes[0] = 0xfd;
		if (subnets_overlap(taken, &subnet, NULL))
			continue;
		*ret_subnet = subnet;
		return 0;
	}
	return err_set(err, -EADDRNOTAVAIL, "no IPv6 subnet is free; name one with --subnet-v6");
}
