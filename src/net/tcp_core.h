/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a TCP connection (RFC 9293) as a state machine: sequence numbers, windows, what is to
 * be sent next and when again. It knows no sockets, no packets and no clock: it is told of segments
 * and of time, and asked for segments. Data is not here either: of what is to be sent it knows how
 * many bytes there are from the first that is not acknowledged, of what came it says which bytes
 * are new and in order.
 *
 * The way between this end and the other is a queue in memory, which says when it is full. So there
 * is no congestion window; what is lost all the same (the other end had no room) is sent again
 * after three repeated acknowledgments or a time that follows the round trips (RFC 6298, with a
 * lower limit, and an upper one: nobody is helped by waiting for long). Segments out of order are
 * not kept. The other end is not trusted: a reset counts only at the very place (RFC 5961), what
 * lies outside of the windows changes nothing.
 */
#ifndef NET_TCP_CORE_H
#define NET_TCP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define TCP_NO_SHIFT (-1)
#define TCP_SHIFT_MAX 14 /* RFC 7323, 2.3 */
#define TCP_SHIFT 4      /* what we ask for: windows up to 1 MiB */

/* A segment that came. */
struct tcp_segment {
	uint32_t seq, ack;
	uint16_t window; /* as it is in the header */
	uint8_t flags;
	uint16_t mss; /* of a SYN; 0: not said */
	int shift;    /* of a SYN's window scale option, as it is there; TCP_NO_SHIFT: none */
	const uint8_t *data; /* borrowed */
	size_t size;
};

/* What a segment that came means for whoever has the data. */
struct tcp_effect {
	bool opened;      /* the connection is there now */
	bool refused;     /* nobody takes it */
	bool reset;       /* it is over */
	bool unknown;     /* by what the other end has forgotten, or never had: it took part, but no
			     data of either side is known to the other (tcp_open_again) */
	bool stray;       /* the segment belongs to another connection: to be answered by a reset */
	size_t forgotten; /* bytes that the other end has acknowledged */
	/* New bytes in order, to be taken (tcp_take), and whether they are the last. */
	const uint8_t *data;
	size_t size;
	bool last;
};

/* A segment that is to be sent. */
struct tcp_out {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	uint16_t mss;  /* 0: no options */
	int shift;     /* TCP_NO_SHIFT: none */
	size_t offset; /* of its data, from the first byte that is not acknowledged */
	size_t size;
	bool again; /* it was sent before */
};

enum tcp_state {
	TCP_OPENING,   /* our SYN waits for its answer */
	TCP_ANSWERING, /* our SYN-ACK does */
	TCP_OPEN,
};

struct tcp {
	enum tcp_state state;
	bool asked; /* by us */
	uint64_t asked_ms;
	/* To the other end. */
	uint32_t first;     /* our SYN */
	uint32_t una, next; /* first not acknowledged, first not sent */
	size_t queued;      /* bytes of data from una on, sent or not */
	bool fin, fin_sent, fin_acked;
	uint32_t window, window_max; /* from una on */
	uint32_t window_seq, window_ack;
	uint16_t mss, own_mss;
	int peer_shift, own_shift; /* in force */
	/* From it. */
	uint32_t received; /* the next one expected */
	uint32_t peer_first;
	uint32_t edge; /* no more than up to here was offered */
	size_t room;
	bool peer_fin;
	/* What is to be sent besides data. */
	bool send_syn, send_ack, send_probe, resend;
	/* When again. */
	unsigned repeated; /* acknowledgments in a row that say nothing new */
	bool recovering;
	uint32_t recover; /* until this is acknowledged */
	bool timing;
	uint32_t timed;
	uint64_t timed_ms;
	uint32_t smooth_ms, variance_ms; /* of round trips; 0: none was seen */
	uint32_t wait_ms;                /* the next time to wait before sending again */
	uint64_t deadline_ms;            /* tcp_expire is to be called; 0: not */
	uint64_t heard_ms;
};

/* Begins a connection: a SYN is to be sent. mss: bytes of data that fit into a segment, both ways;
 * room: bytes that can be taken. */
void tcp_open(struct tcp *tcp, uint32_t seq, uint16_t mss, size_t room, uint64_t now_ms);
/* Begins a connection anew that the other end does not know of, with what is queued. False: that
 * has gone on for too long. */
bool tcp_open_again(struct tcp *tcp, uint32_t seq, uint64_t now_ms);
/* Answers the SYN of another: a SYN-ACK is to be sent. */
void tcp_answer(struct tcp *tcp, const struct tcp_segment *syn, uint32_t seq, uint16_t mss,
		size_t room, uint64_t now_ms);
/* A segment came. */
void tcp_receive(struct tcp *tcp, const struct tcp_segment *segment, uint64_t now_ms,
		 struct tcp_effect *ret_effect);
/* So many bytes of an effect were taken; last: and all of them, which were the last. The rest will
 * be said again. */
void tcp_take(struct tcp *tcp, size_t size, bool last);
/* So many bytes can be taken from now on. What was offered stays offered. */
void tcp_set_room(struct tcp *tcp, size_t room);
/* So many more bytes are to be sent. */
void tcp_queue(struct tcp *tcp, size_t size);
/* No more will come after them. */
void tcp_finish(struct tcp *tcp);
/* The next segment to be sent now, which counts as sent. False: none. */
bool tcp_next(struct tcp *tcp, uint64_t now_ms, struct tcp_out *ret_out);
/* A segment of tcp_next could not be sent after all. Of several, the last one comes first. */
void tcp_unsend(struct tcp *tcp, const struct tcp_out *out);
/* deadline_ms has come. -ETIMEDOUT when the other end has been silent for too long. */
int tcp_expire(struct tcp *tcp, uint64_t now_ms);
/* The reset that ends the connection from this side. */
void tcp_reset(const struct tcp *tcp, struct tcp_out *ret_out);
/* Both sides have said their last and know it of each other. */
bool tcp_is_over(const struct tcp *tcp);

#endif
