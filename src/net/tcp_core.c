/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_core.h"

#include <errno.h>
#include <string.h>

#define WAIT_FIRST_MS 200
#define WAIT_MIN_MS 200
#define WAIT_MAX_MS 2000
/* A SYN is dropped by a system whose program is slow to accept: it is asked again soon. */
#define WAIT_SYN_MS 100
#define WAIT_SYN_MAX_MS 1000
#define PROBE_MS 500 /* Linux answers probes no more often */
#define PROBE_MAX_MS 5000
#define GIVE_UP_SYN_MS 75000
#define GIVE_UP_MS 900000 /* a machine may stand still for a while */
#define MSS_DEFAULT 536   /* RFC 9293, 3.7.1 */
#define MSS_MIN 64
#define REPEATED_MAX 3 /* RFC 5681, 3.2 */

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static bool after(uint32_t a, uint32_t b)
{
	return before(b, a);
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Sequence numbers under way: a SYN and a FIN are one each. */
static uint32_t under_way(const struct tcp *tcp)
{
	return tcp->next - tcp->una;
}

/* Bytes of data under way. */
static size_t data_under_way(const struct tcp *tcp)
{
	return tcp->fin_sent ? tcp->queued : under_way(tcp);
}

static void init(struct tcp *tcp, enum tcp_state state, uint32_t seq, uint16_t mss, size_t room,
		 uint64_t now_ms)
{
	*tcp = (struct tcp){ .state = state,
			     .first = seq,
			     .una = seq,
			     .next = seq,
			     .own_mss = mss,
			     .mss = MSS_DEFAULT,
			     .room = room,
			     .send_syn = true,
			     .wait_ms = WAIT_SYN_MS,
			     .heard_ms = now_ms };
}

void tcp_open(struct tcp *tcp, uint32_t seq, uint16_t mss, size_t room, uint64_t now_ms)
{
	init(tcp, TCP_OPENING, seq, mss, room, now_ms);
	tcp->asked = true;
	tcp->asked_ms = now_ms;
}

bool tcp_open_again(struct tcp *tcp, uint32_t seq, uint64_t now_ms)
{
	struct tcp old = *tcp;

	if (now_ms - old.asked_ms >= GIVE_UP_SYN_MS)
		return false;
	tcp_open(tcp, seq, old.own_mss, old.room, now_ms);
	tcp->asked_ms = old.asked_ms;
	tcp->queued = old.queued;
	tcp->fin = old.fin;
	/* Not at once: it was forgotten because there were too many. */
	tcp->send_syn = false;
	tcp->deadline_ms = now_ms + tcp->wait_ms;
	return true;
}

/* What the other end's SYN says; of the two shifts both hold or none. */
static void take_options(struct tcp *tcp, const struct tcp_segment *syn)
{
	uint16_t mss = syn->mss ? syn->mss : MSS_DEFAULT;

	if (mss < MSS_MIN)
		mss = MSS_MIN;
	tcp->mss = mss < tcp->own_mss ? mss : tcp->own_mss;
	if (syn->shift != TCP_NO_SHIFT) {
		tcp->peer_shift = syn->shift < TCP_SHIFT_MAX ? syn->shift : TCP_SHIFT_MAX;
		tcp->own_shift = TCP_SHIFT;
	}
	tcp->peer_first = syn->seq;
	tcp->received = syn->seq + 1;
	tcp->edge = tcp->received;
	tcp->window = tcp->window_max = syn->window; /* never scaled in a SYN */
	tcp->window_seq = syn->seq;
	tcp->window_ack = tcp->una;
}

void tcp_answer(struct tcp *tcp, const struct tcp_segment *syn, uint32_t seq, uint16_t mss,
		size_t room, uint64_t now_ms)
{
	init(tcp, TCP_ANSWERING, seq, mss, room, now_ms);
	take_options(tcp, syn);
}

static void set_open(struct tcp *tcp, struct tcp_effect *effect)
{
	tcp->state = TCP_OPEN;
	tcp->una = tcp->next;
	tcp->send_syn = tcp->timing = false;
	tcp->wait_ms = WAIT_FIRST_MS;
	tcp->deadline_ms = 0;
	effect->opened = true;
}

static void receive_opening(struct tcp *tcp, const struct tcp_segment *segment, uint64_t now_ms,
			    struct tcp_effect *effect)
{
	bool acknowledges = segment->flags & TCP_ACK;

	if (acknowledges && (segment->ack != tcp->next || tcp->next == tcp->una)) {
		effect->stray = !(segment->flags & TCP_RST);
		return;
	}
	if (segment->flags & TCP_RST) {
		effect->refused = acknowledges;
		return;
	}
	if (!(segment->flags & TCP_SYN) || !acknowledges)
		return; /* both at once: not from a system that was only asked */
	tcp->heard_ms = now_ms;
	set_open(tcp, effect);
	take_options(tcp, segment);
	tcp->send_ack = true;
}

/* RFC 6298, 2.2 and 2.3. */
static void take_round_trip(struct tcp *tcp, uint32_t ms)
{
	uint32_t off;

	if (tcp->smooth_ms == 0) {
		tcp->smooth_ms = ms ? ms : 1;
		tcp->variance_ms = ms / 2;
		return;
	}
	off = ms > tcp->smooth_ms ? ms - tcp->smooth_ms : tcp->smooth_ms - ms;
	tcp->variance_ms = (3 * tcp->variance_ms + off) / 4;
	tcp->smooth_ms = (7 * tcp->smooth_ms + ms) / 8;
}

static uint32_t wait_of(const struct tcp *tcp)
{
	uint32_t ms = tcp->smooth_ms ? tcp->smooth_ms + 4 * tcp->variance_ms : WAIT_FIRST_MS;

	if (ms < WAIT_MIN_MS)
		return WAIT_MIN_MS;
	return ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
}

static void take_new_ack(struct tcp *tcp, uint32_t ack, uint64_t now_ms, struct tcp_effect *effect)
{
	size_t data = ack - tcp->una;

	if (tcp->fin_sent && !tcp->fin_acked && ack == tcp->next) {
		tcp->fin_acked = true;
		data--;
	}
	tcp->una = ack;
	tcp->queued -= data;
	effect->forgotten = data;
	if (tcp->timing && !before(ack, tcp->timed)) {
		take_round_trip(tcp, (uint32_t)(now_ms - tcp->timed_ms));
		tcp->timing = false;
	}
	tcp->repeated = 0;
	tcp->resend = false;
	if (tcp->recovering && before(ack, tcp->recover))
		tcp->resend = true; /* the next one is missing too */
	else
		tcp->recovering = false;
	tcp->wait_ms = wait_of(tcp);
	tcp->deadline_ms = under_way(tcp) ? now_ms + tcp->wait_ms : 0;
}

static void take_repeated_ack(struct tcp *tcp)
{
	if (under_way(tcp) == 0 || tcp->recovering || ++tcp->repeated < REPEATED_MAX)
		return;
	tcp->recovering = tcp->resend = true;
	tcp->recover = tcp->next;
}

static void take_window(struct tcp *tcp, const struct tcp_segment *segment)
{
	if (before(segment->seq, tcp->window_seq) ||
	    (segment->seq == tcp->window_seq && before(segment->ack, tcp->window_ack)))
		return;
	if (tcp->window == 0 && segment->window && under_way(tcp) == 0)
		tcp->deadline_ms = 0; /* the next probe */
	tcp->window = (uint32_t)segment->window << tcp->peer_shift;
	tcp->window_seq = segment->seq;
	tcp->window_ack = segment->ack;
	if (tcp->window > tcp->window_max)
		tcp->window_max = tcp->window;
}

/* False: the segment's acknowledgment cannot be. */
static bool take_ack(struct tcp *tcp, const struct tcp_segment *segment, uint64_t now_ms,
		     struct tcp_effect *effect)
{
	uint32_t window = (uint32_t)segment->window << tcp->peer_shift;
	uint32_t ack = segment->ack;

	if (after(ack, tcp->next) || before(ack, tcp->una - tcp->window_max)) {
		tcp->send_ack = true;
		return false;
	}
	if (tcp->state == TCP_ANSWERING) {
		if (ack != tcp->next || tcp->next == tcp->una) {
			effect->stray = true;
			return false;
		}
		set_open(tcp, effect);
	}
	if (before(ack, tcp->una))
		return true;
	if (ack != tcp->una)
		take_new_ack(tcp, ack, now_ms, effect);
	else if (segment->size == 0 && !(segment->flags & TCP_FIN) && window == tcp->window)
		take_repeated_ack(tcp);
	take_window(tcp, segment);
	return true;
}

static void take_data(struct tcp *tcp, const struct tcp_segment *segment, struct tcp_effect *effect)
{
	bool last = segment->flags & TCP_FIN;
	size_t known = 0;
	size_t room = tcp->edge - tcp->received;

	if (segment->size == 0 && !last)
		return;
	tcp->send_ack = true;
	if (after(segment->seq, tcp->received) || tcp->peer_fin)
		return; /* a gap: the acknowledgment says where */
	known = tcp->received - segment->seq;
	effect->data = segment->data + known;
	effect->size = segment->size - known;
	effect->last = last;
	if (effect->size > room) {
		effect->size = room;
		effect->last = false;
	}
}

void tcp_receive(struct tcp *tcp, const struct tcp_segment *segment, uint64_t now_ms,
		 struct tcp_effect *ret_effect)
{
	uint32_t end = segment->seq + (uint32_t)segment->size + (segment->flags & TCP_FIN ? 1 : 0);

	*ret_effect = (struct tcp_effect){ 0 };
	if (tcp->state == TCP_OPENING) {
		receive_opening(tcp, segment, now_ms, ret_effect);
		return;
	}
	if (segment->flags & TCP_RST) {
		ret_effect->reset = segment->seq == tcp->received;
		/* Without an acknowledgment it answers what belongs to no connection there. */
		ret_effect->unknown = ret_effect->reset && !(segment->flags & TCP_ACK) &&
				      tcp->asked && tcp->una == tcp->first + 1 &&
				      tcp->received == tcp->peer_first + 1;
		tcp->send_ack |= after(segment->seq, tcp->received) &&
				 !after(segment->seq, tcp->edge); /* RFC 5961, 3.2 */
		return;
	}
	tcp->heard_ms = now_ms;
	if (segment->flags & TCP_SYN) {
		if (tcp->state == TCP_ANSWERING)
			tcp->send_syn |= segment->seq + 1 == tcp->received;
		else
			tcp->send_ack = true; /* RFC 5961, 4.2 */
		return;
	}
	if (!(segment->flags & TCP_ACK))
		return;
	if (after(segment->seq, tcp->edge) ||
	    (before(segment->seq, tcp->received) && !after(end, tcp->received))) {
		tcp->send_ack = true;
		return;
	}
	if (take_ack(tcp, segment, now_ms, ret_effect))
		take_data(tcp, segment, ret_effect);
}

void tcp_take(struct tcp *tcp, size_t size, bool last)
{
	tcp->received += (uint32_t)size;
	if (last) {
		tcp->received++;
		tcp->peer_fin = true;
	}
}

/* What can be offered: as much as a header can say, and never less than was. */
static uint32_t edge_of(const struct tcp *tcp)
{
	size_t most = (size_t)UINT16_MAX << tcp->own_shift;
	uint32_t edge = tcp->received + (uint32_t)min(tcp->room, most);

	return after(edge, tcp->edge) ? edge : tcp->edge;
}

void tcp_set_room(struct tcp *tcp, size_t room)
{
	size_t before_it = tcp->room;

	tcp->room = room;
	/* Worth a segment of its own when it is much more than is known (RFC 9293, 3.8.6.2.2). */
	if (tcp->state == TCP_OPEN && !tcp->peer_fin && room > before_it) {
		size_t offered = tcp->edge - tcp->received;
		size_t gained = edge_of(tcp) - tcp->edge;

		if (gained >= 2 * (size_t)tcp->own_mss || (gained && gained >= offered))
			tcp->send_ack = true;
	}
}

void tcp_queue(struct tcp *tcp, size_t size)
{
	tcp->queued += size;
}

void tcp_finish(struct tcp *tcp)
{
	tcp->fin = true;
}

static void start_waiting(struct tcp *tcp, uint64_t now_ms)
{
	if (tcp->deadline_ms == 0)
		tcp->deadline_ms = now_ms + tcp->wait_ms;
}

static void fill(struct tcp *tcp, struct tcp_out *out, uint32_t seq, uint8_t flags)
{
	uint32_t shift = flags & TCP_SYN ? 0 : (uint32_t)tcp->own_shift;
	uint32_t window;

	*out = (struct tcp_out){ .seq = seq, .flags = flags, .shift = TCP_NO_SHIFT };
	if (flags & TCP_ACK) {
		out->ack = tcp->received;
		tcp->edge = edge_of(tcp);
	}
	window = (flags & TCP_ACK ? tcp->edge - tcp->received : (uint32_t)tcp->room) >> shift;
	out->window = window < UINT16_MAX ? (uint16_t)window : UINT16_MAX;
	tcp->send_ack = false;
}

static bool next_syn(struct tcp *tcp, uint64_t now_ms, struct tcp_out *out)
{
	bool opening = tcp->state == TCP_OPENING;

	tcp->send_ack = false;
	if (!tcp->send_syn)
		return false;
	fill(tcp, out, tcp->una, opening ? TCP_SYN : TCP_SYN | TCP_ACK);
	out->mss = tcp->own_mss;
	out->again = tcp->next != tcp->una;
	if (!out->again)
		tcp->heard_ms = now_ms;
	if (opening || tcp->own_shift)
		out->shift = TCP_SHIFT;
	tcp->next = tcp->una + 1;
	tcp->send_syn = false;
	start_waiting(tcp, now_ms);
	return true;
}

static void next_again(struct tcp *tcp, uint64_t now_ms, struct tcp_out *out)
{
	size_t size = min(tcp->mss, data_under_way(tcp));
	bool fin = tcp->fin_sent && size == tcp->queued;

	fill(tcp, out, tcp->una, (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0) | (size ? TCP_PSH : 0)));
	out->size = size;
	out->again = true;
	tcp->resend = tcp->timing = false;
	start_waiting(tcp, now_ms);
}

/* How much of what was not sent goes now: whole segments, all that there is, or what is worth it
 * (RFC 9293, 3.8.6.2.1). */
static size_t size_of_next(const struct tcp *tcp, size_t unsent)
{
	size_t usable = tcp->window > under_way(tcp) ? tcp->window - under_way(tcp) : 0;
	size_t size = min(min(unsent, tcp->mss), usable);

	if (size == unsent || size == tcp->mss || size >= tcp->window_max / 2 ||
	    under_way(tcp) == 0)
		return size;
	return 0;
}

static bool next_data(struct tcp *tcp, uint64_t now_ms, struct tcp_out *out)
{
	size_t unsent = tcp->fin_sent ? 0 : tcp->queued - under_way(tcp);
	size_t size = size_of_next(tcp, unsent);
	bool fin = tcp->fin && !tcp->fin_sent && size == unsent;
	bool idle = under_way(tcp) == 0;

	if (size == 0 && !fin) {
		if (unsent && idle && tcp->deadline_ms == 0) {
			tcp->deadline_ms = now_ms + PROBE_MS;
			tcp->heard_ms = now_ms;
		}
		return false;
	}
	fill(tcp, out, tcp->next,
	     (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0) | (size && size == unsent ? TCP_PSH : 0)));
	out->offset = under_way(tcp);
	out->size = size;
	tcp->next += (uint32_t)size + (fin ? 1 : 0);
	tcp->fin_sent |= fin;
	if (!tcp->timing) {
		tcp->timing = true;
		tcp->timed = tcp->next;
		tcp->timed_ms = now_ms;
	}
	if (idle) {
		tcp->deadline_ms = 0;
		tcp->heard_ms = now_ms; /* it had nothing to say */
	}
	start_waiting(tcp, now_ms);
	return true;
}

bool tcp_next(struct tcp *tcp, uint64_t now_ms, struct tcp_out *ret_out)
{
	if (tcp->state != TCP_OPEN)
		return next_syn(tcp, now_ms, ret_out);
	if (tcp->resend && under_way(tcp)) {
		next_again(tcp, now_ms, ret_out);
		return true;
	}
	if (next_data(tcp, now_ms, ret_out))
		return true;
	if (tcp->send_probe) {
		tcp->send_probe = false;
		fill(tcp, ret_out, tcp->una - 1, TCP_ACK); /* which is always answered */
		return true;
	}
	if (!tcp->send_ack)
		return false;
	fill(tcp, ret_out, tcp->next, TCP_ACK);
	return true;
}

void tcp_unsend(struct tcp *tcp, const struct tcp_out *out)
{
	if (out->flags & TCP_SYN) {
		tcp->send_syn = true;
		return;
	}
	tcp->send_ack = true;
	if (out->again) {
		tcp->resend = true;
	} else if (out->size || out->flags & TCP_FIN) {
		tcp->next = out->seq;
		if (out->flags & TCP_FIN)
			tcp->fin_sent = false;
		if (tcp->timing && after(tcp->timed, tcp->next))
			tcp->timing = false;
	}
}

int tcp_expire(struct tcp *tcp, uint64_t now_ms)
{
	bool syn = tcp->state != TCP_OPEN;
	uint32_t most = syn ? WAIT_SYN_MAX_MS : under_way(tcp) ? WAIT_MAX_MS : PROBE_MAX_MS;

	if (now_ms - (tcp->asked && syn ? tcp->asked_ms : tcp->heard_ms) >=
	    (syn ? GIVE_UP_SYN_MS : GIVE_UP_MS))
		return -ETIMEDOUT;
	tcp->deadline_ms = 0;
	if (!syn && under_way(tcp) == 0 && tcp->queued == 0)
		return 0;
	tcp->wait_ms = (uint32_t)min(2 * (size_t)tcp->wait_ms, most);
	if (syn) {
		tcp->send_syn = true;
	} else if (under_way(tcp)) {
		tcp->resend = tcp->recovering = true;
		tcp->recover = tcp->next;
		tcp->repeated = 0;
	} else {
		tcp->send_probe = true;
		tcp->deadline_ms = now_ms + (tcp->wait_ms > PROBE_MS ? tcp->wait_ms : PROBE_MS);
	}
	return 0;
}

void tcp_reset(const struct tcp *tcp, struct tcp_out *ret_out)
{
	*ret_out = (struct tcp_out){ .seq = tcp->next,
				     .ack = tcp->received,
				     .flags = TCP_RST | TCP_ACK,
				     .shift = TCP_NO_SHIFT };
	if (tcp->state == TCP_OPENING)
		ret_out->flags = TCP_RST;
	/* Of a SYN that is refused: RFC 9293, 3.10.7.1. */
	if (tcp->state == TCP_ANSWERING && tcp->next == tcp->una)
		ret_out->seq = 0;
}

bool tcp_is_over(const struct tcp *tcp)
{
	return tcp->fin_acked && tcp->peer_fin;
}
