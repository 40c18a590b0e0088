/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sock.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/msg_state.h"
#include "proto/mux.h"
#include "proto/pack.h"
#include "proto/top.h"

static char *words[] = { "sh", "-c", "", "echo 'ä'", NULL };

static const struct msg_process process_example = {
	.id = MSG_PROCESS_MAIN,
	.flags = MSG_PROCESS_TTY | MSG_PROCESS_STDIN,
	.args = words,
	.env = words,
	.cwd = "/srv",
	.user = "web:www",
	.capabilities = 0xa80425fb,
	.rows = 24,
	.columns = 80,
	.rlimit_count = 2,
	.rlimits = { { 7, 1024, UINT64_MAX }, { 6, 1, 2 } },
};

static struct msg_session session_example(void)
{
	static struct msg_mount mounts[] = {
		{ MSG_MOUNT_TMPFS, false, "", "/tmp", "size=64m" },
		{ MSG_MOUNT_BIND, true, "/a", "/b", NULL },
	};
	static struct msg_file files[] = {
		{ "/etc/hosts", "127.0.0.1 localhost\n", 0644, false, 0 },
		{ "/run/secrets/x", "a\0b", 0400, true, 3 },
	};
	static char *paths[] = { "/proc/kcore", NULL };

	return (struct msg_session){
		.version = MSG_VERSION,
		.wall_clock_ns = 1234567890123456789,
		.entropy = { 1, 2, 3 },
		.hostname = "box",
		.root_serial = "slot0",
		.root_read_only = true,
		.shm_bytes = 64 << 20,
		.limits = { 1 << 30, 2, 150, 100 },
		.default_masked = true,
		.masked_paths = paths,
		.mount_count = 2,
		.mounts = mounts,
		.file_count = 2,
		.files = files,
		.interface_count = 1,
		.interfaces = { { .mac = { 2, 1, 2, 3, 4, 5 },
				  .mtu = 1500,
				  .ipv4 = { 10, 1, 2, 4 },
				  .ipv4_gateway = { 10, 1, 2, 1 },
				  .ipv4_prefix = 24,
				  .ipv6 = { 0xfd, 0x12, [15] = 4 },
				  .ipv6_prefix = 64 } },
		.scratch_is_lost = true,
		.has_process = true,
		.process = process_example,
	};
}

static void test_frame_header(void **state)
{
	static const struct {
		struct frame_header header;
		int r;
	} cases[] = {
		{ { 0, 0, MSG_PING }, 0 },
		{ { FRAME_PAYLOAD_MAX, 0, MSG_SESSION }, 0 },
		{ { FRAME_PAYLOAD_MAX + 1, 0, MSG_SESSION }, -EPROTO },
		{ { 0, 0, 0 }, -EPROTO },
		{ { FRAME_DATA_MAX, 6, FRAME_DATA }, 0 },
		{ { FRAME_DATA_MAX + 1, 6, FRAME_DATA }, -EPROTO },
		{ { 0, UINT32_MAX, FRAME_EOF }, 0 },
		{ { 1, 6, FRAME_EOF }, -EPROTO },
		{ { 4, 6, FRAME_CREDIT }, 0 },
		{ { 5, 6, FRAME_CREDIT }, -EPROTO },
		{ { 0, 6, FRAME_RESET }, 0 },
		{ { 0, 6, FRAME_RESET + 1 }, -EPROTO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[FRAME_HEADER_SIZE];
		struct frame_header header = { 0 };

		frame_encode(&cases[i].header, bytes);
		assert_int_equal(frame_decode(bytes, &header), cases[i].r);
		if (cases[i].r == 0)
			assert_memory_equal(&header, &cases[i].header, 10);
		bytes[11] = 1; /* reserved */
		assert_int_equal(frame_decode(bytes, &header), -EPROTO);
	}
}

static void assert_process_equal(const struct msg_process *a, const struct msg_process *b)
{
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(strv_count(a->args), strv_count(b->args));
	for (size_t i = 0; b->args[i]; i++)
		assert_string_equal(a->args[i], b->args[i]);
	assert_string_equal(a->env[3], b->env[3]);
	assert_string_equal(a->cwd, b->cwd);
	assert_string_equal(a->user, b->user);
	assert_int_equal(a->capabilities, b->capabilities);
	assert_int_equal(a->rows, b->rows);
	assert_int_equal(a->columns, b->columns);
	assert_int_equal(a->rlimit_count, b->rlimit_count);
	assert_int_equal(a->rlimits[0].hard, UINT64_MAX);
	assert_int_equal(a->rlimits[1].resource, 6);
}

static void test_session_round_trip(void **state)
{
	struct msg_session in = session_example();
	CLEANUP(msg_session_release) struct msg_session out = { 0 };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_session_encode(&in, &bytes);
	assert_int_equal(msg_session_decode((uint8_t *)bytes.text, bytes.length, &out), 0);
	assert_int_equal(out.wall_clock_ns, in.wall_clock_ns);
	assert_memory_equal(out.entropy, in.entropy, sizeof(in.entropy));
	assert_string_equal(out.hostname, "box");
	assert_string_equal(out.domainname, "");
	assert_true(out.root_read_only);
	assert_int_equal(out.limits.pids, 100);
	assert_int_equal(out.limits.cpu_quota_percent, 150);
	assert_true(out.default_masked);
	assert_true(out.scratch_is_lost);
	assert_false(out.default_read_only);
	assert_string_equal(out.masked_paths[0], "/proc/kcore");
	assert_null(out.read_only_paths[0]);
	assert_int_equal(out.mount_count, 2);
	assert_string_equal(out.mounts[0].options, "size=64m");
	assert_true(out.mounts[1].read_only);
	assert_int_equal(out.files[0].size, strlen(in.files[0].content));
	assert_memory_equal(out.files[0].content, in.files[0].content, out.files[0].size);
	assert_int_equal(out.files[1].size, 3);
	assert_memory_equal(out.files[1].content, "a\0b", 3);
	assert_true(out.files[1].for_user);
	assert_int_equal(out.interface_count, 1);
	assert_memory_equal(&out.interfaces[0], &in.interfaces[0], sizeof(in.interfaces[0]));
	assert_process_equal(&out.process, &process_example);
}

static void test_interfaces_change(void **state)
{
	const struct msg_interface_change in = { .nic = 3,
						 .up = true,
						 .interface = { .mac = { 2, 0, 0, 0, 0, 9 },
								.ipv4 = { 10, 0, 0, 9 },
								.ipv4_prefix = 24 } };
	const struct msg_interface_done done_in = { 3, "it failed" };
	struct msg_interface_change out;
	struct msg_interface_done done_out;
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_interface_change_encode(&in, &bytes);
	assert_int_equal(msg_interface_change_decode((uint8_t *)bytes.text, bytes.length, &out), 0);
	assert_int_equal(out.nic, 3);
	assert_true(out.up);
	assert_memory_equal(out.interface.mac, in.interface.mac, 6);
	assert_int_equal(out.interface.ipv4_prefix, 24);
	for (size_t size = 0; size < bytes.length; size++)
		assert_int_equal(msg_interface_change_decode((uint8_t *)bytes.text, size, &out),
				 -EPROTO);
	bytes.text[0] = MSG_INTERFACES_MAX; /* no such NIC */
	assert_int_equal(msg_interface_change_decode((uint8_t *)bytes.text, bytes.length, &out),
			 -EPROTO);
	sbuf_release(&bytes);
	msg_interface_done_encode(&done_in, &bytes);
	assert_int_equal(msg_interface_done_decode((uint8_t *)bytes.text, bytes.length, &done_out),
			 0);
	assert_string_equal(done_out.message, "it failed");
	bytes.text[8] = '\n'; /* would drive the host's terminal */
	assert_int_equal(msg_interface_done_decode((uint8_t *)bytes.text, bytes.length, &done_out),
			 -EPROTO);
}

/* Every shorter message is refused, and no changed byte makes the decoder read out of bounds. */
static void test_session_damaged(void **state)
{
	struct msg_session in = session_example();
	struct msg_session out = { 0 };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_session_encode(&in, &bytes);
	for (size_t size = 0; size < bytes.length; size++) {
		AUTO_FREE uint8_t *copy = xmemdup(bytes.text, size);

		assert_int_equal(msg_session_decode(copy, size, &out), -EPROTO);
	}
	for (size_t i = 0; i < bytes.length; i++) {
		AUTO_FREE uint8_t *copy = xmemdup(bytes.text, bytes.length);

		for (unsigned value = 0; value < 256; value += 51) {
			copy[i] = (uint8_t)value;
			if (msg_session_decode(copy, bytes.length, &out) == 0)
				msg_session_release(&out);
		}
	}
	pack_u8(&bytes, 0); /* a byte too many */
	assert_int_equal(msg_session_decode((uint8_t *)bytes.text, bytes.length, &out), -EPROTO);
}

static int decode_process(const struct msg_process *process)
{
	CLEANUP(msg_process_release) struct msg_process out = { 0 };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_process_encode(process, &bytes);
	return msg_process_decode((uint8_t *)bytes.text, bytes.length, &out);
}

static void test_process_checks(void **state)
{
	static char *nothing[] = { NULL };
	struct msg_process process = process_example;

	assert_int_equal(decode_process(&process), 0);
	process.id = 0;
	assert_int_equal(decode_process(&process), -EPROTO);
	process.id = MSG_PROCESS_ID_MAX + 1;
	assert_int_equal(decode_process(&process), -EPROTO);
	process = process_example;
	process.args = nothing;
	assert_int_equal(decode_process(&process), -EPROTO);
	process = process_example;
	process.cwd = "srv";
	assert_int_equal(decode_process(&process), -EPROTO);
	process = process_example;
	process.flags = 1 << 20;
	assert_int_equal(decode_process(&process), -EPROTO);
	process = process_example;
	process.rlimits[0].resource = 16;
	assert_int_equal(decode_process(&process), -EPROTO);
}

static void test_strings_are_checked(void **state)
{
	AUTO_SBUF struct sbuf bytes = { 0 };
	struct unpack in;

	pack_string(&bytes, "abc");
	bytes.text[5] = '\0'; /* a NUL inside */
	in = (struct unpack){ .data = (uint8_t *)bytes.text, .size = bytes.length };
	assert_string_equal(unpack_string(&in), "");
	assert_int_equal(unpack_done(&in), -EPROTO);
	bytes.text[5] = 'b';
	bytes.text[7] = 'x'; /* no NUL at the end */
	in = (struct unpack){ .data = (uint8_t *)bytes.text, .size = bytes.length };
	assert_string_equal(unpack_string(&in), "");
	assert_true(in.failed);
	sbuf_release(&bytes);
	pack_u32(&bytes, UINT32_MAX); /* a list that cannot be that long */
	in = (struct unpack){ .data = (uint8_t *)bytes.text, .size = bytes.length };
	assert_null(unpack_strv(&in, MSG_STRINGS_MAX));
	assert_true(in.failed);
}

static void test_text_for_the_host_is_one_line(void **state)
{
	struct msg_failed msg = { 1, 127, "no\033[2Jsuch" };
	struct msg_failed out;
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_failed_encode(&msg, &bytes);
	assert_int_equal(msg_failed_decode((uint8_t *)bytes.text, bytes.length, &out), -EPROTO);
}

static void test_small_messages(void **state)
{
	AUTO_SBUF struct sbuf bytes = { 0 };
	struct msg_signal signal = { 3, 15, true };
	struct msg_signal signal_out;
	struct msg_exited exited = { 2, 300, false };

	msg_signal_encode(&signal, &bytes);
	assert_int_equal(msg_signal_decode((uint8_t *)bytes.text, bytes.length, &signal_out), 0);
	assert_int_equal(signal_out.signal, 15);
	assert_true(signal_out.whole_group);
	assert_int_equal(msg_signal_decode((uint8_t *)bytes.text, bytes.length - 1, &signal_out),
			 -EPROTO);
	sbuf_release(&bytes);
	msg_exited_encode(&exited, &bytes);
	assert_int_equal(msg_exited_decode((uint8_t *)bytes.text, bytes.length, &exited), -EPROTO);
}

/* One end of a channel and what its callbacks saw. */
struct end {
	struct mux *mux;
	struct sbuf received; /* of all streams */
	unsigned controls, eofs, resets, writables;
	uint16_t last_control;
	bool consume; /* give credit back at once */
	bool echo;    /* answer each control message */
	bool close_in_data;
	bool closed;
	int error;
};

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct end *end = ctx;

	end->controls++;
	end->last_control = type;
	if (end->echo)
		mux_send_control(end->mux, MSG_PONG, payload, size);
	return type == 999 ? -EPROTO : 0;
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct end *end = ctx;

	sbuf_add_bytes(&end->received, data, size);
	if (end->consume)
		mux_consumed(end->mux, stream, size);
	if (end->close_in_data)
		mux_close(end->mux, stream);
}

static void on_eof(void *ctx, uint32_t stream)
{
	((struct end *)ctx)->eofs++;
}

static void on_reset(void *ctx, uint32_t stream)
{
	((struct end *)ctx)->resets++;
}

static void on_writable(void *ctx, uint32_t stream)
{
	((struct end *)ctx)->writables++;
}

static void on_closed(void *ctx, int error)
{
	struct end *end = ctx;

	assert_false(end->closed);
	end->closed = true;
	end->error = error;
}

static const struct mux_ops end_ops = {
	.control = on_control,
	.data = on_data,
	.eof = on_eof,
	.reset = on_reset,
	.writable = on_writable,
	.closed = on_closed,
};

/* Two ends on one loop; or b alone without a mux, as a raw descriptor. */
struct channel {
	struct loop *loop;
	struct end a, b;
	int raw;
};

static int channel_setup(void **state)
{
	struct channel *c = xcalloc(1, sizeof(*c));
	int fds[2];

	assert_int_equal(sock_pair(fds, NULL), 0);
	c->loop = loop_new();
	c->a.mux = mux_new(c->loop, fds[0], false, &end_ops, &c->a);
	c->b.mux = mux_new(c->loop, fds[1], false, &end_ops, &c->b);
	c->raw = -1;
	*state = c;
	return 0;
}

static int raw_setup(void **state)
{
	struct channel *c = xcalloc(1, sizeof(*c));
	int fds[2];

	assert_int_equal(sock_pair(fds, NULL), 0);
	c->loop = loop_new();
	c->a.mux = mux_new(c->loop, fds[0], false, &end_ops, &c->a);
	c->raw = fds[1];
	fd_set_nonblock(c->raw, true);
	*state = c;
	return 0;
}

static int channel_teardown(void **state)
{
	struct channel *c = *state;

	mux_free(c->a.mux);
	mux_free(c->b.mux);
	if (c->raw >= 0)
		close(c->raw);
	loop_free(c->loop);
	sbuf_release(&c->a.received);
	sbuf_release(&c->b.received);
	free(c);
	return 0;
}

static void settle(struct channel *c)
{
	for (int i = 0; i < 1000 && loop_run_once(c->loop, 0) > 0; i++)
		;
}

static void open_both(struct channel *c, uint32_t stream, uint32_t window)
{
	assert_int_equal(mux_open(c->a.mux, stream, window), 0);
	assert_int_equal(mux_send_control(c->a.mux, MSG_EXEC, "", 0), 0);
	assert_int_equal(mux_open(c->b.mux, stream, window), 0);
	settle(c);
}

static void test_mux_credit(void **state)
{
	struct channel *c = *state;
	static char block[100000];

	open_both(c, 5, 1000);
	assert_int_equal(mux_send_room(c->a.mux, 5), 1000);
	assert_int_equal(mux_send(c->a.mux, 5, block, sizeof(block)), 1000);
	assert_int_equal(mux_send(c->a.mux, 5, block, 1), 0);
	settle(c);
	assert_int_equal(c->b.received.length, 1000);
	assert_int_equal(c->a.writables, 0);
	mux_consumed(c->b.mux, 5, 100); /* less than a quarter: kept back */
	settle(c);
	assert_int_equal(mux_send_room(c->a.mux, 5), 0);
	mux_consumed(c->b.mux, 5, 900);
	settle(c);
	assert_int_equal(c->a.writables, 1);
	assert_int_equal(mux_send(c->a.mux, 5, block, sizeof(block)), 1000);
	mux_send_eof(c->a.mux, 5);
	assert_int_equal(mux_send(c->a.mux, 5, block, 1), -EPIPE);
	settle(c);
	assert_int_equal(c->b.eofs, 1);
	assert_int_equal(c->b.received.length, 2000);
	mux_send_reset(c->a.mux, 5);
	settle(c);
	assert_int_equal(c->b.resets, 1);
	assert_int_equal(mux_send(c->b.mux, 5, block, 1), -EPIPE);
}

static void test_mux_slow_stream_does_not_stop_others(void **state)
{
	struct channel *c = *state;
	static char block[MUX_WINDOW_DEFAULT];
	size_t sent = 0;

	open_both(c, 5, MUX_WINDOW_DEFAULT); /* nobody consumes it */
	while (mux_send(c->a.mux, 5, block, sizeof(block)) > 0)
		settle(c);
	assert_int_equal(c->b.received.length, MUX_WINDOW_DEFAULT);
	c->b.consume = true;
	open_both(c, 9, MUX_WINDOW_DEFAULT);
	while (sent < 4 * sizeof(block)) {
		ssize_t n = mux_send(c->a.mux, 9, block, sizeof(block));

		assert_true(n >= 0);
		sent += (size_t)n;
		settle(c);
	}
	assert_int_equal(c->b.received.length, MUX_WINDOW_DEFAULT + sent);
	assert_int_equal(mux_send_control(c->a.mux, MSG_PING, "", 0), 0);
	settle(c);
	assert_int_equal(c->b.last_control, MSG_PING);
}

static void test_mux_message_bounds(void **state)
{
	struct channel *c = *state;
	static char block[FRAME_PAYLOAD_MAX + 1];

	assert_int_equal(mux_send_control(c->a.mux, 7, block, FRAME_PAYLOAD_MAX + 1), -EMSGSIZE);
	assert_int_equal(mux_send_control(c->a.mux, 7, block, FRAME_PAYLOAD_MAX), 0);
	settle(c);
	assert_int_equal(c->b.controls, 1);
	assert_int_equal(mux_send_control(c->a.mux, 999, block, 0), 0); /* the owner refuses it */
	settle(c);
	assert_true(c->b.closed);
	assert_int_equal(c->b.error, -EPROTO);
}

static void test_mux_end_after_last_message(void **state)
{
	struct channel *c = *state;

	mux_send_control(c->a.mux, MSG_EXITED, "x", 1);
	c->a.mux = mux_free(c->a.mux);
	mux_send_control(c->b.mux, MSG_PING, "", 0); /* fails, but what came first is delivered */
	settle(c);
	assert_int_equal(c->b.last_control, MSG_EXITED);
	assert_true(c->b.closed);
	assert_int_equal(c->b.error, 0);
	assert_int_equal(mux_send_control(c->b.mux, MSG_PING, "", 0), -EPIPE);
}

static void test_mux_close_in_callback(void **state)
{
	struct channel *c = *state;

	c->b.close_in_data = true;
	open_both(c, 5, 1000);
	mux_send(c->a.mux, 5, "one", 3);
	mux_send(c->a.mux, 5, "two", 3);
	mux_send_eof(c->a.mux, 5);
	settle(c);
	assert_int_equal(c->b.received.length, 3);
	assert_int_equal(c->b.eofs, 0);
	assert_false(c->b.closed);
	assert_int_equal(mux_open(c->a.mux, 5, 1), -EEXIST);
	assert_int_equal(mux_open(c->b.mux, 5, 1), 0);
}

/* Frames written by hand to the raw descriptor. */
static void put(struct channel *c, uint32_t stream, uint16_t type, const void *data, uint32_t size)
{
	struct frame_header header = { size, stream, type };
	uint8_t bytes[FRAME_HEADER_SIZE];

	frame_encode(&header, bytes);
	assert_int_equal(fd_write_all(c->raw, bytes, sizeof(bytes)), 0);
	assert_int_equal(fd_write_all(c->raw, data, size), 0);
	settle(c);
}

static void test_mux_partial_frames(void **state)
{
	struct channel *c = *state;
	struct frame_header header = { 3, 0, MSG_PING };
	uint8_t bytes[FRAME_HEADER_SIZE + 3] = { 0 };

	frame_encode(&header, bytes);
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof(bytes); i++) {
			assert_int_equal(write(c->raw, &bytes[i], 1), 1);
			settle(c);
		}
	assert_int_equal(c->a.controls, 3);
}

static void test_mux_over_credit(void **state)
{
	struct channel *c = *state;

	mux_open(c->a.mux, 5, 2);
	settle(c);
	put(c, 5, FRAME_DATA, "ab", 2);
	put(c, 7, FRAME_DATA, "unknown streams are dropped", 27);
	assert_false(c->a.closed);
	put(c, 5, FRAME_DATA, "c", 1);
	assert_true(c->a.closed);
	assert_int_equal(c->a.error, -EPROTO);
	assert_int_equal(c->a.received.length, 2);
}

static void test_mux_data_after_eof(void **state)
{
	struct channel *c = *state;

	mux_open(c->a.mux, 5, 2);
	settle(c);
	put(c, 5, FRAME_EOF, "", 0);
	put(c, 5, FRAME_DATA, "a", 1);
	assert_int_equal(c->a.error, -EPROTO);
}

static void test_mux_credit_overflow(void **state)
{
	struct channel *c = *state;

	mux_open(c->a.mux, 5, 2);
	put(c, 5, FRAME_CREDIT, "\xff\xff\xff\xff", 4);
	assert_false(c->a.closed);
	put(c, 5, FRAME_CREDIT, "\x01\0\0\0", 4);
	assert_int_equal(c->a.error, -EPROTO);
}

static void test_mux_garbage(void **state)
{
	struct channel *c = *state;

	fd_write_all(c->raw, "GET / HTTP/1.1\r\n\r\n", 18);
	settle(c);
	assert_int_equal(c->a.error, -EPROTO);
}

/* A peer that asks for ever and never reads the answers ends the channel, not our memory. */
static void test_mux_flood(void **state)
{
	struct channel *c = *state;
	static char block[60000];

	c->a.echo = true;
	for (int i = 0; i < 1000 && !c->a.closed; i++)
		put(c, 0, MSG_PING, block, sizeof(block));
	assert_true(c->a.closed);
	assert_int_equal(c->a.error, -ENOBUFS);
}

static void test_mux_stream_limit(void **state)
{
	struct channel *c = *state;

	for (uint32_t i = 1; i <= MUX_STREAMS_MAX; i++)
		assert_int_equal(mux_open(c->a.mux, i, 1), 0);
	assert_int_equal(mux_open(c->a.mux, MUX_STREAMS_MAX + 1, 1), -EMFILE);
	mux_restart(c->a.mux);
	assert_int_equal(mux_open(c->a.mux, 5, 0), 0);
}

static void test_mux_flush(void **state)
{
	struct channel *c = *state;
	static char block[FRAME_PAYLOAD_MAX];

	for (int i = 0; i < 4; i++)
		mux_send_control(c->a.mux, 7, block, sizeof(block));
	assert_false(mux_flushed(c->a.mux));
	assert_int_equal(mux_flush(c->a.mux, 1), -ETIMEDOUT);
	while (read(c->raw, block, sizeof(block)) > 0)
		mux_flush(c->a.mux, 1);
	assert_true(mux_flushed(c->a.mux));
}

static void test_mux_held(void **state)
{
	struct channel *c = *state;

	open_both(c, 5, 1000);
	c->b.controls = 0;
	mux_hold(c->a.mux, true);
	assert_int_equal(mux_send_room(c->a.mux, 5), 0);
	assert_int_equal(mux_send(c->a.mux, 5, "x", 1), 0);
	assert_int_equal(mux_send_control(c->a.mux, MSG_PING, "", 0), 0);
	settle(c);
	assert_int_equal(c->b.controls, 0);
	assert_false(mux_flushed(c->a.mux));
	/* The other direction is not concerned. */
	assert_int_equal(mux_send(c->b.mux, 5, "y", 1), 1);
	settle(c);
	assert_string_equal(c->a.received.text, "y");
	mux_hold(c->a.mux, false);
	settle(c);
	assert_int_equal(c->b.controls, 1);
	assert_int_equal(c->a.writables, 1);
	assert_int_equal(mux_send(c->a.mux, 5, "x", 1), 1);
	settle(c);
	assert_string_equal(c->b.received.text, "x");
}

static void test_mux_restart_lets_go(void **state)
{
	struct channel *c = *state;

	mux_hold(c->a.mux, true);
	mux_send_control(c->a.mux, MSG_PING, "", 0); /* of before: dropped */
	mux_restart(c->a.mux);
	mux_send_control(c->a.mux, MSG_PONG, "", 0);
	settle(c);
	assert_int_equal(c->b.controls, 1);
	assert_int_equal(c->b.last_control, MSG_PONG);
}

static void test_rejoin_round_trip(void **state)
{
	static const uint8_t session[] = { 1, 2, 3 };
	struct msg_rejoin rejoin = { .is_copy = true,
				     .generation = 2,
				     .index = 3,
				     .count = 4,
				     .id = "web-3",
				     .origin = "web",
				     .signal = 10,
				     .session = session,
				     .session_size = sizeof(session) };
	AUTO_SBUF struct sbuf bytes = { 0 };
	struct msg_rejoin out;

	msg_rejoin_encode(&rejoin, &bytes);
	assert_int_equal(msg_rejoin_decode((uint8_t *)bytes.text, bytes.length, &out), 0);
	assert_true(out.is_copy);
	assert_int_equal(out.generation, 2);
	assert_int_equal(out.index, 3);
	assert_int_equal(out.count, 4);
	assert_string_equal(out.id, "web-3");
	assert_string_equal(out.origin, "web");
	assert_int_equal(out.signal, 10);
	assert_int_equal(out.session_size, sizeof(session));
	assert_memory_equal(out.session, session, sizeof(session));
	for (size_t size = 0; size < bytes.length; size++)
		assert_int_equal(msg_rejoin_decode((uint8_t *)bytes.text, size, &out), -EPROTO);
	sbuf_release(&bytes);
	rejoin.signal = 65;
	msg_rejoin_encode(&rejoin, &bytes);
	assert_int_equal(msg_rejoin_decode((uint8_t *)bytes.text, bytes.length, &out), -EPROTO);
	sbuf_release(&bytes);
	rejoin.signal = 0;
	rejoin.index = 5;
	msg_rejoin_encode(&rejoin, &bytes);
	assert_int_equal(msg_rejoin_decode((uint8_t *)bytes.text, bytes.length, &out), -EPROTO);
}

#define CHANNEL_TEST(fn) cmocka_unit_test_setup_teardown(fn, channel_setup, channel_teardown)
#define RAW_TEST(fn) cmocka_unit_test_setup_teardown(fn, raw_setup, channel_teardown)

static void test_top_round_trip(void **state)
{
	struct top_process items[] = { { 1, 0, 0, 90061, 61000, "sh -c 'x'" },
				       { 7, 1, 33, 1, 0, "[worker]" } };
	AUTO_SBUF struct sbuf out = { 0 };
	struct msg_top top;
	char long_command[TOP_COMMAND_MAX + 2];

	msg_top_encode(&(struct msg_top){ ARRAY_SIZE(items), items }, &out);
	assert_int_equal(msg_top_decode((uint8_t *)out.text, out.length, &top), 0);
	assert_int_equal(top.count, 2);
	assert_int_equal(top.items[0].age_s, 90061);
	assert_int_equal(top.items[1].parent, 1);
	assert_int_equal(top.items[1].uid, 33);
	assert_string_equal(top.items[1].command, "[worker]");
	msg_top_release(&top);
	for (size_t size = 0; size < out.length; size++)
		assert_int_equal(msg_top_decode((uint8_t *)out.text, size, &top), -EPROTO);
	sbuf_release(&out);
	memset(long_command, 'x', sizeof(long_command) - 1);
	long_command[sizeof(long_command) - 1] = '\0';
	items[0].command = long_command;
	msg_top_encode(&(struct msg_top){ 1, items }, &out);
	assert_int_equal(msg_top_decode((uint8_t *)out.text, out.length, &top), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_header),
		cmocka_unit_test(test_session_round_trip),
		cmocka_unit_test(test_session_damaged),
		cmocka_unit_test(test_interfaces_change),
		cmocka_unit_test(test_process_checks),
		cmocka_unit_test(test_strings_are_checked),
		cmocka_unit_test(test_text_for_the_host_is_one_line),
		cmocka_unit_test(test_small_messages),
		cmocka_unit_test(test_rejoin_round_trip),
		cmocka_unit_test(test_top_round_trip),
		CHANNEL_TEST(test_mux_held),
		CHANNEL_TEST(test_mux_restart_lets_go),
		CHANNEL_TEST(test_mux_credit),
		CHANNEL_TEST(test_mux_slow_stream_does_not_stop_others),
		CHANNEL_TEST(test_mux_message_bounds),
		CHANNEL_TEST(test_mux_end_after_last_message),
		CHANNEL_TEST(test_mux_close_in_callback),
		RAW_TEST(test_mux_partial_frames),
		RAW_TEST(test_mux_over_credit),
		RAW_TEST(test_mux_data_after_eof),
		RAW_TEST(test_mux_credit_overflow),
		RAW_TEST(test_mux_garbage),
		RAW_TEST(test_mux_flood),
		RAW_TEST(test_mux_stream_limit),
		RAW_TEST(test_mux_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
