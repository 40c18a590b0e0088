/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/clock_sync.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/msg.h"
#include "shim/session.h"
#include "shim/shim.h"

#define FIRST_MS 1000 /* after the start, which is not to be delayed */
#define SOON_MS 200
#define EVERY_MS 60000
#define TRUSTED_NS 500000000u /* an answer that took longer tells too little */
#define TOLERATED_NS 10000000 /* what is not worth a change */

struct clock_sync {
	struct loop_source *timer;
	int change_fd; /* owned: a timer that is cancelled when the host's clock is set; -1 */
	struct loop_source *change;
	bool only_once;
	bool asked;       /* an answer is owed */
	uint64_t sent_ns; /* monotonic */
};

/* Far in the future; it ends only by being cancelled. */
static int arm_change(int fd)
{
	const struct itimerspec never = { .it_value.tv_sec = INT32_MAX };

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void on_change(void *ctx, int fd, uint32_t events)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count)); /* ECANCELED, which is the news */
	arm_change(fd);
	clock_sync_soon(ctx);
}

static void on_timer(void *ctx)
{
	struct shim *shim = ctx;
	struct clock_sync *sync = shim->clock_sync;

	if (shim->saving || !shim->guest) { /* the guest is to be told nothing now */
		loop_arm(sync->timer, FIRST_MS);
		return;
	}
	if (!sync->asked) {
		sync->asked = true;
		sync->sent_ns = clock_monotonic_ns();
		mux_send_control(shim->guest, MSG_CLOCK, NULL, 0);
	}
	/* A machine that stands still answers later, and too late to be trusted. */
	loop_arm(sync->timer, EVERY_MS);
}

void clock_sync_begin(struct shim *shim)
{
	const struct container_config *config = &shim->container->config;
	struct clock_sync *sync = xcalloc(1, sizeof(*sync));
	uint64_t capabilities = 0;

	session_capabilities(config->privileged, config->cap_add, config->cap_drop, &capabilities,
			     NULL);
	sync->only_once = capabilities & (UINT64_C(1) << CAP_SYS_TIME);
	sync->timer = loop_add_timer(shim->loop, on_timer, shim);
	sync->change_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	shim->clock_sync = sync;
	if (sync->change_fd >= 0 && arm_change(sync->change_fd) == 0)
		sync->change = loop_add_fd(shim->loop, sync->change_fd, EPOLLIN, on_change, shim);
	loop_arm(sync->timer, FIRST_MS);
}

void clock_sync_soon(struct shim *shim)
{
	if (shim->clock_sync && !shim->clock_sync->only_once)
		loop_arm(shim->clock_sync->timer, SOON_MS);
}

int clock_sync_answer(struct shim *shim, const uint8_t *data, size_t size)
{
	struct clock_sync *sync = shim->clock_sync;
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_clock_shift shift;
	struct msg_clock guest;
	uint64_t taken_ns;

	if (!sync || !sync->asked || msg_clock_decode(data, size, &guest) < 0)
		return -EPROTO;
	sync->asked = false;
	taken_ns = clock_monotonic_ns() - sync->sent_ns;
	if (taken_ns > TRUSTED_NS || shim->saving) {
		loop_arm(sync->timer, FIRST_MS);
		return 0;
	}
	/* It said so somewhere in between. */
	shift.ns = (int64_t)(clock_wall_ns() - taken_ns / 2 - guest.wall_clock_ns);
	if (llabs(shift.ns) > TOLERATED_NS + (int64_t)taken_ns / 2) {
		log_debug("the guest's clock is corrected by %.3f s", (double)shift.ns / 1e9);
		msg_clock_shift_encode(&shift, &out);
		mux_send_control(shim->guest, MSG_CLOCK_SHIFT, out.text, out.length);
	}
	if (sync->only_once)
		loop_disarm(sync->timer);
	return 0;
}

void clock_sync_end(struct shim *shim)
{
	struct clock_sync *sync = TAKE_PTR(shim->clock_sync);

	if (!sync)
		return;
	loop_remove(sync->timer);
	loop_remove(sync->change);
	if (sync->change_fd >= 0)
		close(sync->change_fd);
	free(sync);
}
