/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: what passes through them, between both ends and from hostile ones, and whose they are. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/sock.h"
#include "guest/bulk.h"
#include "proto/bulk.h"
#include "proto/le.h"
#include "shim/bulk.h"
#include "shim/bulk_client.h"
#include "shim/shim.h"

/* Round the lane and a bit. */
#define MUCH (BULK_BLOCK * (BULK_BLOCKS + 2) + 12345)
#define LANE 2

static uint8_t *make_data(size_t size)
{
	uint8_t *data = xmalloc(size);
	uint32_t value = 1;

	for (size_t i = 0; i < size; i++) {
		value = value * 1664525 + 1013904223;
		data[i] = (uint8_t)(value >> 24);
	}
	return data;
}

struct wires {
	int disk;      /* all lanes */
	uint8_t *lane; /* the host's mapping of one */
	int guest_in, guest_out, host_in, host_out;
	uint64_t moved;
};

static void wires_init(struct wires *w)
{
	int down[2];
	int up[2];

	*w = (struct wires){ .disk = memfd_create("disk", MFD_CLOEXEC) };
	assert_int_equal(ftruncate(w->disk, BULK_BYTES), 0);
	w->lane = mmap(NULL, BULK_LANE, PROT_READ | PROT_WRITE, MAP_SHARED, w->disk,
		       (LANE - 1) * (off_t)BULK_LANE);
	assert_true(w->lane != MAP_FAILED);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	w->guest_in = down[0];
	w->host_out = down[1];
	w->host_in = up[0];
	w->guest_out = up[1];
}

static void close_guest(struct wires *w)
{
	close(w->guest_in);
	close(w->guest_out);
}

static void wires_release(struct wires *w)
{
	close(w->host_in);
	close(w->host_out);
	close(w->disk);
	munmap(w->lane, BULK_LANE);
}

/* The guest writes data in pieces of all kinds. */
static int write_as_guest(const struct wires *w, const uint8_t *data, size_t size)
{
	static const size_t pieces[] = { 512, 1, BULK_BLOCK, 40000, 511, 65536, 3 * BULK_BLOCK };
	CLEANUP(bulk_end_release) struct bulk_end end = { 0 };
	size_t at = 0;

	bulk_end_init(&end, w->disk, LANE, w->guest_in, w->guest_out);
	for (size_t i = 0; at < size; i++) {
		size_t n = pieces[i % ARRAY_SIZE(pieces)];

		if (n > size - at)
			n = size - at;
		if (bulk_end_write(&end, data + at, n) < 0)
			return 1;
		at += n;
	}
	return bulk_end_flush(&end) < 0;
}

/* The guest reads until the end, by pieces of all kinds, and compares. */
static int read_as_guest(const struct wires *w, const uint8_t *data, size_t size)
{
	static const size_t pieces[] = { 512, 40000, 1, 65536, BULK_BLOCK, 100 };
	CLEANUP(bulk_end_release) struct bulk_end end = { 0 };
	AUTO_FREE uint8_t *got = aligned_alloc(4096, BULK_BLOCK);
	size_t at = 0;

	bulk_end_init(&end, w->disk, LANE, w->guest_in, w->guest_out);
	for (size_t i = 0;; i++) {
		long n = bulk_end_read(&end, got, pieces[i % ARRAY_SIZE(pieces)]);

		if (n < 0 || at + (size_t)n > size || memcmp(got, data + at, (size_t)n) != 0)
			return 1;
		if (n == 0)
			return at != size;
		at += (size_t)n;
	}
}

static pid_t fork_guest(struct wires *w, int (*fn)(const struct wires *, const uint8_t *, size_t),
			const uint8_t *data, size_t size)
{
	pid_t pid = fork();

	if (pid == 0) {
		close(w->host_in);
		close(w->host_out);
		_exit(fn(w, data, size));
	}
	close_guest(w);
	return pid;
}

static void assert_ended_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_what_the_guest_sends_arrives(void **state)
{
	AUTO_FREE uint8_t *data = make_data(MUCH);
	AUTO_FREE uint8_t *got = xmalloc(MUCH + 1);
	int out = memfd_create("out", MFD_CLOEXEC);
	struct err err = { 0 };
	struct wires w;

	wires_init(&w);
	pid_t pid = fork_guest(&w, write_as_guest, data, MUCH);
	if (bulk_pump_out(w.lane, out, w.host_in, w.host_out, &w.moved, &err) < 0)
		fail_msg("%s", err.message);
	assert_ended_well(pid);
	assert_int_equal(w.moved, MUCH);
	assert_int_equal(pread(out, got, MUCH + 1, 0), MUCH);
	assert_memory_equal(got, data, MUCH);
	close(out);
	wires_release(&w);
}

static void test_what_the_host_sends_arrives(void **state)
{
	AUTO_FREE uint8_t *data = make_data(MUCH);
	int input = memfd_create("in", MFD_CLOEXEC);
	struct err err = { 0 };
	struct wires w;

	assert_int_equal(fd_write_all(input, data, MUCH), 0);
	lseek(input, 0, SEEK_SET);
	wires_init(&w);
	pid_t pid = fork_guest(&w, read_as_guest, data, MUCH);
	if (bulk_pump_in(w.lane, input, w.host_in, w.host_out, &w.moved, &err) < 0)
		fail_msg("%s", err.message);
	close(w.host_out);
	w.host_out = dup(w.host_in);
	assert_ended_well(pid);
	assert_int_equal(w.moved, MUCH);
	close(input);
	wires_release(&w);
}

/* Sizes that cannot be, and half a record: nothing of it is written. */
static void test_hostile_records_are_refused(void **state)
{
	static const struct {
		uint32_t size;
		size_t length; /* of the record */
	} cases[] = {
		{ 0, 4 }, { BULK_BLOCK + 1, 4 }, { UINT32_MAX, 4 }, { 0x80000000, 4 }, { 5, 3 }
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int out = memfd_create("out", MFD_CLOEXEC);
		uint8_t record[4];
		struct err err = { 0 };
		struct wires w;

		wires_init(&w);
		le_put32(record, cases[i].size);
		assert_int_equal(fd_write_all(w.guest_out, record, cases[i].length), 0);
		close_guest(&w);
		assert_int_equal(bulk_pump_out(w.lane, out, w.host_in, w.host_out, &w.moved, &err),
				 -EPROTO);
		assert_int_equal(lseek(out, 0, SEEK_END), 0);
		close(out);
		wires_release(&w);
	}
}

/* Blocks that nobody sent come back, and none of those that were: the pump ends with its guest. */
static void test_a_guest_that_goes_ends_the_pump(void **state)
{
	int input = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct err err = { 0 };
	struct wires w;

	wires_init(&w);
	assert_int_equal(fd_write_all(w.guest_out, "many blocks", 11), 0);
	close(w.guest_out);
	/* Its records are taken, or no pipe would end it. */
	assert_int_equal(bulk_pump_in(w.lane, input, w.host_in, w.host_out, &w.moved, &err),
			 -EPIPE);
	assert_in_range(w.moved, BULK_LANE, BULK_LANE + 11 * BULK_BLOCK);
	close(w.guest_in);
	close(input);
	wires_release(&w);
}

/* --- whose they are --- */

static const struct mux_ops no_ops;

struct asker {
	struct client client;
	int connection;
	uint8_t *lane;
};

static void ask(struct shim *shim, struct asker *asker)
{
	struct err err = { 0 };
	int pair[2];

	*asker = (struct asker){ .client.shim = shim };
	assert_int_equal(sock_pair(pair, NULL), 0);
	asker->connection = pair[0];
	asker->client.mux = mux_new(shim->loop, pair[1], false, &no_ops, NULL);
	/* The answer waits for who asks then. */
	assert_int_equal(bulk_request(&asker->client, NULL, 0), 0);
	assert_int_equal(bulk_request(&asker->client, NULL, 0), -EPROTO);
	assert_int_equal(bulk_lane_open(asker->connection, &asker->lane, &err), 0);
}

static void leave(struct asker *asker)
{
	bulk_lane_freep(&asker->lane);
	asker->client.mux = mux_free(asker->client.mux);
	close(asker->connection);
}

static void test_a_lane_has_one_owner_at_a_time(void **state)
{
	struct shim shim = { .loop = loop_new() };
	struct asker askers[BULK_LANES + 1];
	struct asker next;
	struct err err = { 0 };

	assert_int_equal(bulk_new(&shim.bulk, &err), 0);
	for (size_t i = 0; i < BULK_LANES; i++) {
		ask(&shim, &askers[i]);
		assert_non_null(askers[i].lane);
		assert_int_equal(bulk_begin(&askers[i].client, (uint32_t)(i + 10)), i + 1);
	}
	ask(&shim, &askers[BULK_LANES]);
	assert_null(askers[BULK_LANES].lane);
	assert_int_equal(bulk_begin(&askers[BULK_LANES].client, 20), 0);

	/* Served, but it still reads. */
	bulk_process_over(shim.bulk, 10);
	askers[0].client.mux = mux_free(askers[0].client.mux);
	ask(&shim, &next);
	assert_null(next.lane);
	leave(&next);
	leave(&askers[0]);
	/* Gone, but the guest still writes. */
	leave(&askers[1]);
	ask(&shim, &next);
	assert_int_equal(next.client.lane, 1);
	ask(&shim, &askers[0]);
	assert_null(askers[0].lane);
	leave(&askers[0]);
	bulk_process_over(shim.bulk, 11);
	ask(&shim, &askers[0]);
	assert_int_equal(askers[0].client.lane, 2);

	leave(&askers[0]);
	leave(&next);
	for (size_t i = 2; i <= BULK_LANES; i++)
		leave(&askers[i]);
	shim.bulk = bulk_free(shim.bulk);
	loop_free(shim.loop);
}

/* Whoever has it cannot take the memory away under the others. */
static void test_its_size_never_changes(void **state)
{
	struct shim_bulk *bulk = NULL;
	struct err err = { 0 };

	assert_int_equal(bulk_new(&bulk, &err), 0);
	assert_int_equal(ftruncate(bulk_fd(bulk), 0), -1);
	assert_int_equal(ftruncate(bulk_fd(bulk), 2 * (off_t)BULK_BYTES), -1);
	bulk_free(bulk);
	assert_int_equal(bulk_fd(NULL), 0);
}

/* A start that failed has said why, whatever it was asked. */
static void test_the_reason_for_a_failure_is_heard(void **state)
{
	struct shim shim = { .loop = loop_new() };
	struct client client = { .shim = &shim };
	struct err err = { 0 };
	uint8_t *lane = NULL;
	int pair[2];

	assert_int_equal(sock_pair(pair, NULL), 0);
	client.mux = mux_new(shim.loop, pair[1], false, &no_ops, NULL);
	server_send_error(&client, -ENOSPC, 125, "there is no room");
	mux_free(client.mux);
	assert_int_equal(bulk_lane_open(pair[0], &lane, &err), -ENOSPC);
	assert_string_equal(err.message, "there is no room");
	assert_int_equal(bulk_lane_open(pair[0], &lane, &err), -EPIPE);
	close(pair[0]);
	loop_free(shim.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_guest_sends_arrives),
		cmocka_unit_test(test_what_the_host_sends_arrives),
		cmocka_unit_test(test_hostile_records_are_refused),
		cmocka_unit_test(test_a_guest_that_goes_ends_the_pump),
		cmocka_unit_test(test_a_lane_has_one_owner_at_a_time),
		cmocka_unit_test(test_its_size_never_changes),
		cmocka_unit_test(test_the_reason_for_a_failure_is_heard),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
