/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/timeline.h"

#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "proto/msg.h"

static struct shared {
	uint64_t origin_ns;
	size_t taken; /* points: also those that are not written yet */
	struct msg_timeline timeline;
} * shared; /* with the container's process until it executes something */

void timeline_init(void)
{
	void *memory = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	shared = memory == MAP_FAILED ? NULL : memory;
}

void timeline_mute(void)
{
	shared = NULL;
}

void timeline_begin(void)
{
	if (!shared)
		return;
	shared->taken = 0;
	memset(&shared->timeline, 0, sizeof(shared->timeline));
	shared->origin_ns = clock_monotonic_ns();
}

void timeline_point(const char *name)
{
	struct msg_timeline *timeline = shared ? &shared->timeline : NULL;
	size_t i;

	if (!timeline)
		return;
	/* The network's process tells its points at the same time. */
	i = __atomic_fetch_add(&shared->taken, 1, __ATOMIC_RELAXED);
	if (i >= MSG_TIMELINE_MAX)
		return;
	timeline->points[i].ns = clock_monotonic_ns() - shared->origin_ns;
	__atomic_store_n(&timeline->points[i].name, name, __ATOMIC_RELEASE);
}

void timeline_encode(struct sbuf *out)
{
	struct msg_timeline told = { 0 };

	for (size_t i = 0; shared && i < MSG_TIMELINE_MAX; i++)
		if (__atomic_load_n(&shared->timeline.points[i].name, __ATOMIC_ACQUIRE))
			told.points[told.count++] = shared->timeline.points[i];
	msg_timeline_encode(&told, out);
}
