/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll loop per process. Sources are descriptors, timers and signals; callbacks run one at a
 * time and may add or remove any source, their own included (a removed source is never called
 * again).
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

struct loop;
struct loop_source;

/* events: EPOLLIN | EPOLLOUT | EPOLLHUP … as epoll_wait reports them. */
typedef void (*loop_fd_fn)(void *ctx, int fd, uint32_t events);
typedef void (*loop_timer_fn)(void *ctx);
typedef void (*loop_signal_fn)(void *ctx, int signal, int32_t sender_pid);

struct loop *loop_new(void);
struct loop *loop_free(
	struct loop *loop); /* frees remaining sources, closes no descriptor of callers */

/* Watches fd (borrowed; the caller removes the source before closing it). */
struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn,
				void *ctx);
void loop_set_events(struct loop_source *source, uint32_t events);
/* A one-shot timer, unarmed at first. */
struct loop_source *loop_add_timer(struct loop *loop, loop_timer_fn fn, void *ctx);
/* Arms it to fire once after delay_ms (0: as soon as possible), replacing an earlier arming. */
void loop_arm(struct loop_source *timer, uint64_t delay_ms);
void loop_disarm(struct loop_source *timer);
/* Blocks the signal in the process and delivers it here. One source per signal. */
struct loop_source *loop_add_signal(struct loop *loop, int signal, loop_signal_fn fn, void *ctx);
/* Frees the source; NULL is ignored. Always returns NULL: source = loop_remove(source). */
struct loop_source *loop_remove(struct loop_source *source);

/* Runs until loop_quit; returns the code given there, or a negative errno if epoll itself failed.
 */
int loop_run(struct loop *loop);
/* Handles what is ready, waiting at most timeout_ms (-1: until something is). */
int loop_run_once(struct loop *loop, int timeout_ms);
void loop_quit(struct loop *loop, int code);

static inline void loop_freep(struct loop **loop)
{
	if (*loop)
		loop_free(*loop);
}

#endif
