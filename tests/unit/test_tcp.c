/* SPDX-License-Identifier: Apache-2.0 */
/* TCP without sockets: two ends of a connection over a way that loses, repeats and reorders, and an
 * end alone against what a member may say. */
#include "test.h"

#include <errno.h>

#include "net/tcp_core.h"
#include "net/tcp_wire.h"

#define MSS 1000
#define WAY_MAX 64
#define STREAM 300000
#define TURNS_MAX 400000

/* One end: what it says is byte n = n * 7 + n / 251 of a stream, so that it can be checked. */
struct end {
	struct tcp tcp;
	size_t said, heard, acknowledged, to_say;
	bool opened, over, heard_end;
};

struct flying {
	struct tcp_out out;
	size_t first; /* of its data in the stream */
};

/* One way between two ends. */
struct way {
	struct flying items[WAY_MAX];
	size_t count;
};

static uint64_t now_ms;
static uint32_t random_state;

static uint32_t roll(uint32_t sides)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % sides;
}

static uint8_t byte_of(size_t n)
{
	return (uint8_t)(n * 7 + n / 251);
}

static struct tcp_segment segment_of(const struct flying *flying, uint8_t *data)
{
	const struct tcp_out *out = &flying->out;

	for (size_t i = 0; i < out->size; i++)
		data[i] = byte_of(flying->first + i);
	return (struct tcp_segment){ .seq = out->seq,
				     .ack = out->ack,
				     .window = out->window,
				     .flags = out->flags,
				     .mss = out->mss,
				     .shift = out->shift,
				     .data = data,
				     .size = out->size };
}

static void hear(struct end *end, const struct flying *flying)
{
	uint8_t data[MSS];
	struct tcp_segment segment = segment_of(flying, data);
	struct tcp_effect effect;
	size_t taken;

	tcp_receive(&end->tcp, &segment, now_ms, &effect);
	assert_false(effect.reset);
	assert_false(effect.refused);
	assert_false(effect.stray);
	end->opened |= effect.opened;
	end->acknowledged += effect.forgotten;
	assert_true(end->acknowledged <= end->said);
	/* Not always all of it is taken. */
	taken = effect.size && roll(8) == 0 ? roll((uint32_t)effect.size) : effect.size;
	for (size_t i = 0; i < taken; i++)
		assert_int_equal(effect.data[i], byte_of(end->heard + i));
	end->heard += taken;
	end->heard_end |= effect.last && taken == effect.size;
	tcp_take(&end->tcp, taken, effect.last && taken == effect.size);
}

/* chances: of a hundred, to be lost, said twice, overtaken. */
static void fly(struct way *way, struct end *to, const uint32_t chances[3])
{
	struct flying flying;
	size_t pick = roll(100) < chances[2] ? roll((uint32_t)way->count) : 0;

	flying = way->items[pick];
	memmove(&way->items[pick], &way->items[pick + 1], (way->count - pick - 1) * sizeof(flying));
	way->count--;
	if (roll(100) < chances[0])
		return;
	hear(to, &flying);
	if (roll(100) < chances[1])
		hear(to, &flying);
}

static void say(struct end *end, struct way *way)
{
	struct tcp_out out;
	size_t more = end->to_say - end->said;

	if (end->opened && more && end->tcp.queued < 20000) {
		more = more < 5000 ? more : 1 + roll(5000);
		tcp_queue(&end->tcp, more);
		end->said += more;
		if (end->said == end->to_say)
			tcp_finish(&end->tcp);
	}
	while (way->count < WAY_MAX && tcp_next(&end->tcp, now_ms, &out)) {
		assert_true(out.size <= MSS && out.offset + out.size <= end->tcp.queued);
		if (roll(20) == 0) { /* a port that is full */
			tcp_unsend(&end->tcp, &out);
			return;
		}
		way->items[way->count++] =
			(struct flying){ .out = out, .first = end->acknowledged + out.offset };
	}
}

static void expire(struct end *end)
{
	if (end->tcp.deadline_ms && end->tcp.deadline_ms <= now_ms)
		assert_int_equal(tcp_expire(&end->tcp, now_ms), 0);
}

static void converse(uint32_t seed, const uint32_t chances[3], uint32_t first_number, size_t room)
{
	struct end a = { .to_say = STREAM }, b = { .to_say = STREAM / 2 };
	struct way ab = { 0 }, ba = { 0 };
	struct tcp_segment syn;
	struct tcp_out out;

	random_state = seed;
	now_ms = 1000;
	tcp_open(&a.tcp, first_number, MSS, room, now_ms);
	assert_true(tcp_next(&a.tcp, now_ms, &out));
	syn = segment_of(&(struct flying){ .out = out }, NULL);
	tcp_answer(&b.tcp, &syn, first_number + 99, MSS, room, now_ms);
	for (int i = 0; i < TURNS_MAX && !(tcp_is_over(&a.tcp) && tcp_is_over(&b.tcp)); i++) {
		say(&a, &ab);
		say(&b, &ba);
		if (ab.count == 0 && ba.count == 0)
			now_ms += 50;
		else if (roll(4) == 0)
			now_ms++;
		if (ab.count && roll(2))
			fly(&ab, &b, chances);
		if (ba.count && roll(2))
			fly(&ba, &a, chances);
		expire(&a);
		expire(&b);
	}
	assert_true(tcp_is_over(&a.tcp) && tcp_is_over(&b.tcp));
	assert_int_equal(b.heard, STREAM);
	assert_int_equal(a.heard, STREAM / 2);
	assert_true(a.heard_end && b.heard_end);
	assert_int_equal(a.acknowledged, STREAM);
}

static void test_all_arrives_in_order_whatever_the_way_does(void **state)
{
	static const uint32_t ways[][3] = { { 0, 0, 0 },  { 10, 0, 0 },   { 0, 20, 0 },
					    { 0, 0, 30 }, { 10, 10, 20 }, { 40, 5, 10 } };
	static const uint32_t numbers[] = { 1, UINT32_MAX - 5, UINT32_MAX - 100000,
					    INT32_MAX - 50000u };
	static const size_t rooms[] = { 500000, 3000, 1000, 70 };

	for (size_t i = 0; i < 6; i++)
		for (size_t j = 0; j < 4; j++)
			converse((uint32_t)(i * 16 + j), ways[i], numbers[j], rooms[j]);
}

/* The other end by hand: a connection that is open, with window 8000 and nothing said. */
static struct tcp opened(void)
{
	struct tcp tcp;
	struct tcp_segment segment = {
		.seq = 5000, .flags = TCP_SYN, .window = 8000, .mss = MSS, .shift = TCP_NO_SHIFT
	};
	struct tcp_effect effect;
	struct tcp_out out;

	tcp_answer(&tcp, &segment, 100, MSS, 4000, 1000);
	assert_true(tcp_next(&tcp, 1000, &out));
	assert_int_equal(out.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(out.shift, TCP_NO_SHIFT);
	assert_int_equal(out.ack, 5001);
	segment = (struct tcp_segment){ .seq = 5001, .ack = 101, .flags = TCP_ACK, .window = 8000 };
	tcp_receive(&tcp, &segment, 1000, &effect);
	assert_true(effect.opened);
	assert_false(tcp_next(&tcp, 1000, &out));
	return tcp;
}

static struct tcp_effect receive(struct tcp *tcp, uint8_t flags, uint32_t seq, uint32_t ack,
				 uint16_t window, size_t size)
{
	static const uint8_t data[65536];
	struct tcp_segment segment = { .seq = seq,
				       .ack = ack,
				       .flags = flags,
				       .window = window,
				       .data = data,
				       .size = size,
				       .shift = TCP_NO_SHIFT };
	struct tcp_effect effect;

	tcp_receive(tcp, &segment, 2000, &effect);
	return effect;
}

static void assert_next(struct tcp *tcp, uint8_t flags, uint32_t seq, size_t size)
{
	struct tcp_out out;

	assert_true(tcp_next(tcp, 2000, &out));
	assert_int_equal(out.flags, flags);
	assert_int_equal(out.seq, seq);
	assert_int_equal(out.size, size);
}

static void assert_silent(struct tcp *tcp)
{
	struct tcp_out out;

	assert_false(tcp_next(tcp, 2000, &out));
}

static void test_resets_count_at_their_place_alone(void **state)
{
	struct tcp tcp = opened();

	assert_false(receive(&tcp, TCP_RST, 5000, 0, 0, 0).reset);
	assert_silent(&tcp);
	assert_false(receive(&tcp, TCP_RST, 5002, 0, 0, 0).reset);
	assert_next(&tcp, TCP_ACK, 101, 0); /* a challenge */
	assert_false(receive(&tcp, TCP_RST | TCP_ACK, 5001 + 4001, 101, 0, 0).reset);
	assert_silent(&tcp);
	/* A SYN where there is a connection is challenged as well. */
	assert_false(receive(&tcp, TCP_SYN, 5001, 0, 0, 0).reset);
	assert_next(&tcp, TCP_ACK, 101, 0);
	assert_true(receive(&tcp, TCP_RST, 5001, 0, 0, 0).reset);
}

static void test_what_lies_outside_of_the_windows_changes_nothing(void **state)
{
	struct tcp tcp = opened();
	struct tcp_effect effect;

	/* Acknowledgments of what was not sent, or was long ago; data before and beyond. */
	static const struct {
		uint32_t seq, ack;
		size_t size;
	} said[] = { { 5001, 102, 10 },
		     { 5001, 101 - 20000, 10 },
		     { 5001 - 500, 101, 500 },
		     { 5001 + 4001, 101, 10 },
		     { 5001, 101 + 0x80000000, 10 } };

	for (size_t i = 0; i < 5; i++) {
		effect = receive(&tcp, TCP_ACK, said[i].seq, said[i].ack, 8000, said[i].size);
		assert_int_equal(effect.size, 0);
		assert_int_equal(effect.forgotten, 0);
		assert_next(&tcp, TCP_ACK, 101, 0);
		assert_silent(&tcp);
	}
	/* Of what overlaps, what is new and within. */
	effect = receive(&tcp, TCP_ACK | TCP_FIN, 5001 - 500, 101, 8000, 10000);
	assert_int_equal(effect.size, 4000);
	assert_false(effect.last);
	tcp_take(&tcp, 4000, false);
	/* A gap is told; what closes it is taken. */
	tcp_set_room(&tcp, 4000);
	assert_next(&tcp, TCP_ACK, 101, 0);
	assert_int_equal(receive(&tcp, TCP_ACK, 9002, 101, 8000, 10).size, 0);
	assert_next(&tcp, TCP_ACK, 101, 0);
	assert_int_equal(receive(&tcp, TCP_ACK, 9001, 101, 8000, 11).size, 11);
}

static void test_what_is_lost_is_said_again(void **state)
{
	struct tcp tcp = opened();

	tcp_queue(&tcp, 2500);
	assert_next(&tcp, TCP_ACK, 101, 1000);
	assert_next(&tcp, TCP_ACK, 1101, 1000);
	assert_next(&tcp, TCP_ACK | TCP_PSH, 2101, 500);
	/* After three repetitions at once, and on from there until all is known. */
	for (int i = 0; i < 3; i++) {
		assert_silent(&tcp);
		receive(&tcp, TCP_ACK, 5001, 101, 8000, 0);
	}
	assert_next(&tcp, TCP_ACK | TCP_PSH, 101, 1000);
	assert_silent(&tcp);
	assert_int_equal(receive(&tcp, TCP_ACK, 5001, 1101, 8000, 0).forgotten, 1000);
	assert_next(&tcp, TCP_ACK | TCP_PSH, 1101, 1000);
	/* After a time, and then twice the time. */
	assert_true(tcp.deadline_ms > 2000);
	assert_int_equal(tcp_expire(&tcp, tcp.deadline_ms), 0);
	assert_next(&tcp, TCP_ACK | TCP_PSH, 1101, 1000);
	assert_int_equal(tcp.deadline_ms, 2000 + 400);
	assert_int_equal(receive(&tcp, TCP_ACK, 5001, 2601, 8000, 0).forgotten, 1500);
	assert_int_equal(tcp.deadline_ms, 0);
	assert_silent(&tcp);
	/* Nobody waits for ever, but one that had nothing to say for long is not given up at once.
	 */
	tcp.heard_ms = 0;
	tcp_queue(&tcp, 10);
	assert_next(&tcp, TCP_ACK | TCP_PSH, 2601, 10);
	assert_int_equal(tcp_expire(&tcp, 2200), 0);
	assert_int_equal(tcp_expire(&tcp, 2000 + 900000), -ETIMEDOUT);
}

static void test_windows_are_kept_and_probed(void **state)
{
	struct tcp tcp = opened();
	struct tcp_out out;

	receive(&tcp, TCP_ACK, 5001, 101, 1500, 0);
	tcp_queue(&tcp, 3000);
	assert_next(&tcp, TCP_ACK, 101, 1000);
	assert_silent(&tcp); /* half a segment is not worth it */
	receive(&tcp, TCP_ACK, 5001, 1101, 0, 0);
	assert_silent(&tcp);
	assert_true(tcp.deadline_ms > 2000);
	assert_int_equal(tcp_expire(&tcp, 2500), 0);
	assert_next(&tcp, TCP_ACK, 1100, 0); /* before what is known: it must be answered */
	receive(&tcp, TCP_ACK, 5001, 1101, 8000, 0);
	assert_next(&tcp, TCP_ACK, 1101, 1000);
	assert_next(&tcp, TCP_ACK | TCP_PSH, 2101, 1000);
	/* Ours never shrinks, and what is gained is told when it is much. */
	assert_int_equal(receive(&tcp, TCP_ACK, 5001, 1101, 8000, 4000).size, 4000);
	tcp_take(&tcp, 4000, false);
	tcp_set_room(&tcp, 0);
	assert_true(tcp_next(&tcp, 2000, &out));
	assert_int_equal(out.window, 0);
	assert_int_equal(receive(&tcp, TCP_ACK, 9001, 1101, 8000, 1).size, 0);
	assert_next(&tcp, TCP_ACK, 3101, 0);
	tcp_set_room(&tcp, 4000);
	assert_true(tcp_next(&tcp, 2000, &out));
	assert_int_equal(out.window, 4000);
	assert_silent(&tcp);
}

static void test_each_side_ends_by_itself(void **state)
{
	struct tcp tcp = opened();
	struct tcp_effect effect;

	tcp_finish(&tcp);
	assert_next(&tcp, TCP_ACK | TCP_FIN, 101, 0);
	receive(&tcp, TCP_ACK, 5001, 102, 8000, 0);
	assert_false(tcp_is_over(&tcp));
	effect = receive(&tcp, TCP_ACK | TCP_FIN, 5001, 102, 8000, 20);
	assert_true(effect.last && effect.size == 20);
	/* What is taken in part is not at its end. */
	tcp_take(&tcp, 10, false);
	assert_next(&tcp, TCP_ACK, 102, 0);
	effect = receive(&tcp, TCP_ACK | TCP_FIN, 5001, 102, 8000, 20);
	assert_true(effect.last && effect.size == 10);
	tcp_take(&tcp, 10, true);
	assert_true(tcp_is_over(&tcp));
	assert_next(&tcp, TCP_ACK, 102, 0);
	/* And repeated, it is acknowledged once more. */
	assert_int_equal(receive(&tcp, TCP_ACK | TCP_FIN, 5001, 102, 8000, 20).size, 0);
	assert_next(&tcp, TCP_ACK, 102, 0);
}

static void test_opening_is_asked_again_and_refused(void **state)
{
	struct tcp tcp;
	struct tcp_out out;

	tcp_open(&tcp, 100, MSS, 4000, 2000);
	assert_next(&tcp, TCP_SYN, 100, 0);
	assert_silent(&tcp);
	assert_true(tcp.deadline_ms <= 2100);
	assert_int_equal(tcp_expire(&tcp, 2100), 0);
	assert_next(&tcp, TCP_SYN, 100, 0);
	/* The answer to another connection, and resets that answer nothing. */
	assert_true(receive(&tcp, TCP_ACK, 7, 900, 0, 0).stray);
	assert_false(receive(&tcp, TCP_RST, 7, 0, 0, 0).refused);
	assert_false(receive(&tcp, TCP_RST | TCP_ACK, 0, 100, 0, 0).refused);
	assert_true(receive(&tcp, TCP_RST | TCP_ACK, 0, 101, 0, 0).refused);
	assert_int_equal(tcp_expire(&tcp, 2000 + 75000), -ETIMEDOUT);
	assert_true(receive(&tcp, TCP_SYN | TCP_ACK, 7, 101, 500, 0).opened);
	assert_true(tcp_next(&tcp, 2000, &out));
	assert_int_equal(out.ack, 8);
}

/* Linux forgets whom it has answered when a program is slow to accept. */
/* Opened by us, all of 30 bytes said, none acknowledged. */
static void say_all(struct tcp *tcp)
{
	tcp_open(tcp, 100, MSS, 4000, 2000);
	assert_next(tcp, TCP_SYN, 100, 0);
	assert_true(receive(tcp, TCP_SYN | TCP_ACK, 7, 101, 500, 0).opened);
	tcp_queue(tcp, 30);
	tcp_finish(tcp);
	assert_next(tcp, TCP_ACK | TCP_PSH | TCP_FIN, 101, 30);
}

static void test_one_that_was_forgotten_is_opened_again(void **state)
{
	struct tcp tcp;

	for (int known = 0; known < 2; known++) {
		say_all(&tcp);
		/* What a program said, or one that had data. */
		assert_false(receive(&tcp, TCP_RST | TCP_ACK, 8, 101, 0, 0).unknown);
		if (known)
			receive(&tcp, TCP_ACK, 8, 131, 500, 0);
		assert_int_equal(receive(&tcp, TCP_RST, 8, 0, 0, 0).unknown, !known);
	}
	say_all(&tcp);
	assert_true(tcp_open_again(&tcp, 9000, 3000));
	assert_silent(&tcp);
	assert_int_equal(tcp_expire(&tcp, tcp.deadline_ms), 0);
	assert_next(&tcp, TCP_SYN, 9000, 0);
	assert_true(receive(&tcp, TCP_SYN | TCP_ACK, 70, 9001, 500, 0).opened);
	assert_next(&tcp, TCP_ACK | TCP_PSH | TCP_FIN, 9001, 30);
	assert_false(tcp_open_again(&tcp, 9000, 2000 + 75000));
}

static void test_headers_have_the_checksum_of_what_follows(void **state)
{
	uint8_t frame[256], data[] = "of which the parts are odd";
	struct tcp_ends ends = { .v6 = true, .remote_port = 4321, .own_port = 80 };
	struct tcp_out out = { .seq = 7,
			       .ack = 9,
			       .window = 1,
			       .flags = TCP_SYN | TCP_ACK,
			       .mss = 1234,
			       .shift = 4,
			       .size = 26 };
	const uint8_t mac[6] = { 2 };

	ends.own.s6_addr[0] = 0xfd;
	for (int v6 = 0; v6 < 2; v6++) {
		struct iovec parts[2] = { { data, 11 }, { data + 11, 15 } };
		struct tcp_segment segment;
		struct packet packet;
		uint32_t sum;
		size_t size;

		ends.v6 = v6;
		size = tcp_make_headers(frame, mac, mac, &ends, &out, parts);
		memcpy(frame + size, data, 26);
		assert_int_equal(packet_parse(frame, size + 26, &packet), 0);
		assert_int_equal(packet.destination_port, 80);
		tcp_parse(&packet, &segment);
		assert_int_equal(segment.seq, 7);
		assert_int_equal(segment.mss, 1234);
		assert_int_equal(segment.shift, 4);
		assert_int_equal(segment.size, 26);
		sum = packet_sum(IPPROTO_TCP + (uint32_t)(packet.end - packet.transport),
				 frame + packet.transport, packet.end - packet.transport);
		sum = packet_sum(sum, frame + ETH_HLEN + (v6 ? 8 : 12), v6 ? 32 : 8);
		assert_int_equal(sum, 0xffff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_arrives_in_order_whatever_the_way_does),
		cmocka_unit_test(test_resets_count_at_their_place_alone),
		cmocka_unit_test(test_what_lies_outside_of_the_windows_changes_nothing),
		cmocka_unit_test(test_what_is_lost_is_said_again),
		cmocka_unit_test(test_windows_are_kept_and_probed),
		cmocka_unit_test(test_each_side_ends_by_itself),
		cmocka_unit_test(test_opening_is_asked_again_and_refused),
		cmocka_unit_test(test_one_that_was_forgotten_is_opened_again),
		cmocka_unit_test(test_headers_have_the_checksum_of_what_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
