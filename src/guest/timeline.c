/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/timeline.h"

#include "base/clock.h"
#include "proto/msg.h"

static struct msg_timeline timeline;
static uint64_t origin_ns;

void timeline_begin(void)
{
	timeline.count = 0;
	origin_ns = clock_monotonic_ns();
}

void timeline_point(const char *name)
{
	if (timeline.count == MSG_TIMELINE_MAX)
		return;
	timeline.points[timeline.count].name = name;
	timeline.points[timeline.count].ns = clock_monotonic_ns() - origin_ns;
	timeline.count++;
}

void timeline_encode(struct sbuf *out)
{
	msg_timeline_encode(&timeline, out);
}
