/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"

enum source_kind {
	SOURCE_FD,
	SOURCE_TIMER,
	SOURCE_SIGNAL,
};

struct loop_source {
	struct loop *loop; /* borrowed */
	struct loop_source *next;
	struct loop_source **link; /* what points here */
	enum source_kind kind;
	bool dead; /* removed while callbacks run; freed when they are done */
	int fd;    /* owned unless SOURCE_FD */
	void *ctx;
	union {
		loop_fd_fn on_fd;
		loop_timer_fn on_timer;
		loop_signal_fn on_signal;
	};
};

struct loop {
	int epoll_fd; /* owned */
	struct loop_source *sources;
	bool dispatching;
	bool any_dead;
	bool quit;
	int code;
};

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		abort();
	return loop;
}

static void source_free(struct loop_source *source)
{
	*source->link = source->next;
	if (source->next)
		source->next->link = source->link;
	free(source);
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	loop->dispatching = false; /* nothing waits for its end any more */
	for (struct loop_source *source = loop->sources, *next; source; source = next) {
		next = source->next;
		if (source->dead)
			source_free(source);
		else
			loop_remove(source);
	}
	close(loop->epoll_fd);
	free(loop);
	return NULL;
}

static struct loop_source *add(struct loop *loop, enum source_kind kind, int fd, uint32_t events,
			       void *ctx)
{
	struct loop_source *source = xcalloc(1, sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };

	*source = (struct loop_source){ .loop = loop, .kind = kind, .fd = fd, .ctx = ctx };
	source->next = loop->sources;
	source->link = &loop->sources;
	if (source->next)
		source->next->link = &source->next;
	loop->sources = source;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		abort(); /* a bad descriptor or a regular file: a bug of the caller */
	return source;
}

struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn,
				void *ctx)
{
	struct loop_source *source = add(loop, SOURCE_FD, fd, events, ctx);

	source->on_fd = fn;
	return source;
}

void loop_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

struct loop_source *loop_add_timer(struct loop *loop, loop_timer_fn fn, void *ctx)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct loop_source *source;

	if (fd < 0)
		abort();
	source = add(loop, SOURCE_TIMER, fd, EPOLLIN, ctx);
	source->on_timer = fn;
	return source;
}

void loop_arm(struct loop_source *timer, uint64_t delay_ms)
{
	struct itimerspec spec = { .it_value = { .tv_sec = (time_t)(delay_ms / 1000),
						 .tv_nsec = (long)(delay_ms % 1000) * 1000000 } };

	if (delay_ms == 0)
		spec.it_value.tv_nsec = 1;
	timerfd_settime(timer->fd, 0, &spec, NULL);
}

void loop_disarm(struct loop_source *timer)
{
	struct itimerspec spec = { 0 };

	timerfd_settime(timer->fd, 0, &spec, NULL);
}

struct loop_source *loop_add_signal(struct loop *loop, int signal, loop_signal_fn fn, void *ctx)
{
	struct loop_source *source;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		abort();
	source = add(loop, SOURCE_SIGNAL, fd, EPOLLIN, ctx);
	source->on_signal = fn;
	return source;
}

struct loop_source *loop_remove(struct loop_source *source)
{
	if (!source || source->dead)
		return NULL;
	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->kind != SOURCE_FD)
		close(source->fd);
	source->dead = true;
	if (source->loop->dispatching)
		source->loop->any_dead = true;
	else
		source_free(source);
	return NULL;
}

static void dispatch_signal(struct loop_source *source)
{
	struct signalfd_siginfo info;

	while (!source->dead && read(source->fd, &info, sizeof(info)) == sizeof(info))
		source->on_signal(source->ctx, (int)info.ssi_signo, (int32_t)info.ssi_pid);
}

static void dispatch(struct loop_source *source, uint32_t events)
{
	uint64_t expirations;

	switch (source->kind) {
	case SOURCE_FD:
		source->on_fd(source->ctx, source->fd, events);
		break;
	case SOURCE_TIMER:
		if (read(source->fd, &expirations, sizeof(expirations)) == sizeof(expirations))
			source->on_timer(source->ctx);
		break;
	case SOURCE_SIGNAL:
		dispatch_signal(source);
		break;
	}
}

static void sweep(struct loop *loop)
{
	struct loop_source *next;

	for (struct loop_source *source = loop->sources; source; source = next) {
		next = source->next;
		if (source->dead)
			source_free(source);
	}
	loop->any_dead = false;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[32];
	int n = epoll_wait(loop->epoll_fd, events, sizeof(events) / sizeof(events[0]), timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->dispatching = true;
	for (int i = 0; i < n; i++) {
		struct loop_source *source = events[i].data.ptr;

		if (!source->dead)
			dispatch(source, events[i].events);
	}
	loop->dispatching = false;
	if (loop->any_dead)
		sweep(loop);
	return n;
}

int loop_run(struct loop *loop)
{
	while (!loop->quit) {
		int r = loop_run_once(loop, -1);

		if (r < 0)
			return r;
	}
	loop->quit = false;
	return loop->code;
}

void loop_quit(struct loop *loop, int code)
{
	loop->quit = true;
	loop->code = code;
}
