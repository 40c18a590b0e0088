/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mux.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "proto/frame.h"
#include "proto/le.h"

#define BUCKETS 256
/* DATA is taken only while less than this waits to be written; control messages go beyond it. */
#define OUT_DATA_MAX ((size_t)256 * 1024)
/* Credit is not given while more than this waits: a peer that does not read gets no more of it. */
#define OUT_CREDIT_MAX ((size_t)512 * 1024)
#define OUT_KEEP ((size_t)512 * 1024) /* a larger buffer is given back once it is empty */
#define IN_SIZE ((size_t)FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX + 65536)
/* Reads per turn of the loop, so that a busy channel does not starve the loop's other sources. */
#define READS_PER_TURN 16

struct link {
	struct link *next;
	struct link *previous; /* NULL: in no list */
};

struct stream {
	uint32_t id;
	struct stream *next;    /* in its bucket */
	struct link in_grants;  /* pending is to be sent as credit */
	struct link in_waiting; /* the owner waits for `writable`, and there is credit */
	uint32_t window;
	uint32_t granted; /* bytes the peer may still send */
	uint32_t pending; /* bytes to give back by a CREDIT frame */
	uint32_t credit;  /* bytes we may send */
	bool fresh;       /* opened since the last control message: no CREDIT for it yet */
	bool wants_writable;
	bool eof_sent;
	bool eof_received;
	bool reset_sent;
	bool reset_received;
};

struct mux {
	struct loop *loop; /* borrowed */
	struct loop_source *source;
	struct loop_source *failure; /* timer that reports an error found outside of the handler */
	const struct mux_ops *ops;
	void *ctx;
	int fd; /* owned */
	bool keep_open;
	bool is_socket;
	bool handling;    /* inside the handler: nothing is written until its end */
	bool held;        /* nothing is written for now */
	bool output_dead; /* the peer no longer reads: output is dropped, input still delivered */
	bool ended;       /* closed was called or is about to be */
	int error;
	uint32_t events;
	struct stream *buckets[BUCKETS];
	size_t stream_count;
	struct link grants;
	struct link waiting;
	uint8_t *in; /* owned, IN_SIZE */
	size_t in_start, in_end;
	uint8_t *out; /* owned */
	size_t out_start, out_end, out_capacity;
};

static void list_init(struct link *head)
{
	head->next = head->previous = head;
}

static void list_append(struct link *head, struct link *item)
{
	if (item->previous)
		return;
	item->previous = head->previous;
	item->next = head;
	head->previous->next = item;
	head->previous = item;
}

static void list_remove(struct link *item)
{
	if (!item->previous)
		return;
	item->previous->next = item->next;
	item->next->previous = item->previous;
	*item = (struct link){ 0 };
}

static bool list_empty(const struct link *head)
{
	return head->next == head;
}

static struct stream *stream_of(struct link *item, size_t offset)
{
	return (struct stream *)(void *)((char *)item - offset);
}

static struct stream *find(const struct mux *mux, uint32_t id)
{
	struct stream *stream = mux->buckets[id % BUCKETS];

	while (stream && stream->id != id)
		stream = stream->next;
	return stream;
}

static size_t out_pending(const struct mux *mux)
{
	return mux->out_end - mux->out_start;
}

static void update_events(struct mux *mux, bool again)
{
	uint32_t events = EPOLLIN;

	if (!mux->source)
		return;
	if (!mux->held &&
	    (out_pending(mux) || !list_empty(&mux->grants) || !list_empty(&mux->waiting)))
		events |= EPOLLOUT;
	/* Edges: a port whose host side is closed hangs up for as long as it is. Setting the events
	 * again reports what is ready now. */
	if (mux->keep_open)
		events |= EPOLLET;
	if (events != mux->events || again)
		loop_set_events(mux->source, events);
	mux->events = events;
}

static void report_end(struct mux *mux)
{
	mux->source = loop_remove(mux->source);
	mux->failure = loop_remove(mux->failure);
	mux->ended = true;
	mux->ops->closed(mux->ctx, mux->error);
}

static void failure_due(void *ctx)
{
	report_end(ctx);
}

/* Ends the channel: at once for the owner's calls, by `closed` from the loop. */
static void fail(struct mux *mux, int error)
{
	if (mux->ended)
		return;
	mux->ended = true;
	mux->error = error;
	if (mux->handling)
		return; /* its end reports */
	mux->failure = loop_add_timer(mux->loop, failure_due, mux);
	loop_arm(mux->failure, 0);
}

static ssize_t write_some(struct mux *mux, const void *data, size_t size)
{
	ssize_t n;

	do
		n = mux->is_socket ? send(mux->fd, data, size, MSG_NOSIGNAL)
				   : write(mux->fd, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void drop_output(struct mux *mux)
{
	mux->out_start = mux->out_end = 0;
	if (mux->out_capacity > OUT_KEEP) {
		free(mux->out);
		mux->out = NULL;
		mux->out_capacity = 0;
	}
}

/* Writes what is queued, as far as it goes. */
static void flush_out(struct mux *mux)
{
	while (out_pending(mux) && !mux->held) {
		ssize_t n = write_some(mux, mux->out + mux->out_start, out_pending(mux));

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			/* What the peer sent before it went is still to be read: reading finds the
			 * end. */
			mux->output_dead = true;
			break;
		}
		mux->out_start += (size_t)n;
	}
	if (!mux->held)
		drop_output(mux);
}

static int out_reserve(struct mux *mux, size_t size)
{
	size_t pending = out_pending(mux);
	size_t capacity = mux->out_capacity;
	uint8_t *larger;

	if (capacity - mux->out_end >= size)
		return 0;
	if (mux->out_start) {
		memmove(mux->out, mux->out + mux->out_start, pending);
		mux->out_start = 0;
		mux->out_end = pending;
	}
	if (capacity - pending >= size)
		return 0;
	while (capacity - pending < size)
		capacity = capacity ? capacity * 2 : OUT_DATA_MAX / 4;
	larger = realloc(mux->out, capacity);
	if (!larger)
		return -ENOBUFS;
	mux->out = larger;
	mux->out_capacity = capacity;
	return 0;
}

/* Queues one frame. Header and payload go together, by one write when nothing waits before them. */
static int put_frame(struct mux *mux, uint32_t stream, uint16_t type, const void *payload,
		     size_t size)
{
	struct frame_header header = { .length = (uint32_t)size, .stream = stream, .type = type };

	if (mux->ended)
		return -EPIPE;
	if (mux->output_dead)
		return 0;
	if (out_pending(mux) + FRAME_HEADER_SIZE + size > MUX_CONTROL_QUEUE_MAX ||
	    out_reserve(mux, FRAME_HEADER_SIZE + size) < 0) {
		fail(mux, -ENOBUFS);
		return -ENOBUFS;
	}
	frame_encode(&header, mux->out + mux->out_end);
	if (size)
		memcpy(mux->out + mux->out_end + FRAME_HEADER_SIZE, payload, size);
	mux->out_end += FRAME_HEADER_SIZE + size;
	return 0;
}

/* Sends the credit that is due, but for streams the peer may not know yet (unless `all`). */
static void put_grants(struct mux *mux)
{
	while (!list_empty(&mux->grants) && out_pending(mux) < OUT_CREDIT_MAX && !mux->ended &&
	       !mux->held) {
		struct stream *stream =
			stream_of(mux->grants.next, offsetof(struct stream, in_grants));
		uint8_t value[sizeof(uint32_t)];

		list_remove(&stream->in_grants);
		le_put32(value, stream->pending);
		stream->granted += stream->pending;
		stream->pending = 0;
		stream->fresh = false;
		put_frame(mux, stream->id, FRAME_CREDIT, value, sizeof(value));
	}
}

/* After a call of the owner: what was queued goes out now, unless the handler does it soon. */
static void push(struct mux *mux)
{
	if (mux->handling || mux->ended)
		return;
	flush_out(mux);
	update_events(mux, false);
}

/* Tells owners that wait that they can send again; each once, so that none can take it all. */
static void wake(struct mux *mux)
{
	for (size_t n = mux->stream_count; n > 0 && !mux->ended; n--) {
		struct stream *stream;

		if (list_empty(&mux->waiting) || out_pending(mux) >= OUT_DATA_MAX || mux->held)
			return;
		stream = stream_of(mux->waiting.next, offsetof(struct stream, in_waiting));
		list_remove(&stream->in_waiting);
		stream->wants_writable = false;
		mux->ops->writable(mux->ctx, stream->id);
	}
}

static void take_data(struct mux *mux, struct stream *stream, const uint8_t *data, size_t size)
{
	if (stream->eof_received || size > stream->granted) {
		fail(mux, -EPROTO);
		return;
	}
	stream->granted -= (uint32_t)size;
	if (!stream->reset_sent && size)
		mux->ops->data(mux->ctx, stream->id, data, size);
}

static void take_credit(struct mux *mux, struct stream *stream, uint32_t credit)
{
	if (__builtin_add_overflow(stream->credit, credit, &stream->credit)) {
		fail(mux, -EPROTO);
		return;
	}
	if (stream->wants_writable && stream->credit)
		list_append(&mux->waiting, &stream->in_waiting);
}

static void take_eof(struct mux *mux, struct stream *stream)
{
	if (stream->eof_received) {
		fail(mux, -EPROTO);
		return;
	}
	stream->eof_received = true;
	if (!stream->reset_sent)
		mux->ops->eof(mux->ctx, stream->id);
}

static void take_reset(struct mux *mux, struct stream *stream)
{
	if (stream->reset_received)
		return;
	stream->reset_received = true;
	list_remove(&stream->in_waiting);
	mux->ops->reset(mux->ctx, stream->id);
}

static void take_frame(struct mux *mux, const struct frame_header *header, const uint8_t *payload)
{
	struct stream *stream;

	if (header->stream == FRAME_STREAM_CONTROL) {
		int r = mux->ops->control(mux->ctx, header->type, payload, header->length);

		if (r < 0)
			fail(mux, r);
		return;
	}
	stream = find(mux, header->stream);
	if (!stream)
		return;
	switch (header->type) {
	case FRAME_DATA:
		take_data(mux, stream, payload, header->length);
		break;
	case FRAME_EOF:
		take_eof(mux, stream);
		break;
	case FRAME_CREDIT:
		take_credit(mux, stream, le_get32(payload));
		break;
	case FRAME_RESET:
		take_reset(mux, stream);
		break;
	default:
		fail(mux, -EPROTO);
	}
}

/* Handles the whole frames of the input buffer. */
static void parse(struct mux *mux)
{
	while (!mux->ended && mux->in_end - mux->in_start >= FRAME_HEADER_SIZE) {
		const uint8_t *at = mux->in + mux->in_start;
		struct frame_header header;

		if (frame_decode(at, &header) < 0) {
			fail(mux, -EPROTO);
			return;
		}
		if (mux->in_end - mux->in_start - FRAME_HEADER_SIZE < header.length)
			break;
		mux->in_start += FRAME_HEADER_SIZE + header.length;
		take_frame(mux, &header, at + FRAME_HEADER_SIZE);
	}
	/* The largest frame has to fit behind the start. */
	if (mux->in_start == mux->in_end) {
		mux->in_start = mux->in_end = 0;
	} else if (mux->in_start > IN_SIZE - FRAME_HEADER_SIZE - FRAME_PAYLOAD_MAX) {
		memmove(mux->in, mux->in + mux->in_start, mux->in_end - mux->in_start);
		mux->in_end -= mux->in_start;
		mux->in_start = 0;
	}
}

/* Returns whether there may be more to read. */
static bool read_some(struct mux *mux)
{
	ssize_t n;

	do
		n = read(mux->fd, mux->in + mux->in_end, IN_SIZE - mux->in_end);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0 && mux->keep_open) {
		/* The host side is closed. Half a frame of it is worth nothing to the next one. */
		mux->in_start = mux->in_end = 0;
		mux->output_dead = false;
		return false;
	}
	if (n <= 0) {
		fail(mux, n < 0 && errno != ECONNRESET && errno != EPIPE ? -errno : 0);
		return false;
	}
	mux->in_end += (size_t)n;
	parse(mux);
	return !mux->ended;
}

static void handle(void *ctx, int fd, uint32_t events)
{
	struct mux *mux = ctx;
	bool more = (events & ~(uint32_t)EPOLLOUT) != 0;

	(void)fd;
	mux->handling = true;
	for (int i = 0; more && i < READS_PER_TURN; i++)
		more = read_some(mux);
	if (!mux->ended) {
		put_grants(mux);
		flush_out(mux);
		wake(mux);
		put_grants(mux);
		flush_out(mux);
	}
	mux->handling = false;
	if (mux->ended)
		report_end(mux);
	else
		update_events(mux, more || (mux->keep_open && !list_empty(&mux->waiting)));
}

struct mux *mux_new(struct loop *loop, int fd, bool keep_open, const struct mux_ops *ops, void *ctx)
{
	struct mux *mux = xcalloc(1, sizeof(*mux));
	struct stat st;

	*mux = (struct mux){
		.loop = loop, .fd = fd, .keep_open = keep_open, .ops = ops, .ctx = ctx
	};
	mux->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	mux->in = xmalloc(IN_SIZE);
	list_init(&mux->grants);
	list_init(&mux->waiting);
	fd_set_nonblock(fd, true);
	mux->events = EPOLLIN | (keep_open ? EPOLLET : 0);
	mux->source = loop_add_fd(loop, fd, mux->events, handle, mux);
	return mux;
}

static void drop_streams(struct mux *mux)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (mux->buckets[i])
			mux_close(mux, mux->buckets[i]->id);
}

struct mux *mux_free(struct mux *mux)
{
	if (!mux)
		return NULL;
	drop_streams(mux);
	loop_remove(mux->source);
	loop_remove(mux->failure);
	close(mux->fd);
	free(mux->in);
	free(mux->out);
	free(mux);
	return NULL;
}

int mux_fd(const struct mux *mux)
{
	return mux->fd;
}

int mux_send_control(struct mux *mux, uint16_t type, const void *payload, size_t size)
{
	int r;

	if (size > FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (mux->output_dead)
		return -EPIPE;
	r = put_frame(mux, FRAME_STREAM_CONTROL, type, payload, size);
	if (r < 0)
		return r;
	put_grants(mux);
	push(mux);
	return mux->output_dead ? -EPIPE : 0;
}

int mux_open(struct mux *mux, uint32_t id, uint32_t window)
{
	struct stream *stream;

	if (id == FRAME_STREAM_CONTROL || find(mux, id))
		return -EEXIST;
	if (mux->stream_count == MUX_STREAMS_MAX)
		return -EMFILE;
	stream = xcalloc(1, sizeof(*stream));
	*stream = (struct stream){ .id = id, .window = window, .pending = window, .fresh = true };
	stream->next = mux->buckets[id % BUCKETS];
	mux->buckets[id % BUCKETS] = stream;
	mux->stream_count++;
	if (window) {
		list_append(&mux->grants, &stream->in_grants);
		if (!mux->handling)
			update_events(mux, false);
	}
	return 0;
}

void mux_close(struct mux *mux, uint32_t id)
{
	struct stream *stream = find(mux, id);
	struct stream **slot = &mux->buckets[id % BUCKETS];

	if (!stream)
		return;
	while (*slot != stream)
		slot = &(*slot)->next;
	*slot = stream->next;
	list_remove(&stream->in_grants);
	list_remove(&stream->in_waiting);
	mux->stream_count--;
	free(stream);
}

void mux_consumed(struct mux *mux, uint32_t id, size_t size)
{
	struct stream *stream = find(mux, id);

	if (!stream || stream->reset_sent || stream->eof_received)
		return;
	if (size > UINT32_MAX - stream->granted - stream->pending)
		size = UINT32_MAX - stream->granted - stream->pending;
	stream->pending += (uint32_t)size;
	/* By quarters of the window: small reads do not make a frame each. */
	if (!stream->pending || stream->pending < stream->window / 4)
		return;
	list_append(&mux->grants, &stream->in_grants);
	if (!stream->fresh && !mux->handling)
		put_grants(mux);
	push(mux);
}

size_t mux_send_room(const struct mux *mux, uint32_t id)
{
	const struct stream *stream = find(mux, id);
	size_t pending = out_pending(mux);
	size_t room = pending < OUT_DATA_MAX ? OUT_DATA_MAX - pending : 0;

	if (!stream || mux->ended || mux->held || stream->eof_sent || stream->reset_received)
		return 0;
	return stream->credit < room ? stream->credit : room;
}

ssize_t mux_send(struct mux *mux, uint32_t id, const void *data, size_t size)
{
	struct stream *stream = find(mux, id);
	const uint8_t *at = data;
	size_t room;
	size_t sent = 0;

	if (!stream || mux->ended || mux->output_dead || stream->eof_sent || stream->reset_received)
		return -EPIPE;
	room = mux_send_room(mux, id);
	while (sent < size && sent < room) {
		size_t n = size < room ? size - sent : room - sent;

		if (n > FRAME_DATA_MAX)
			n = FRAME_DATA_MAX;
		if (put_frame(mux, id, FRAME_DATA, at + sent, n) < 0)
			return -EPIPE;
		stream->credit -= (uint32_t)n;
		sent += n;
	}
	if (sent < size) {
		stream->wants_writable = true;
		if (stream->credit)
			list_append(&mux->waiting, &stream->in_waiting);
	}
	push(mux);
	return (ssize_t)sent;
}

void mux_send_eof(struct mux *mux, uint32_t id)
{
	struct stream *stream = find(mux, id);

	if (!stream || stream->eof_sent)
		return;
	stream->eof_sent = true;
	stream->wants_writable = false;
	list_remove(&stream->in_waiting);
	put_frame(mux, id, FRAME_EOF, NULL, 0);
	push(mux);
}

void mux_send_reset(struct mux *mux, uint32_t id)
{
	struct stream *stream = find(mux, id);

	if (!stream || stream->reset_sent)
		return;
	stream->reset_sent = true;
	list_remove(&stream->in_grants);
	put_frame(mux, id, FRAME_RESET, NULL, 0);
	push(mux);
}

bool mux_flushed(const struct mux *mux)
{
	return out_pending(mux) == 0 && list_empty(&mux->grants);
}

int mux_flush(struct mux *mux, int timeout_ms)
{
	uint64_t deadline = clock_monotonic_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);

	for (;;) {
		uint64_t now;

		if (mux->ended)
			return mux->error ? mux->error : -EPIPE;
		put_grants(mux);
		flush_out(mux);
		if (mux->output_dead)
			return -EPIPE;
		if (mux_flushed(mux))
			break;
		now = clock_monotonic_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		fd_wait(mux->fd, POLLOUT, (int)(deadline - now));
		/* A port that hangs up is always "ready": no reason to spin until the deadline. */
		if (mux->keep_open && out_pending(mux))
			poll(NULL, 0, 1);
	}
	if (!mux->handling)
		update_events(mux, false);
	return 0;
}

void mux_hold(struct mux *mux, bool hold)
{
	mux->held = hold;
	push(mux);
	if (!hold && !mux->handling)
		update_events(mux, true);
}

void mux_restart(struct mux *mux)
{
	drop_streams(mux);
	mux->out_start = mux->out_end = 0;
	mux->output_dead = mux->held = false;
	if (!mux->handling) {
		mux->in_start = mux->in_end = 0;
		update_events(mux, false);
	}
}
