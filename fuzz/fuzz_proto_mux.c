/* SPDX-License-Identifier: Apache-2.0 */
/* A channel whose peer sends arbitrary bytes, in chunks of the first byte's size, while its owner
 * does all that an owner may do from callbacks. It must end or settle, and stay within its bounds.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/sock.h"
#include "proto/mux.h"

#define WINDOW 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
	struct mux *mux;
	size_t delivered;
	int ended;
};

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct owner *owner = ctx;

	if (owner->ended)
		abort();
	if (type == 2)
		mux_restart(owner->mux);
	if (type == 4)
		mux_open(owner->mux, size ? payload[0] : 5, WINDOW);
	if (type == 8)
		mux_close(owner->mux, size ? payload[0] : 5);
	mux_send_control(owner->mux, 16, payload, size);
	return type == 99 ? -22 : 0;
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct owner *owner = ctx;

	if (size > WINDOW)
		abort();
	owner->delivered += size;
	mux_send(owner->mux, stream, data, size);
	if (data[0] == 'c')
		mux_close(owner->mux, stream);
	if (data[0] == 'r')
		mux_send_reset(owner->mux, stream);
	mux_consumed(owner->mux, stream, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
	mux_send_eof(((struct owner *)ctx)->mux, stream);
}

static void on_reset(void *ctx, uint32_t stream)
{
	mux_close(((struct owner *)ctx)->mux, stream);
}

static void on_writable(void *ctx, uint32_t stream)
{
	mux_send(((struct owner *)ctx)->mux, stream, "more", 4);
}

static void on_closed(void *ctx, int error)
{
	struct owner *owner = ctx;

	if (owner->ended++)
		abort();
	(void)error;
}

static void feed(struct owner *owner, struct loop *loop, int fd, const uint8_t *data, size_t size)
{
	size_t chunk = size ? (size_t)data[0] * 16 + 1 : 1;

	for (size_t at = 1; at < size && !owner->ended; at += chunk) {
		ssize_t n = write(fd, data + at, size - at < chunk ? size - at : chunk);
		char sink[4096];

		if (n < 0)
			break;
		loop_run_once(loop, 0);
		while (read(fd, sink, sizeof(sink)) > 0)
			;
	}
	shutdown(fd, SHUT_WR);
	for (int turns = 0; !owner->ended; turns++) {
		if (turns > 10000)
			abort();
		loop_run_once(loop, 100);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mux_ops ops = {
		.control = on_control,
		.data = on_data,
		.eof = on_eof,
		.reset = on_reset,
		.writable = on_writable,
		.closed = on_closed,
	};
	struct loop *loop = loop_new();
	struct owner owner = { 0 };
	int fds[2];

	if (sock_pair(fds, NULL) < 0)
		abort();
	fd_set_nonblock(fds[1], true);
	owner.mux = mux_new(loop, fds[0], false, &ops, &owner);
	mux_open(owner.mux, 5, WINDOW);
	mux_open(owner.mux, 6, WINDOW);
	loop_run_once(loop, 0);
	feed(&owner, loop, fds[1], data, size);
	mux_free(owner.mux);
	close(fds[1]);
	loop_free(loop);
	return 0;
}
