/* SPDX-License-Identifier: Apache-2.0 */
#include "net/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"

#define RELAYS_MAX 1024
#define CHUNK 65536 /* what a pipe holds, without privileges */

/* One way. */
struct way {
	int pipe[2];      /* owned */
	size_t in_pipe;   /* bytes */
	bool source_done; /* no more comes */
	bool done;        /* and all has gone on */
	bool hung_up;     /* the source tells nothing any more, but may have something left */
};

struct relay {
	struct relays *relays; /* borrowed */
	struct relay *next, **link;
	int fds[2]; /* owned: the client, the target */
	struct loop_source *sources[2];
	uint32_t events[2];
	bool connected;
	struct way ways[2]; /* from fds[i] to the other */
};

struct relays {
	struct loop *loop; /* borrowed */
	struct relay *first;
	size_t count;
};

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void relay_free(struct relay *relay)
{
	*relay->link = relay->next;
	if (relay->next)
		relay->next->link = relay->link;
	relay->relays->count--;
	for (size_t i = 0; i < 2; i++) {
		loop_remove(relay->sources[i]);
		close_fd(relay->fds[i]);
		close_fd(relay->ways[i].pipe[0]);
		close_fd(relay->ways[i].pipe[1]);
	}
	free(relay);
}

static bool temporary(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Moves what can be moved. Negative when a side is broken. */
static int way_move(struct way *way, int from, int to)
{
	const unsigned flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;
	ssize_t n;

	if (!way->source_done && way->in_pipe == 0) {
		n = splice(from, NULL, way->pipe[1], NULL, CHUNK, flags);
		if (n < 0 && !temporary())
			return -errno;
		if (n == 0)
			way->source_done = true;
		if (n > 0)
			way->in_pipe = (size_t)n;
	}
	if (way->in_pipe) {
		n = splice(way->pipe[0], NULL, to, NULL, way->in_pipe, flags);
		if (n < 0 && !temporary())
			return -errno;
		if (n > 0)
			way->in_pipe -= (size_t)n;
	}
	if (way->source_done && way->in_pipe == 0 && !way->done) {
		way->done = true;
		shutdown(to, SHUT_WR);
	}
	return 0;
}

static void want(struct relay *relay, size_t side)
{
	const struct way *out = &relay->ways[side];    /* from this side */
	const struct way *in = &relay->ways[1 - side]; /* to it */
	uint32_t events = 0;

	if (relay->connected && !out->source_done && out->in_pipe == 0)
		events |= EPOLLIN;
	if ((side == 1 && !relay->connected) || in->in_pipe || (in->hung_up && !in->source_done))
		events |= EPOLLOUT;
	if (events != relay->events[side] && relay->sources[side]) {
		relay->events[side] = events;
		loop_set_events(relay->sources[side], events);
	}
}

static void on_relay(void *ctx, int fd, uint32_t events)
{
	struct relay *relay = ctx;
	int error = 0;
	socklen_t size = sizeof(error);

	if (!relay->connected && fd == relay->fds[1]) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
			relay_free(relay);
			return;
		}
		relay->connected = true;
	}
	if (relay->connected && events & EPOLLHUP) {
		size_t side = fd == relay->fds[1];

		/* It would be told for ever. */
		relay->sources[side] = loop_remove(relay->sources[side]);
		relay->ways[side].hung_up = true;
	}
	if ((relay->connected && (way_move(&relay->ways[0], relay->fds[0], relay->fds[1]) < 0 ||
				  way_move(&relay->ways[1], relay->fds[1], relay->fds[0]) < 0)) ||
	    (relay->ways[0].done && relay->ways[1].done) || events & EPOLLERR) {
		relay_free(relay);
		return;
	}
	want(relay, 0);
	want(relay, 1);
}

void relays_start(struct relays *relays, int client, const union endpoint *target)
{
	struct relay *relay;
	int yes = 1;

	if (relays->count == RELAYS_MAX) {
		close(client);
		return;
	}
	relay = xcalloc(1, sizeof(*relay));
	*relay = (struct relay){ .relays = relays,
				 .next = relays->first,
				 .link = &relays->first,
				 .fds = { client, -1 },
				 .ways = { { .pipe = { -1, -1 } }, { .pipe = { -1, -1 } } } };
	if (relay->next)
		relay->next->link = &relay->next;
	relays->first = relay;
	relays->count++;
	relay->fds[1] =
		socket(target->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (relay->fds[1] < 0 || pipe2(relay->ways[0].pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    pipe2(relay->ways[1].pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    (connect(relay->fds[1], &target->any, endpoint_size(target)) < 0 &&
	     errno != EINPROGRESS)) {
		relay_free(relay);
		return;
	}
	for (size_t i = 0; i < 2; i++) {
		setsockopt(relay->fds[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		relay->sources[i] = loop_add_fd(relays->loop, relay->fds[i], 0, on_relay, relay);
		want(relay, i);
	}
}

struct relays *relays_new(struct loop *loop)
{
	struct relays *relays = xcalloc(1, sizeof(*relays));

	relays->loop = loop;
	return relays;
}

struct relays *relays_free(struct relays *relays)
{
	struct relay *next;

	if (!relays)
		return NULL;
	for (struct relay *relay = relays->first; relay; relay = next) {
		next = relay->next;
		relay_free(relay);
	}
	free(relays);
	return NULL;
}
