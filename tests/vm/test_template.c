/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates and machines with the real emulator. Needs HULL_TEST_KERNEL (a kernel's directory) and
 * an init that answers bytes (HULL_TEST_INIT, tests/vm/echo_init.c); skipped otherwise. One
 * template is made for all tests. With an argument N it measures N restores instead.
 */
#include "../unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/str.h"
#include "vm/template.h"
#include "vm/vm.h"

#define ANSWER_TIMEOUT_MS 20000

static struct {
	char *dir, *templates, *run, *kernel, *modules, *qemu, *console, *log;
	struct machine_shape shape;
} fixture;

static void print_step(void *ctx, const char *text)
{
	fprintf(stderr, "# %s\n", text);
}

static const struct template_progress progress = { .step = print_step };

static int fixture_setup(const char *kernel, const char *init)
{
	struct err err = { 0 };
	char dir[] = "/var/tmp/hull-vm-XXXXXX";

	if (!mkdtemp(dir) || machine_find_qemu(NULL, &fixture.qemu, &err) < 0)
		return -1;
	fixture.dir = strdup(dir);
	fixture.templates = path_join(dir, "templates");
	fixture.run = path_join(dir, "run");
	fixture.console = path_join(dir, "console.log");
	fixture.log = path_join(dir, "emulator.log");
	fixture.kernel = path_join(kernel, "vmlinux");
	fixture.modules = path_join(kernel, "modules");
	fixture.shape = (struct machine_shape){
		.accel = ACCEL_TCG,
		.vcpus = 1,
		.memory_bytes = 256u << 20,
		.qemu = fixture.qemu,
		.kernel = fixture.kernel,
		.modules = fixture.modules,
		.init = init,
		.devices = machine_devices_base,
	};
	return path_make_dirs(fixture.run, 0700, NULL);
}

static struct vm_options options_of(const struct template *template)
{
	return (struct vm_options){
		.shape = fixture.shape,
		.template = template,
		.work_dir = fixture.dir,
		.console_path = fixture.console,
		.log_path = fixture.log,
	};
}

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->message);
}

static void ensure(struct template *template)
{
	struct err err = { 0 };

	must(template_ensure(fixture.templates, fixture.run, &fixture.shape, &progress, template,
			     &err),
	     &err);
}

/* Sends one byte and returns the answer, or -1. */
static int ask(int agent, char c)
{
	unsigned char answer;

	if (fd_write_all(agent, &c, 1) < 0 || fd_wait(agent, POLLIN, ANSWER_TIMEOUT_MS) != 1 ||
	    read(agent, &answer, 1) != 1)
		return -1;
	return answer;
}

static struct vm *start(const struct vm_options *options, int *ret_agent)
{
	struct err err = { 0 };
	struct vm *vm;

	must(vm_spawn(options, &vm, &err), &err);
	*ret_agent = vm_take_agent(vm);
	must(vm_run(vm, &err), &err);
	return vm;
}

static void test_two_restores_of_one_template(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	struct vm *vms[2];
	int agents[2];

	ensure(&template);
	struct vm_options options = options_of(&template);

	for (int i = 0; i < 2; i++)
		vms[i] = start(&options, &agents[i]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask(agents[i], 'x'), 'x');
	for (int i = 0; i < 2; i++) {
		close(agents[i]);
		vm_free(vms[i]);
	}
}

static void write_disk(const char *path)
{
	char data[4096] = "hull";

	assert_int_equal(file_write_atomic(path, data, sizeof(data), 0600, false, NULL), 0);
}

static void check_slots(struct vm_options *options)
{
	AUTO_FREE char *read_only = path_join(fixture.dir, "a,disk"); /* the comma is escaped */
	AUTO_FREE char *writable = path_join(fixture.dir, "b");
	struct vm *vm;
	int agent;

	write_disk(read_only);
	write_disk(writable);
	options->disks[0].path = read_only;
	options->disks[2].path = writable;
	vm = start(options, &agent);
	if (!options->template) { /* HELLO comes first */
		char hello[16];

		assert_int_equal(fd_read_exact(agent, hello, sizeof(hello)), 0);
	}
	assert_int_equal(ask(agent, '0'), 1);
	assert_int_equal(ask(agent, '1'), 0);
	assert_int_equal(ask(agent, '2'), 1);
	assert_int_equal(ask(agent, '3'), 0);
	close(agent);
	vm_free(vm);
}

static void test_disks_fill_slots(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };

	ensure(&template);
	struct vm_options options = options_of(&template);
	check_slots(&options);
}

static void test_cold_boot(void **state)
{
	struct vm_options options = options_of(NULL);

	check_slots(&options);
}

struct seen {
	struct loop *loop;
	char events[64];
	int status;
};

static void on_event(void *ctx, const char *name)
{
	struct seen *seen = ctx;

	snprintf(seen->events + strlen(seen->events), sizeof(seen->events) - strlen(seen->events),
		 "%s ", name);
}

static void on_exited(void *ctx, int status)
{
	struct seen *seen = ctx;

	seen->status = status;
	loop_quit(seen->loop, 0);
}

static const struct vm_ops watcher = { .event = on_event, .exited = on_exited };

static void check_end(const struct template *template, char how, const char *events)
{
	struct vm_options options = options_of(template);
	CLEANUP(loop_freep) struct loop *loop = loop_new();
	struct seen seen = { .loop = loop, .status = -1 };
	int agent;
	struct vm *vm = start(&options, &agent);

	vm_watch(vm, loop, &watcher, &seen);
	assert_int_equal(fd_write_all(agent, &how, 1), 0);
	loop_run(loop);
	assert_string_equal(seen.events, events);
	assert_int_equal(seen.status, 0);
	close(agent);
	vm_free(vm);
}

static void test_end_of_a_machine_is_told(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };

	ensure(&template);
	check_end(&template, 'P', "shutdown ");
	check_end(&template, 'R', "reset ");
	check_end(&template, 'C', "reset "); /* a panic: panic=-1 resets */
}

static void test_killed_emulator_is_told(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	CLEANUP(loop_freep) struct loop *loop = loop_new();
	struct seen seen = { .loop = loop, .status = -1 };
	int agent;

	ensure(&template);
	struct vm_options options = options_of(&template);
	struct vm *vm = start(&options, &agent);

	vm_watch(vm, loop, &watcher, &seen);
	kill(vm_pid(vm), SIGKILL);
	loop_run(loop);
	assert_int_equal(seen.status, 128 + SIGKILL);
	close(agent);
	vm_free(vm);
}

static void test_pause_and_resume(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	struct err err = { 0 };
	int agent;

	ensure(&template);
	struct vm_options options = options_of(&template);
	struct vm *vm = start(&options, &agent);

	must(vm_pause(vm, &err), &err);
	assert_int_equal(fd_write_all(agent, "a", 1), 0);
	assert_int_equal(fd_wait(agent, POLLIN, 200), 0);
	must(vm_resume(vm, &err), &err);
	assert_int_equal(fd_wait(agent, POLLIN, ANSWER_TIMEOUT_MS), 1);
	close(agent);
	vm_free(vm);
}

static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* Changes one byte, or cuts the file short. */
static void damage(const char *path, bool truncated)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	char c;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	if (truncated) {
		assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
		return;
	}
	assert_int_equal(pread(fd, &c, 1, st.st_size / 2), 1);
	c = (char)~c;
	assert_int_equal(pwrite(fd, &c, 1, st.st_size / 2), 1);
}

static void check_rebuilt(const char *file, bool truncated)
{
	CLEANUP(template_release) struct template before = { 0 };
	CLEANUP(template_release) struct template after = { 0 };

	ensure(&before);
	AUTO_FREE char *path = path_join(before.directory, "%s", file);

	damage(path, truncated);
	assert_int_equal(
		template_find(fixture.templates, fixture.run, &fixture.shape, &after, NULL),
		-ENOENT);
	ensure(&after);
	assert_int_not_equal(inode_of(path), 0);
	struct vm_options options = options_of(&after);
	int agent;
	struct vm *vm = start(&options, &agent);

	assert_int_equal(ask(agent, 'x'), 'x');
	close(agent);
	vm_free(vm);
}

static void test_damaged_templates_are_made_again(void **state)
{
	check_rebuilt("ram", true);
	check_rebuilt("ram", false);
	check_rebuilt("state", false);
	check_rebuilt("manifest.json", true);
}

/* A change that keeps the time is found once per boot of the host. */
static void test_silent_damage_is_found_after_a_boot(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	CLEANUP(template_release) struct template none = { 0 };
	struct stat st;

	ensure(&template);
	AUTO_FREE char *marker =
		path_join(fixture.run, "template-%s.checked", path_base(template.directory));

	assert_int_equal(stat(template.ram_path, &st), 0);
	damage(template.ram_path, false);
	struct timespec times[2] = { st.st_atim, st.st_mtim };

	assert_int_equal(utimensat(AT_FDCWD, template.ram_path, times, 0), 0);
	assert_int_equal(unlink(marker), 0);
	assert_int_equal(template_find(fixture.templates, fixture.run, &fixture.shape, &none, NULL),
			 -ENOENT);
}

static void test_unusable_state_is_stale(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	CLEANUP(template_release) struct template again = { 0 };
	struct err err = { 0 };
	struct vm *vm;

	ensure(&template);
	damage(template.state_path, true);
	struct vm_options options = options_of(&template);

	must(vm_spawn(&options, &vm, &err), &err);
	assert_int_equal(vm_run(vm, &err), -ESTALE);
	fprintf(stderr, "# %s\n", err.message);
	vm_free(vm);
	template_discard(&template);
	assert_int_equal(
		template_find(fixture.templates, fixture.run, &fixture.shape, &again, NULL),
		-ENOENT);
	ensure(&again);
	template_discard(&template); /* is another one now: stays */
	assert_true(path_exists(again.ram_path));
	CLEANUP(template_release) struct template found = { 0 };

	assert_int_equal(
		template_find(fixture.templates, fixture.run, &fixture.shape, &found, NULL), 0);
}

static pid_t ensure_in_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct template template = { 0 };

		_exit(template_ensure(fixture.templates, fixture.run, &fixture.shape, &progress,
				      &template, NULL) < 0);
	}
	return pid;
}

static int wait_child(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

static void test_two_makers_boot_once(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	pid_t pids[2];

	path_remove_tree(fixture.templates, NULL);
	for (int i = 0; i < 2; i++)
		pids[i] = ensure_in_child();
	for (int i = 0; i < 2; i++)
		assert_int_equal(wait_child(pids[i]), 0);
	ensure(&template);
}

static void test_killed_maker_leaves_nothing(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	AUTO_FREE char *unfinished = NULL;
	pid_t pid;

	ensure(&template);
	unfinished = path_join(fixture.templates, ".making-%s", path_base(template.directory));
	AUTO_FREE char *console = path_join(unfinished, "console.log");

	path_remove_tree(fixture.templates, NULL);
	pid = ensure_in_child();
	while (!path_exists(console))
		usleep(1000);
	kill(pid, SIGKILL);
	assert_int_not_equal(wait_child(pid), 0);
	assert_true(path_exists(unfinished));
	template_release(&template);
	ensure(&template);
	assert_false(path_exists(unfinished));
}

static void test_outdated_template_is_replaced(void **state)
{
	CLEANUP(template_release) struct template old = { 0 };
	CLEANUP(template_release) struct template new = { 0 };
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };

	ensure(&old);
	assert_int_equal(utimensat(AT_FDCWD, fixture.shape.init, times, 0), 0);
	ensure(&new);
	assert_string_not_equal(old.directory, new.directory);
	assert_false(path_exists(old.directory));
}

static void test_full_disk_is_told_and_leaves_nothing(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	AUTO_FREE char *small = path_join(fixture.dir, "small");
	AUTO_FREE char *command = xasprintf("ls -A '%s' | grep -v '^[.][0-9a-f]*[.]lock$'", small);
	AUTO_FREE char *list = NULL;
	char *argv[] = { (char *)"sh", (char *)"-c", command, NULL };
	struct err err = { 0 };
	int r;

	assert_int_equal(path_make_dirs(small, 0700, NULL), 0);
	if (mount("tmpfs", small, "tmpfs", 0, "size=12m") < 0)
		skip(); /* only root can make a small disk */
	r = template_ensure(small, fixture.run, &fixture.shape, NULL, &template, &err);
	fprintf(stderr, "# %s\n", err.message);
	proc_output(argv, true, 4096, &list, NULL);
	umount(small);
	assert_int_equal(r, -ENOSPC);
	assert_string_equal(list, ""); /* but the lock of who made it */
}

static void test_bad_kernels_are_told(void **state)
{
	CLEANUP(template_release) struct template template = { 0 };
	AUTO_FREE char *templates = path_join(fixture.dir, "other");
	AUTO_FREE char *none = path_join(fixture.dir, "no-kernel");
	struct machine_shape shape = fixture.shape;
	struct err err = { 0 };

	shape.kernel = none;
	assert_int_equal(template_ensure(templates, fixture.run, &shape, NULL, &template, &err),
			 -ENOENT);
	assert_non_null(strstr(err.message, "no-kernel"));
	shape.kernel = "/bin/true";
	assert_int_equal(template_ensure(templates, fixture.run, &shape, NULL, &template, &err),
			 -EIO);
	fprintf(stderr, "# %s\n", err.message);
}

/* PSS of a process in KiB. */
static long pss_of(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/smaps_rollup", pid);
	AUTO_FREE char *text = NULL;
	const char *line;
	long kib = -1;

	if (file_read(path, 65536, &text, NULL, NULL) == 0 && (line = strstr(text, "\nPss:")))
		sscanf(line, "\nPss: %ld", &kib);
	return kib;
}

static int bench(int count)
{
	CLEANUP(template_release) struct template template = { 0 };

	ensure(&template);
	struct vm_options options = options_of(&template);

	for (int i = 0; i < count; i++) {
		CLEANUP(template_release) struct template found = { 0 };
		struct err err = { 0 };
		uint64_t t[5];
		struct vm *vm;
		int agent;

		t[0] = clock_monotonic_ns();
		must(template_find(fixture.templates, fixture.run, &fixture.shape, &found, &err),
		     &err);
		t[1] = clock_monotonic_ns();
		must(vm_spawn(&options, &vm, &err), &err);
		agent = vm_take_agent(vm);
		fd_write_all(agent, "x", 1);
		t[2] = clock_monotonic_ns();
		must(vm_run(vm, &err), &err);
		t[3] = clock_monotonic_ns();
		fd_wait(agent, POLLIN, ANSWER_TIMEOUT_MS);
		t[4] = clock_monotonic_ns();
		if (i == count - 1)
			sleep(1);
		printf("find %.1f spawn %.1f runs %.1f answer %.1f total %.1f ms, pss %ld KiB\n",
		       (double)(t[1] - t[0]) / 1e6, (double)(t[2] - t[1]) / 1e6,
		       (double)(t[3] - t[2]) / 1e6, (double)(t[4] - t[3]) / 1e6,
		       (double)(t[4] - t[0]) / 1e6, pss_of(vm_pid(vm)));
		close(agent);
		vm_free(vm);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *kernel = getenv("HULL_TEST_KERNEL");
	const char *init = getenv("HULL_TEST_INIT");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_restores_of_one_template),
		cmocka_unit_test(test_disks_fill_slots),
		cmocka_unit_test(test_cold_boot),
		cmocka_unit_test(test_end_of_a_machine_is_told),
		cmocka_unit_test(test_killed_emulator_is_told),
		cmocka_unit_test(test_pause_and_resume),
		cmocka_unit_test(test_damaged_templates_are_made_again),
		cmocka_unit_test(test_silent_damage_is_found_after_a_boot),
		cmocka_unit_test(test_unusable_state_is_stale),
		cmocka_unit_test(test_two_makers_boot_once),
		cmocka_unit_test(test_killed_maker_leaves_nothing),
		cmocka_unit_test(test_outdated_template_is_replaced),
		cmocka_unit_test(test_full_disk_is_told_and_leaves_nothing),
		cmocka_unit_test(test_bad_kernels_are_told),
	};
	int r;

	if (!kernel || !kernel[0] || !init || fixture_setup(kernel, init) < 0) {
		printf("SKIP: needs qemu-system-x86_64, HULL_TEST_KERNEL and HULL_TEST_INIT\n");
		return 77;
	}
	/* bench COUNT [DISKS READ-ONLY-DISKS NICS] */
	if (argc > 4)
		fixture.shape.devices =
			(struct machine_devices){ (uint32_t)strtoul(argv[2], NULL, 10),
						  (uint32_t)strtoul(argv[3], NULL, 10),
						  (uint32_t)strtoul(argv[4], NULL, 10) };
	r = argc > 1 ? bench((int)strtoul(argv[1], NULL, 10))
		     : cmocka_run_group_tests(tests, NULL, NULL);
	path_remove_tree(fixture.dir, NULL);
	return r;
}
