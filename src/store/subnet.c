/* SPDX-License-Identifier: Apache-2.0 */
#include "store/subnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define HOSTS_MAX 65534 /* containers of a network, whatever its subnet could hold */

static unsigned bits_of(const struct subnet *subnet)
{
	return subnet->family == AF_INET ? 32 : 128;
}

/* Sets all bits from the first on to zero. */
static void clear_from(uint8_t bytes[16], unsigned first)
{
	for (unsigned bit = first; bit < 128; bit++)
		bytes[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
}

int subnet_parse(const char *text, struct subnet *ret_subnet, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '/', 2);
	struct subnet subnet = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	uint32_t prefix = 0;

	if (!sides[1] || inet_pton(subnet.family, sides[0], subnet.bytes) != 1 ||
	    str_parse_u32(sides[1], &prefix) < 0 || prefix > bits_of(&subnet))
		return err_set(err, -EINVAL,
			       "invalid subnet '%s': it is like 10.1.2.0/24 or fd12:3456::/64",
			       text);
	subnet.prefix = (uint8_t)prefix;
	clear_from(subnet.bytes, prefix);
	*ret_subnet = subnet;
	return 0;
}

void subnet_text(const struct subnet *subnet, char out[SUBNET_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN] = "";

	inet_ntop(subnet->family, subnet->bytes, address, sizeof(address));
	snprintf(out, SUBNET_TEXT_MAX, "%s/%u", address, subnet->prefix);
}

bool subnet_overlaps(const struct subnet *a, const struct subnet *b)
{
	uint8_t theirs[16];
	uint8_t ours[16];
	unsigned shorter = a->prefix < b->prefix ? a->prefix : b->prefix;

	if (a->family != b->family)
		return false;
	memcpy(theirs, a->bytes, sizeof(theirs));
	memcpy(ours, b->bytes, sizeof(ours));
	clear_from(theirs, shorter);
	clear_from(ours, shorter);
	return memcmp(theirs, ours, sizeof(ours)) == 0;
}

uint32_t subnet_last_host(const struct subnet *subnet)
{
	unsigned host_bits = bits_of(subnet) - subnet->prefix;

	if (host_bits > 16)
		return HOSTS_MAX;
	return host_bits < 2 ? 0 : (1u << host_bits) - 2; /* the last of all is the broadcast's */
}

void subnet_host_bytes(const struct subnet *subnet, uint32_t host, uint8_t out[16])
{
	size_t last = bits_of(subnet) / 8 - 1;

	memcpy(out, subnet->bytes, 16);
	for (size_t i = 0; i < sizeof(host); i++)
		out[last - i] |= (uint8_t)(host >> (8 * i));
}

void subnet_host_text(const struct subnet *subnet, uint32_t host, char out[INET6_ADDRSTRLEN])
{
	uint8_t bytes[16];

	subnet_host_bytes(subnet, host, bytes);
	inet_ntop(subnet->family, bytes, out, INET6_ADDRSTRLEN);
}

int subnet_find_host(const struct subnet *subnet, const char *address, uint32_t *ret_host,
		     struct err *err)
{
	char text[SUBNET_TEXT_MAX];
	struct subnet single = { .family = subnet->family, .prefix = (uint8_t)bits_of(subnet) };
	uint8_t found[16];
	uint32_t host = 0;

	subnet_text(subnet, text);
	if (inet_pton(subnet->family, address, single.bytes) != 1 ||
	    !subnet_overlaps(subnet, &single))
		return err_set(err, -EINVAL, "address '%s' is not in the subnet %s", address, text);
	for (unsigned bit = bits_of(subnet) > 32 ? bits_of(subnet) - 32 : 0; bit < bits_of(subnet);
	     bit++)
		host = host << 1 | (single.bytes[bit / 8] >> (7 - bit % 8) & 1u &
				    (bit >= subnet->prefix ? 1u : 0u));
	subnet_host_bytes(subnet, host, found);
	if (host < SUBNET_FIRST_HOST || host > subnet_last_host(subnet) ||
	    memcmp(found, single.bytes, sizeof(found)) != 0)
		return err_set(err, -EINVAL, "address '%s' of the subnet %s is not a container's",
			       address, text);
	*ret_host = host;
	return 0;
}
