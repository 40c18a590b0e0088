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

static int open_new(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

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

/* A machine that lives, and a file that its memory is copied to. */
struct scene {
	struct machine machine;
	struct ram_copy *copy; /* NULL until the first pass */
	int to;
};

static struct scene scene_of(const char *dir)
{
	struct scene scene = { .to = open_new(dir, "copy") };

	machine_start(&scene.machine, dir);
	return scene;
}

static void scene_release(struct scene *scene)
{
	ram_copy_free(scene->copy);
	machine_end(&scene->machine);
	close(scene->to);
}

static void scene_pass(struct scene *scene)
{
	struct err err = { 0 };

	if (!scene->copy)
		assert_int_equal(ram_copy_new(scene->machine.pid, scene->machine.base, BYTES,
					      scene->to, &scene->copy, &err),
				 0);
	assert_int_equal(ram_copy_pass(scene->copy, &err), 0);
}

static void test_memory_is_base_and_changes(void **state)
{
	CLEANUP(scene_release) struct scene scene = scene_of(*state);
	struct stat st;

	scene_pass(&scene);
	assert_int_equal(ram_copy_changed_pages(scene.copy), 102);
	assert_page(scene.to, 0, 0xb0);
	assert_page(scene.to, 1, 0x11);
	assert_page(scene.to, 2, 0xb2);
	assert_page(scene.to, 3, 0x33);
	assert_page(scene.to, 4, 0);
	assert_page(scene.to, 399, (uint8_t)399);
	machine_step(&scene.machine);
	scene_pass(&scene);
	assert_int_equal(ram_copy_changed_pages(scene.copy), 103);
	assert_page(scene.to, 0, 0xb0);
	assert_page(scene.to, 1, 0x11);
	assert_page(scene.to, 3, 0);
	assert_page(scene.to, 5, 0x55);
	assert_page(scene.to, 300, 0xee);
	assert_page(scene.to, 301, (uint8_t)301);
	assert_page(scene.to, 599, 0);
	assert_int_equal(fstat(scene.to, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	assert_true((uint64_t)st.st_blocks * 512 <= 120u * RAM_PAGE); /* holes are holes */
}

static void test_one_pass_of_a_machine_that_stands_still(void **state)
{
	CLEANUP(scene_release) struct scene scene = scene_of(*state);

	machine_step(&scene.machine);
	scene_pass(&scene);
	assert_page(scene.to, 2, 0xb2);
	assert_page(scene.to, 3, 0);
	assert_page(scene.to, 5, 0x55);
	assert_page(scene.to, 300, 0xee);
}

static void test_another_file_is_not_its_memory(void **state)
{
	CLEANUP(scene_release) struct scene scene = scene_of(*state);
	struct err err = { 0 };

	assert_int_equal(
		ram_copy_new(scene.machine.pid, scene.to, BYTES, scene.to, &scene.copy, &err),
		-EIO);
	assert_null(scene.copy);
	machine_step(&scene.machine);
}

/* --- what was saved --- */

static const struct machine_shape shape = {
	.accel = ACCEL_TCG,
	.vcpus = 2,
	.memory_bytes = BYTES,
	.devices = { .disks = 4, .nics = 1 },
};

/* A machine of shape that /bin/sh has saved, as nobody checks what it is. */
struct kept {
	char *dir, *ram, *devices; /* owned */
};

static void kept_release(struct kept *kept)
{
	free(kept->dir);
	free(kept->ram);
	free(kept->devices);
}

static struct kept make_kept(const char *root)
{
	struct kept kept = { .dir = path_join(root, "saved") };
	struct machine_shape with = shape;
	struct err err = { 0 };

	kept.ram = saved_ram_path(kept.dir);
	kept.devices = saved_state_path(kept.dir);
	with.qemu = "/bin/sh";
	assert_int_equal(mkdir(kept.dir, 0700), 0);
	assert_int_equal(file_write_atomic(kept.ram, "memory", 6, 0600, false, NULL), 0);
	assert_int_equal(truncate(kept.ram, BYTES), 0);
	assert_int_equal(file_write_atomic(kept.devices, "devices", 7, 0600, false, NULL), 0);
	assert_false(saved_exists(kept.dir));
	assert_int_equal(saved_seal(kept.dir, &with, 2, true, &err), 0);
	assert_true(saved_exists(kept.dir));
	return kept;
}

static void overwrite(const char *path, off_t offset)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(fd_pwrite_all(fd, "!", 1, offset), 0);
}

static void test_saved_round_trip(void **state)
{
	CLEANUP(kept_release) struct kept kept = make_kept(*state);
	struct saved saved = { 0 };
	struct err err = { 0 };

	assert_int_equal(saved_open(kept.dir, "/bin/sh", &saved, &err), 0);
	assert_int_equal(saved.accel, ACCEL_TCG);
	assert_int_equal(saved.vcpus, 2);
	assert_int_equal(saved.memory_bytes, BYTES);
	assert_int_equal(saved.scratch_slot, 2);
	assert_int_equal(saved.devices.disks, 4);
	assert_int_equal(saved.devices.nics, 1);
}

static void test_saved_by_another_emulator(void **state)
{
	CLEANUP(kept_release) struct kept kept = make_kept(*state);
	struct saved saved;
	struct err err = { 0 };

	assert_int_equal(saved_open(kept.dir, "/proc/self/exe", &saved, &err), -ESTALE);
	assert_string_equal(err.message,
			    "it was saved by the emulator '/bin/sh', and this is '/proc/self/exe'; "
			    "'[vm] qemu = /bin/sh' in hull.conf goes back to that");
	assert_int_equal(saved_open(kept.dir, "/nowhere", &saved, &err), -ENOENT);
}

static void test_saved_and_damaged(void **state)
{
	CLEANUP(kept_release) struct kept kept = make_kept(*state);
	struct saved saved;
	struct err err = { 0 };

	overwrite(kept.ram, 5 * RAM_PAGE);
	assert_int_equal(saved_open(kept.dir, "/bin/sh", &saved, &err), -EBADMSG);
	assert_string_equal(err.message, "its saved memory is damaged");
	assert_int_equal(truncate(kept.ram, 100), 0);
	assert_true(saved_open(kept.dir, "/bin/sh", &saved, &err) < 0);
	overwrite(kept.devices, 0);
	assert_int_equal(saved_open(kept.dir, "/bin/sh", &saved, &err), -EBADMSG);
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

static void fill_page(int fd, size_t number, uint8_t value)
{
	uint8_t page[RAM_PAGE];

	memset(page, value, sizeof(page));
	assert_int_equal(fd_pwrite_all(fd, page, sizeof(page), (off_t)(number * RAM_PAGE)), 0);
}

struct memories {
	int base, memory, delta;
	int again; /* for what is made of base and delta */
	uint32_t base_crc;
	uint64_t pages;
};

/* Of 600 pages: 0-9 and 400 in the base; 3 and 4 changed, 5 zeroed, 500 new, 100-419 new or same.
 */
static struct memories make_memories(const char *dir)
{
	struct memories m = { .base = open_new(dir, "base"),
			      .memory = open_new(dir, "memory"),
			      .delta = open_new(dir, "delta"),
			      .again = open_new(dir, "again") };
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

static void close_memories(struct memories *m)
{
	close(m->base);
	close(m->memory);
	close(m->delta);
	close(m->again);
}

static void assert_same_memory(int fd, int other)
{
	uint32_t sums[2] = { 0, 0 };

	assert_int_equal(template_ram_copy(fd, -1, BYTES, &sums[0]), 0);
	assert_int_equal(template_ram_copy(other, -1, BYTES, &sums[1]), 0);
	assert_int_equal(sums[0], sums[1]);
}

static void test_delta_round_trip(void **state)
{
	CLEANUP(close_memories) struct memories m = make_memories(*state);
	struct err err = { 0 };

	assert_int_equal(m.pages, 2 + 319 + 1);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, m.again, &err), 0);
	assert_same_memory(m.again, m.memory);
	assert_page(m.again, 5, 0);
	assert_page(m.again, 400, 0x40);
	/* Without a base all that is not zero is kept. */
	assert_int_equal(ftruncate(m.delta, 0), 0);
	assert_int_equal(ftruncate(m.again, 0), 0);
	assert_int_equal(ram_delta_write(m.memory, -1, BYTES, m.delta, &m.pages, &err), 0);
	assert_int_equal(m.pages, 9 + 320 + 1);
	assert_int_equal(ram_delta_apply(m.delta, -1, 0, BYTES, m.again, &err), 0);
	assert_same_memory(m.again, m.memory);
}

static void test_deltas_follow_each_other(void **state)
{
	CLEANUP(close_memories) struct memories m = make_memories(*state);
	AUTO_CLOSE int later = open_new(*state, "later");
	AUTO_CLOSE int second = open_new(*state, "second");
	uint32_t sum = 0;
	uint64_t pages = 0;
	struct err err = { 0 };

	assert_int_equal(template_ram_copy(m.memory, later, BYTES, &sum), 0);
	fill_page(later, 3, 0);
	fill_page(later, 7, 0x77);
	fill_page(later, 599, 0x99);
	assert_int_equal(ram_delta_write(later, m.memory, BYTES, second, &pages, &err), 0);
	assert_int_equal(pages, 2);
	assert_int_equal(ram_delta_apply(m.delta, m.base, m.base_crc, BYTES, m.again, &err), 0);
	assert_int_equal(ram_delta_patch(second, BYTES, m.again, &err), 0);
	assert_same_memory(m.again, later);
	assert_int_equal(ftruncate(second, RAM_PAGE), 0);
	assert_int_equal(ram_delta_patch(second, BYTES, m.again, &err), -EBADMSG);
}

/* Applies the delta anew: what comes of it. */
static int apply_again(const struct memories *m, uint32_t base_crc, uint64_t bytes)
{
	struct err err = { 0 };

	assert_int_equal(ftruncate(m->again, 0), 0);
	return ram_delta_apply(m->delta, m->base, base_crc, bytes, m->again, &err);
}

static void test_a_damaged_delta_is_noticed(void **state)
{
	CLEANUP(close_memories) struct memories m = make_memories(*state);
	struct stat st;

	assert_int_equal(fstat(m.delta, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 64 ? 7 : at < RAM_PAGE ? RAM_PAGE : 50021) {
		uint8_t byte;

		if (at >= 52 && at < RAM_PAGE)
			continue; /* nothing is there */
		assert_int_equal(fd_pread_exact(m.delta, &byte, 1, at), 0);
		byte ^= 0x10;
		assert_int_equal(fd_pwrite_all(m.delta, &byte, 1, at), 0);
		assert_int_equal(apply_again(&m, m.base_crc, BYTES), -EBADMSG);
		byte ^= 0x10;
		assert_int_equal(fd_pwrite_all(m.delta, &byte, 1, at), 0);
	}
	assert_int_equal(apply_again(&m, m.base_crc + 1, BYTES), -EBADMSG);
	assert_int_equal(apply_again(&m, m.base_crc, BYTES * 2), -EBADMSG);
	assert_int_equal(ftruncate(m.delta, st.st_size - 1), 0);
	assert_int_equal(apply_again(&m, m.base_crc, BYTES), -EBADMSG);
	assert_int_equal(ftruncate(m.delta, 0), 0);
	assert_int_equal(apply_again(&m, m.base_crc, BYTES), -EBADMSG);
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
