/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPS_MAX 64

uint64_t caps_all(void)
{
	uint64_t all = 0;

	for (unsigned long cap = 0; cap < CAPS_MAX; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0)
			all |= UINT64_C(1) << cap;
	return all;
}

int caps_bound(uint64_t keep)
{
	for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
		if (keep >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* beyond the last one */
				return 0;
			return -errno;
		}
	}
	return 0;
}

int caps_set(uint64_t set)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)set, .permitted = (uint32_t)set },
		{ .effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32) },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}
