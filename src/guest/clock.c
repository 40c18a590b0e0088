/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timex.h>
#include <time.h>

#include "base/cleanup.h"

#define ENTROPY_MAX 256
#define NS_PER_S INT64_C(1000000000)

int clock_set_wall(uint64_t wall_clock_ns)
{
	struct timespec now = { .tv_sec = (time_t)(wall_clock_ns / 1000000000),
				.tv_nsec = (long)(wall_clock_ns % 1000000000) };

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
}

int clock_shift_wall(int64_t ns)
{
	bool slowly = ns < 0 && ns > -NS_PER_S;
	struct timex change = { .modes = slowly ? ADJ_OFFSET_SINGLESHOT : ADJ_SETOFFSET };

	if (slowly) {
		change.offset = (long)(ns / 1000);
	} else {
		change.time.tv_sec = (time_t)(ns / NS_PER_S - (ns % NS_PER_S < 0));
		change.time.tv_usec = (long)(ns - (int64_t)change.time.tv_sec * NS_PER_S) / 1000;
	}
	return adjtimex(&change) < 0 ? -errno : 0;
}

int clock_set_entropy(const void *data, size_t size)
{
	AUTO_CLOSE int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	union {
		struct rand_pool_info info;
		char space[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool = { 0 };

	if (size > ENTROPY_MAX)
		return -EINVAL;
	if (fd < 0)
		return -errno;
	pool.info.entropy_count = (int)size * 8;
	pool.info.buf_size = (int)size;
	memcpy(pool.space + sizeof(pool.info), data, size);
	if (ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG, 0) < 0)
		return -errno;
	return 0;
}
