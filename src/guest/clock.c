/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/cleanup.h"

#define ENTROPY_MAX 256

int clock_set_wall(uint64_t wall_clock_ns)
{
	struct timespec now = { .tv_sec = (time_t)(wall_clock_ns / 1000000000),
				.tv_nsec = (long)(wall_clock_ns % 1000000000) };

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? -errno : 0;
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
