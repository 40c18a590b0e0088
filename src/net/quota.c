/* SPDX-License-Identifier: Apache-2.0 */
#include "net/quota.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"

#define BURST 2000.0
#define PERIOD_MS 120000 /* libslirp forgets UDP after four minutes */
#define SEEN_SIZE (65536 / 8)

/* New connections a second by how many sockets there are. */
static const struct {
	size_t sockets;
	double per_second;
} rates[] = { { 1024, 2000 }, { 4096, 200 }, { SIZE_MAX, 20 } };

void quota_init(struct quota *quota)
{
	*quota = (struct quota){ .tokens = BURST, .refilled_ms = clock_monotonic_ms() };
	for (size_t i = 0; i < 2; i++)
		quota->seen[i] = xcalloc(1, SEEN_SIZE);
	quota->period = quota->refilled_ms / PERIOD_MS;
}

void quota_release(struct quota *quota)
{
	free(quota->seen[0]);
	free(quota->seen[1]);
	*quota = (struct quota){ 0 };
}

static void turn_period(struct quota *quota, uint64_t now_ms)
{
	uint8_t *oldest = quota->seen[1];
	uint64_t period = now_ms / PERIOD_MS;

	if (period == quota->period)
		return;
	if (period > quota->period + 1)
		memset(quota->seen[0], 0, SEEN_SIZE);
	memset(oldest, 0, SEEN_SIZE);
	quota->seen[1] = quota->seen[0];
	quota->seen[0] = oldest;
	quota->period = period;
}

static bool take_token(struct quota *quota, uint64_t now_ms, size_t sockets, size_t most)
{
	size_t i = 0;

	if (sockets >= most)
		return false;

	while (sockets > rates[i].sockets)
		i++;
	quota->tokens += (double)(now_ms - quota->refilled_ms) / 1000 * rates[i].per_second;
	if (quota->tokens > BURST)
		quota->tokens = BURST;
	/* What was saved while there were few is worth less when there are many. */
	if (quota->tokens > rates[i].per_second)
		quota->tokens = rates[i].per_second;
	quota->refilled_ms = now_ms;
	if (quota->tokens < 1)
		return false;
	quota->tokens--;
	return true;
}

bool quota_takes(struct quota *quota, const struct packet *packet, size_t sockets, size_t most)
{
	uint16_t port = packet->source_port;
	uint8_t bit = (uint8_t)(1 << port % 8);
	uint64_t now_ms;

	if (!packet->first)
		return true;
	if (packet->protocol == IPPROTO_TCP) {
		if ((packet->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) != PACKET_TCP_SYN)
			return true;
		return take_token(quota, clock_monotonic_ms(), sockets, most);
	}
	if (packet->protocol != IPPROTO_UDP) /* pings: a socket each */
		return take_token(quota, clock_monotonic_ms(), sockets, most);
	now_ms = clock_monotonic_ms();
	turn_period(quota, now_ms);
	if (quota->seen[0][port / 8] & bit)
		return true;
	if (!(quota->seen[1][port / 8] & bit) && !take_token(quota, now_ms, sockets, most))
		return false;
	quota->seen[0][port / 8] |= bit;
	return true;
}

size_t quota_sockets(size_t part, size_t most)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / part < most)
		most = limit.rlim_cur / part;
	return most;
}
