/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/timeline.h"

#include <sys/mman.h>

#include "base/clock.h"
#include "proto/msg.h"

static struct shared {
	uint64_t origin_ns;
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
	shared->timeline.count = 0;
	shared->origin_ns = clock_monotonic_ns();
}

void timeline_point(const char *name)
{
	struct msg_timeline *timeline = shared ? &shared->timeline : NULL;

	if (!timeline || timeline->count >= MSG_TIMELINE_MAX)
		return;
	timeline->points[timeline->count].name = name;
	timeline->points[timeline->count].ns = clock_monotonic_ns() - shared->origin_ns;
	timeline->count++;
}

void timeline_encode(struct sbuf *out)
{
	struct msg_timeline none = { 0 };

	msg_timeline_encode(shared ? &shared->timeline : &none, out);
}
