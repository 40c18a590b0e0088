/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel: many streams over one descriptor, each with its own credit, so that one slow reader
 * never stops the others, and with bounded buffers, so that a hostile peer can neither fill memory
 * nor block.
 *
 * Theory of operation. Each side grants credit per stream: the number of DATA bytes it is ready to
 * take now. A sender keeps no data: mux_send() takes at most the stream's credit and the free room
 * of the output buffer and says how much it took; the owner stops reading its source until
 * `writable` is called. Control messages are always queued; a peer that makes more than
 * MUX_CONTROL_QUEUE_MAX bytes of them pile up unread is a protocol error. More DATA than granted,
 * an unknown frame type, DATA after EOF, or a message that the owner refuses closes the channel
 * with -EPROTO. DATA, EOF and CREDIT for a stream that is not open (any more) are dropped: they may
 * have been under way when it was closed.
 *
 * Runs on a loop; the descriptor is made non-blocking. Callbacks may call any function of the
 * channel but mux_free.
 */
#ifndef PROTO_MUX_H
#define PROTO_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"

#define MUX_WINDOW_DEFAULT (256 * 1024)
#define MUX_STREAMS_MAX 4096
#define MUX_CONTROL_QUEUE_MAX ((size_t)4 * 1024 * 1024)

struct mux;

struct mux_ops {
	/* A control message. payload is valid during the call. Negative errno closes the channel.
	 */
	int (*control)(void *ctx, uint16_t type, const uint8_t *payload, size_t size);
	/* DATA of an open stream, never more than was granted; all of it is taken. Credit is given
	 * back with mux_consumed once the bytes have gone where they go. */
	void (*data)(void *ctx, uint32_t stream, const uint8_t *data, size_t size);
	void (*eof)(void *ctx, uint32_t stream);
	/* The peer wants no more of what we send on the stream. */
	void (*reset)(void *ctx, uint32_t stream);
	/* mux_send would take bytes again after having taken fewer than offered. */
	void (*writable)(void *ctx, uint32_t stream);
	/* The channel ended: 0 the peer closed it, else negative errno. Last callback. The owner
	 * frees the mux later (not inside the call). */
	void (*closed)(void *ctx, int error);
};

/* Takes fd (closed by mux_free). keep_open: the peer's end may come and go (a virtio-serial port,
 * whose host side is reconnected by a restore): a hang-up is not an end, and never makes the loop
 * spin. */
struct mux *mux_new(struct loop *loop, int fd, bool keep_open, const struct mux_ops *ops,
		    void *ctx);
struct mux *mux_free(struct mux *mux);
int mux_fd(const struct mux *mux);

/* Queues a control message. 0, -EMSGSIZE, -ENOBUFS (queue full: the channel is broken), -EPIPE. */
int mux_send_control(struct mux *mux, uint16_t type, const void *payload, size_t size);

/* Opens a stream in both directions: the peer may send `window` bytes (0: it may not send, yet); we
 * may send nothing until the peer grants credit. -EEXIST, -EMFILE. Both sides open a stream by the
 * message that announces it, the side that sends the message right before it sends it: the credit
 * of a fresh stream goes out behind the next control message, or at the next turn of the loop
 * (frames for streams that the peer does not know are lost). */
int mux_open(struct mux *mux, uint32_t stream, uint32_t window);
/* Forgets the stream; later frames for it are dropped. Idempotent. */
void mux_close(struct mux *mux, uint32_t stream);
/* Gives back credit for bytes that `data` delivered. */
void mux_consumed(struct mux *mux, uint32_t stream, size_t size);
/* Takes up to size bytes; returns how many (0: wait for `writable`), or -EPIPE after reset, close.
 */
ssize_t mux_send(struct mux *mux, uint32_t stream, const void *data, size_t size);
/* How many bytes mux_send would take now. */
size_t mux_send_room(const struct mux *mux, uint32_t stream);
/* Says that we send no more on the stream. */
void mux_send_eof(struct mux *mux, uint32_t stream);
/* Says that we want no more of the stream. */
void mux_send_reset(struct mux *mux, uint32_t stream);

/* Whether everything queued has been written to the descriptor. */
bool mux_flushed(const struct mux *mux);
/* Writes what is queued, blocking up to timeout_ms. 0, -ETIMEDOUT or the channel's error. */
int mux_flush(struct mux *mux, int timeout_ms);
/* Holds the channel: nothing is written and no stream takes bytes until it is let go. Control
 * messages queue up meanwhile. Held channels have to be flushed before (mux_flush): what is under
 * way then is nothing at all. */
void mux_hold(struct mux *mux, bool hold);
/* Drops all streams and queued output, and lets go: for the guest's end when a new session begins
 * on the same port. Called inside a callback it keeps the input behind the message that is being
 * handled; otherwise that is dropped too. */
void mux_restart(struct mux *mux);

static inline void mux_freep(struct mux **mux)
{
	if (*mux)
		mux_free(*mux);
}

#endif
