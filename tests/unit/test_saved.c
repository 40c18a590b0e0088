/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's memory copied while it lives, and what was saved checked before it is used. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/ram_copy.h"
#include "vm/ram_delta.h"
#include "vm/ram_page.h"
#include "vm/saved.h"
#include "vm/template_ram.h"

#define PAGES 600
#define BYTES ((uint64_t)PAGES * RAM_PAGE)

/* --- the machine: a process that maps a file privately and changes it --- */

struct machine {
	pid_t pid;
	int base;
	int orders; /* one byte: go on to the next step */
	int done;
};

static void set_page(uint8_t *memory, size_t page, uint8_t value)
{
	memset(memory + page * RAM_PAGE, value, RAM_PAGE);
}

/* Step 0: pages 1 (of the base), 3 (a hole) and 300 … 399 are changed. Step 1: 5 changes, 3 becomes
 * zero, 300 changes again. */
static void live(const struct machine *machine, int orders, int done)
{
	uint8_t *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, machine->base, 0);
	volatile uint8_t seen;
	char byte = 0;

	seen = memory[0]; /* read alone: still the file's */
	(void)seen;
	set_page(memory, 1, 0x11);
	set_page(memory, 3, 0x33);
	for (size_t i = 300; i < 400; i++)
		set_page(memory, i, (uint8_t)i);
	(void)!write(done, &byte, 1);
	(void)!read(orders, &byte, 1);
	set_page(memory, 5, 0x55);
	set_page(memory, 3, 0);
	set_page(memory, 300, 0xee);
	(void)!write(done, &byte, 1);
	(void)!read(orders, &byte, 1);
	_exit(0);
}

static void machine_start(struct machine *machine, const char *dir)
{
	AUTO_FREE char *path = path_join(dir, "base");
	static uint8_t page[RAM_PAGE];
	int orders[2];
	int done[2];
	char byte;

	machine->base = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(machine->base >= 0);
	assert_int_equal(ftruncate(machine->base, BYTES), 0);
	for (size_t i = 0; i < 3; i++) { /* pages 0, 1, 2 hold something */
		memset(page, 0xb0 + (int)i, sizeof(page));
		assert_int_equal(
			fd_pwrite_all(machine->base, page, sizeof(page), (off_t)(i * RAM_PAGE)), 0);
	}
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(done, O_CLOEXEC), 0);
	machine->pid = fork();
	assert_true(machine->pid >= 0);
	if (machine->pid == 0) {
		close(orders[1]);
		live(machine, orders[0], done[1]);
	}
	close(orders[0]);
	close(done[1]);
	machine->orders = orders[1];
	machine->done = done[0];
	assert_int_equal(fd_read_exact(machine->done, &byte, 1), 0);
}

static void machine_step(const struct machine *machine)
{
	char byte = 0;

	assert_int_equal(fd_write_all(machine->orders, &byte, 1), 0);
	assert_int_equal(fd_read_exact(machine->done, &byte, 1), 0);
}

static void machine_end(const struct machine *machine)
{
	close(machine->orders);
	close(machine->done);
	close(machine->base);
	assert_int_equal(waitpid(machine->pid, NULL, 0), machine->pid);
}

static void assert_page(int fd, size_t number, uint8_t value)
{
	uint8_t page[RAM_PAGE];

	assert_int_equal(fd_pread_exact(fd, page, sizeof(page), (off_t)(number * RAM_PAGE)), 0);
	for (size_t i = 0; i < sizeof(page); i++)
		if (page[i] != value)
			fail_msg("page %zu holds %#x instead of %#x", number, page[i], value);
}

static void test_memory_is_base_and_changes(void **state)
{
	AUTO_FREE char *path = path_join(*state, "copy");
	AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct machine machine;
	struct ram_copy *copy = NULL;
	struct err err = { 0 };
	struct stat st;

	machine_start(&machine, *state);
	assert_int_equal(ram_copy_new(machine.pid, machine.base, BYTES, to, &copy, &err), 0);
	assert_int_equal(ram_copy_pass(copy, &err), 0);
	assert_int_equal(ram_copy_changed_pages(copy), 102);
	assert_page(to, 0, 0xb0);
	assert_page(to, 1, 0x11);
	assert_page(to, 2, 0xb2);
	assert_page(to, 3, 0x33);
	assert_page(to, 4, 0);
	assert_page(to, 399, (uint8_t)399);
	machine_step(&machine);
	assert_int_equal(ram_copy_pass(copy, &err), 0);
	assert_int_equal(ram_copy_changed_pages(copy), 103);
	assert_page(to, 0, 0xb0);
	assert_page(to, 1, 0x11);
	assert_page(to, 3, 0);
	assert_page(to, 5, 0x55);
	assert_page(to, 300, 0xee);
	assert_page(to, 301, (uint8_t)301);
	assert_page(to, 599, 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	assert_true((uint64_t)st.st_blocks * 512 <= 120u * RAM_PAGE); /* holes are holes */
	ram_copy_free(copy);
	machine_end(&machine);
}

static void test_one_pass_of_a_machine_that_stands_still(void **state)
{
	AUTO_FREE char *first_path = path_join(*state, "first");
	AUTO_CLOSE int first = open(first_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct machine machine;
	struct ram_copy *copy = NULL;
	struct err err = { 0 };

	machine_start(&machine, *state);
	machine_step(&machine);
	assert_int_equal(ram_copy_new(machine.pid, machine.base, BYTES, first, &copy, &err), 0);
	assert_int_equal(ram_copy_pass(copy, &err), 0);
	assert_page(first, 2, 0xb2);
	assert_page(first, 3, 0);
	assert_page(first, 5, 0x55);
	assert_page(first, 300, 0xee);
	ram_copy_free(copy);
	machine_end(&machine);
}

static void test_another_file_is_not_its_memory(void **state)
{
	AUTO_FREE char *path = path_join(*state, "copy");
	AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct machine machine;
	struct ram_copy *copy = NULL;
	struct err err = { 0 };

	machine_start(&machine, *state);
	assert_int_equal(ram_copy_new(machine.pid, to, BYTES, to, &copy, &err), -EIO);
	assert_null(copy);
	machine_step(&machine);
	machine_end(&machine);
}

/* --- what was saved --- */

static const struct machine_shape shape = {
	.accel = ACCEL_TCG,
	.vcpus = 2,
	.memory_bytes = BYTES,
	.devices = { .disks = 4, .nics = 1 },
};

static char *make_saved(const char *root, const char *qemu)
{
	char *dir = path_join(root, "saved");
	AUTO_FREE char *ram = saved_ram_path(dir);
	AUTO_FREE char *devices = saved_state_path(dir);
	struct machine_shape with = shape;
	struct err err = { 0 };

	with.qemu = qemu;
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(file_write_atomic(ram, "memory", 6, 0600, false, NULL), 0);
	assert_int_equal(truncate(ram, BYTES), 0);
	assert_int_equal(file_write_atomic(devices, "devices", 7, 0600, false, NULL), 0);
	assert_false(saved_exists(dir));
	assert_int_equal(saved_seal(dir, &with, 2, true, &err), 0);
	assert_true(saved_exists(dir));
	return dir;
}

static void overwrite(const char *path, off_t offset)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(fd_pwrite_all(fd, "!", 1, offset), 0);
}

static void test_saved_round_trip(void **state)
{
	AUTO_FREE char *dir = make_saved(*state, "/bin/sh");
	struct saved saved = { 0 };
	struct err err = { 0 };

	assert_int_equal(saved_open(dir, "/bin/sh", &saved, &err), 0);
	assert_int_equal(saved.accel, ACCEL_TCG);
	assert_int_equal(saved.vcpus, 2);
	assert_int_equal(saved.memory_bytes, BYTES);
	assert_int_equal(saved.scratch_slot, 2);
	assert_int_equal(saved.devices.disks, 4);
	assert_int_equal(saved.devices.nics, 1);
}

static void test_saved_by_another_emulator(void **state)
{
	AUTO_FREE char *dir = make_saved(*state, "/bin/sh");
	struct saved saved;
	struct err err = { 0 };

	assert_int_equal(saved_open(dir, "/proc/self/exe", &saved, &err), -ESTALE);
	assert_string_equal(err.message,
			    "it was saved by the emulator '/bin/sh', and this is '/proc/self/exe'; "
			    "'[vm] qemu = /bin/sh' in hull.conf goes back to that");
	assert_int_equal(saved_open(dir, "/nowhere", &saved, &err), -ENOENT);
}

static void test_saved_and_damaged(void **state)
{
	AUTO_FREE char *dir = make_saved(*state, "/bin/sh");
	AUTO_FREE char *ram = saved_ram_path(dir);
	AUTO_FREE char *devices = saved_state_path(dir);
	struct saved saved;
	struct err err = { 0 };

	overwrite(ram, 5 * RAM_PAGE);
	assert_int_equal(saved_open(dir, "/bin/sh", &saved, &err), -EBADMSG);
	assert_string_equal(err.message, "its saved memory is damaged");
	assert_int_equal(truncate(ram, 100), 0);
	assert_true(saved_open(dir, "/bin/sh", &saved, &err) < 0);
	overwrite(devices, 0);
	assert_int_equal(saved_open(dir, "/bin/sh", &saved, &err), -EBADMSG);
	assert_string_equal(err.message, "the saved state of its devices is damaged");
}

/* Whatever a description says that is not so ends in an error that says it. */
static void test_descriptions_are_checked(void **state)
{
	static const struct {
		const char *name;
		int value;
		int r;
	} changes[] = {
		{ "format", 9, -ESTALE },       { "protocol", 99, -ESTALE },
		{ "vcpus", 0, -EBADMSG },       { "vcpus", 3, -ESTALE },
		{ "memory", 5, -EBADMSG },      { "scratchSlot", 0, -EBADMSG },
		{ "scratchSlot", 4, -EBADMSG },
	};
	AUTO_JSON json_t *good = NULL;
	struct machine_shape with = shape;
	struct saved saved;
	struct err err = { 0 };

	(void)state;
	with.qemu = "/bin/sh";
	good = saved_describe(&with, 1, &err);
	assert_non_null(good);
	assert_int_equal(saved_check(good, "/bin/sh", &saved, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		AUTO_JSON json_t *bad = json_deep_copy(good);

		json_object_set_new(bad, changes[i].name, json_integer(changes[i].value));
		err = (struct err){ 0 };
		assert_int_equal(saved_check(bad, "/bin/sh", &saved, &err), changes[i].r);
		assert_true(err.message[0]);
	}
	json_object_set_new(good, "cpu", json_string("a 6502"));
	assert_int_equal(saved_check(good, "/bin/sh", &saved, &err), -ESTALE);
	assert_string_equal(err.message, "it was saved on another processor (a 6502)");
}

/* --- memory as what differs from a base --- */

static int open_new(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void fill_page(int fd, size_t number, uint8_t value)
{
	uint8_t page[RAM_PAGE];

	memset(page, value, sizeof(page));
	assert_int_equal(fd_pwrite_all(fd, page, sizeof(page), (off_t)(number * RAM_PAGE)), 0);
}

struct memories {
	int base, memory, delta;
	uint32_t base_crc;
	uint64_t pages;
};

/* Of 600 pages: 0-9 and 400 in the base; 3 and 4 changed, 5 zeroed, 500 new, 100-419 new or same.
 */
static struct memories make_memories(const char *dir)
{
	struct memories m = { open_new(dir, "base"), open_new(dir, "memory"),
			      open_new(dir, "delta"), 0, 0 };
	struct err err = { 0 };

	assert_int_equal(ftruncate(m.base, BYTES), 0);
	assert_int_equal(ftruncate(m.memory, BYTES), 0);
	for (size_t i = 0; i < 10; i++) {
		fill_page(m.base, i, 0xb0);
		fill_page(m.memory, i, i == 3 || i == 4 ? 0x44 : i == 5 ? 0 : 0xb0);
	}
	fill_page(m.base, 400, 0x40);
	for (size_t i = 100; i < 420; i++)
		fill_page(m.memory, i, i == 400 ? 0x40 : (uint8_t)(i | 1));
	fill_page(m.memory, 500, 0x50);
	assert_int_equal(template_ram_copy(m.base, -1, BYTES, &m.base_crc), 0);
	assert_int_equal(ram_delta_write(m.memory, m.base, BYTES, m.delta, &m.pages, &err), 0);
	return m;
}

static void close_memories(const struct memories *m)
{
	close(m->base);
	close(m->memory);
	close(m->delta);
}

static void test_delta_round_trip(void **state)
{
	struct memories m = make_memories(*state);
	AUTO_CLOSE int to = open_new(*state, "again");
	uint32_t wanted = 0;
	uint32_t found = 0;
	struct err err = { 0 };

	assert_int_equal(m.pages, 2 + 319 + 1);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, to, &err), 0);
	assert_int_equal(template_ram_copy(m.memory, -1, BYTES, &wanted), 0);
	assert_int_equal(template_ram_copy(to, -1, BYTES, &found), 0);
	assert_int_equal(found, wanted);
	assert_page(to, 5, 0);
	assert_page(to, 400, 0x40);
	/* Without a base all that is not zero is kept. */
	assert_int_equal(ftruncate(m.delta, 0), 0);
	assert_int_equal(ftruncate(to, 0), 0);
	assert_int_equal(ram_delta_write(m.memory, -1, BYTES, m.delta, &m.pages, &err), 0);
	assert_int_equal(m.pages, 9 + 320 + 1);
	assert_int_equal(ram_delta_apply(m.delta, -1, 0, BYTES, to, &err), 0);
	assert_int_equal(template_ram_copy(to, -1, BYTES, &found), 0);
	assert_int_equal(found, wanted);
	close_memories(&m);
}

static void test_deltas_follow_each_other(void **state)
{
	struct memories m = make_memories(*state);
	AUTO_CLOSE int later = open_new(*state, "later");
	AUTO_CLOSE int second = open_new(*state, "second");
	AUTO_CLOSE int to = open_new(*state, "again");
	uint32_t wanted = 0;
	uint32_t found = 0;
	uint64_t pages = 0;
	struct err err = { 0 };

	assert_int_equal(template_ram_copy(m.memory, later, BYTES, &wanted), 0);
	fill_page(later, 3, 0);
	fill_page(later, 7, 0x77);
	fill_page(later, 599, 0x99);
	assert_int_equal(template_ram_copy(later, -1, BYTES, &wanted), 0);
	assert_int_equal(ram_delta_write(later, m.memory, BYTES, second, &pages, &err), 0);
	assert_int_equal(pages, 2);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, to, &err), 0);
	assert_int_equal(ram_delta_patch(second, BYTES, to, &err), 0);
	assert_int_equal(template_ram_copy(to, -1, BYTES, &found), 0);
	assert_int_equal(found, wanted);
	assert_int_equal(ftruncate(second, RAM_PAGE), 0);
	assert_int_equal(ram_delta_patch(second, BYTES, to, &err), -EBADMSG);
	close_memories(&m);
}

static void test_a_damaged_delta_is_noticed(void **state)
{
	struct memories m = make_memories(*state);
	struct stat st;
	struct err err = { 0 };

	assert_int_equal(fstat(m.delta, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 64 ? 7 : at < RAM_PAGE ? RAM_PAGE : 50021) {
		AUTO_CLOSE int to = open_new(*state, "again");
		uint8_t byte;

		if (at >= 52 && at < RAM_PAGE)
			continue; /* nothing is there */
		assert_int_equal(fd_pread_exact(m.delta, &byte, 1, at), 0);
		byte ^= 0x10;
		assert_int_equal(fd_pwrite_all(m.delta, &byte, 1, at), 0);
		assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, to, &err),
				 -EBADMSG);
		byte ^= 0x10;
		assert_int_equal(fd_pwrite_all(m.delta, &byte, 1, at), 0);
	}
	AUTO_CLOSE int to = open_new(*state, "again");

	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc + 1, BYTES, to, &err),
			 -EBADMSG);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES * 2, to, &err),
			 -EBADMSG);
	assert_int_equal(ftruncate(m.delta, st.st_size - 1), 0);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, to, &err), -EBADMSG);
	assert_int_equal(ftruncate(m.delta, 0), 0);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, to, &err), -EBADMSG);
	close_memories(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_memory_is_base_and_changes),
		TEST_IN_DIR(test_one_pass_of_a_machine_that_stands_still),
		TEST_IN_DIR(test_another_file_is_not_its_memory),
		TEST_IN_DIR(test_saved_round_trip),
		TEST_IN_DIR(test_saved_by_another_emulator),
		TEST_IN_DIR(test_saved_and_damaged),
		cmocka_unit_test(test_descriptions_are_checked),
		TEST_IN_DIR(test_delta_round_trip),
		TEST_IN_DIR(test_deltas_follow_each_other),
		TEST_IN_DIR(test_a_damaged_delta_is_noticed),
	};

	return cmocka_run_group_tests_name("saved", tests, NULL, NULL);
}
