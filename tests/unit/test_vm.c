/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "vm/accel.h"
#include "vm/decompress.h"
#include "vm/emulator.h"
#include "vm/initramfs.h"
#include "vm/kernel.h"
#include "vm/kernel_image.h"
#include "vm/kernel_modules.h"
#include "vm/launch.h"
#include "vm/qmp.h"
#include "vm/template.h"
#include "vm/template_ram.h"

static void write_text(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, false, NULL), 0);
}

/* accel */

static void test_accel_words(void **state)
{
	struct err err = { 0 };
	struct accel accel;

	assert_int_equal(accel_choose("tcg", *state, &accel, &err), 0);
	assert_int_equal(accel.kind, ACCEL_TCG);
	assert_int_equal(accel_choose("xen", *state, &accel, &err), -EINVAL);
	assert_string_equal(err.message, "unknown accelerator 'xen': auto, kvm or tcg");
	assert_int_equal(accel_choose("", *state, &accel, &err), -EINVAL);
	assert_int_equal(accel_choose(NULL, *state, &accel, &err), -EINVAL);
}

static void test_accel_is_cached(void **state)
{
	AUTO_FREE char *path = path_join(*state, "accel.json");
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *changed = NULL;
	AUTO_JSON json_t *json = NULL;
	struct accel accel;
	size_t size;

	assert_int_equal(accel_choose("auto", *state, &accel, NULL), 0);
	assert_true(accel.reason[0]);
	assert_int_equal(file_read(path, 4096, &text, &size, NULL), 0);
	assert_int_equal(json_parse(text, size, "cache", &json, NULL), 0);
	json_object_set_new(json, "reason", json_string("as cached"));
	changed = json_text(json);
	write_text(path, changed);
	assert_int_equal(accel_choose("auto", *state, &accel, NULL), 0);
	assert_string_equal(accel.reason, "as cached");
	/* Of another boot, or not ours at all: probed again. */
	json_object_set_new(json, "key", json_string("another boot"));
	free(TAKE_PTR(changed));
	changed = json_text(json);
	write_text(path, changed);
	assert_int_equal(accel_choose("auto", *state, &accel, NULL), 0);
	assert_string_not_equal(accel.reason, "as cached");
	write_text(path, "{\"key\":");
	assert_int_equal(accel_choose("auto", *state, &accel, NULL), 0);
}

/* qmp: the peer's side is written by hand */

static struct qmp *qmp_with_peer(int *ret_peer)
{
	int pair[2];

	assert_int_equal(sock_pair(pair, NULL), 0);
	*ret_peer = pair[1];
	return qmp_new(pair[0]);
}

static void say(int peer, const char *text)
{
	assert_int_equal(fd_write_all(peer, text, strlen(text)), 0);
}

static uint64_t soon(void)
{
	return clock_monotonic_ms() + 2000;
}

static void test_qmp_commands_are_sent_at_once(void **state)
{
	AUTO_CLOSE int peer = -1;
	CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);
	char text[256] = "";

	assert_int_equal(qmp_send(qmp, "query-status", NULL, NULL), 2);
	assert_true(read(peer, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "\"qmp_capabilities\""));
	assert_non_null(strstr(text, "\"query-status\""));
}

static void test_qmp_replies_and_events(void **state)
{
	AUTO_CLOSE int peer = -1;
	CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);
	AUTO_QMP_EVENT struct qmp_event first = { 0 };
	AUTO_QMP_EVENT struct qmp_event second = { 0 };
	AUTO_JSON json_t *value = NULL;

	say(peer, "{\"QMP\": {}}\r\n{\"return\": {}, \"id\": 1}\r\n"
		  "{\"event\": \"STOP\"}\r\n{\"return\": {\"status\": \"running\"}, \"id\": 2}\r\n"
		  "{\"event\": \"RESUME\", \"data\": {\"x\": 1}}\r\n");
	assert_int_equal(qmp_execute(qmp, "query-status", NULL, soon(), &value, NULL), 0);
	assert_string_equal(json_get_string(value, "status"), "running");
	assert_int_equal(qmp_take_event(qmp, &first), 1);
	assert_string_equal(first.name, "STOP");
	assert_int_equal(qmp_wait_event(qmp, soon(), &second, NULL), 0);
	assert_string_equal(second.name, "RESUME");
	assert_int_equal(json_get_int(second.data, "x", 0), 1);
	assert_int_equal(qmp_take_event(qmp, &first), 0);
}

static void test_qmp_errors_are_told(void **state)
{
	AUTO_CLOSE int peer = -1;
	CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);
	struct err err = { 0 };

	say(peer, "{\"error\": {\"desc\": \"no\\nway\"}, \"id\": 2}\n");
	assert_int_equal(qmp_execute(qmp, "cont", NULL, soon(), NULL, &err), -EREMOTEIO);
	assert_string_equal(err.message, "cont: the emulator refuses: no?way");
}

static void test_qmp_timeout_and_end(void **state)
{
	AUTO_CLOSE int peer = -1;
	CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);

	say(peer, "{\"return\": {}, \"id\": 7}\n{\"ret");
	assert_int_equal(qmp_execute(qmp, "stop", NULL, clock_monotonic_ms() + 20, NULL, NULL),
			 -ETIMEDOUT);
	/* What came before the end still counts. */
	say(peer, "urn\": {}, \"id\": 3}\n{\"event\": \"SHUTDOWN\"}\n");
	close(TAKE_FD(peer));
	assert_int_equal(qmp_wait(qmp, 3, soon(), NULL, NULL), 0);
	assert_int_equal(qmp_receive(qmp, NULL), -EPIPE);
	AUTO_QMP_EVENT struct qmp_event event = { 0 };

	assert_int_equal(qmp_take_event(qmp, &event), 1);
	assert_int_equal(qmp_execute(qmp, "stop", NULL, soon(), NULL, NULL), -EPIPE);
}

static void test_qmp_garbage_ends_the_channel(void **state)
{
	static const char *const lines[] = {
		"hello\n",    "[]\n",
		"{}\n",       "{\"id\": 2}\n",
		"\n",         "{\"error\": 1, \"id\": 2}\n",
		"\xff\xfe\n", "{\"return\": 1, \"return\": 2, \"id\": 2}\n"
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		AUTO_CLOSE int peer = -1;
		CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);
		struct err err = { 0 };

		say(peer, lines[i]);
		assert_int_equal(qmp_execute(qmp, "stop", NULL, soon(), NULL, &err), -EPROTO);
		assert_true(err.message[0]);
	}
}

static void test_qmp_bounds(void **state)
{
	AUTO_CLOSE int peer = -1;
	CLEANUP(qmp_freep) struct qmp *qmp = qmp_with_peer(&peer);
	AUTO_FREE char *chunk = calloc(1, 65537);
	unsigned int count = 0;
	int r = 0;

	for (int i = 0; i < 3 * QMP_EVENTS_MAX; i++)
		say(peer, "{\"event\": \"STOP\"}\n");
	assert_int_equal(qmp_receive(qmp, NULL), 0);
	for (;;) {
		AUTO_QMP_EVENT struct qmp_event event = { 0 };

		if (!qmp_take_event(qmp, &event))
			break;
		count++;
	}
	assert_int_equal(count, QMP_EVENTS_MAX);
	memset(chunk, ' ', 65536);
	for (int i = 0; i < 32 && r == 0; i++) {
		say(peer, chunk);
		r = qmp_receive(qmp, NULL);
	}
	assert_int_equal(r, -EPROTO);
}

/* launch */

static const struct machine_shape example = { .accel = ACCEL_TCG,
					      .vcpus = 2,
					      .memory_bytes = 512u << 20,
					      .qemu = "/usr/bin/qemu",
					      .kernel = "/k/vmlinux",
					      .init = "/hull-init",
					      .devices = { .disks = 4, .nics = 1 } };

static const char *argument_after(char *const *argv, const char *option, const char *start)
{
	STRV_EACH (argv, arg)
		if (str_eq(*arg, option) && arg[1] && str_starts(arg[1], start))
			return arg[1];
	return NULL;
}

static void test_launch_uses(void **state)
{
	const struct vm_disk disks[MACHINE_DISKS_MAX] = { { "/a,b", VM_DISK_VMDK },
							  { "/s", VM_DISK_RAW } };
	struct launch launch = {
		.use = LAUNCH_RESTORE, .shape = &example, .ram_path = "/t/ram", .disks = disks
	};
	AUTO_STRV char **restore = launch_argv(&launch);

	assert_string_equal(restore[0], "/usr/bin/qemu");
	assert_null(argument_after(restore, "-kernel", ""));
	assert_non_null(argument_after(restore, "-incoming", "fd:5"));
	assert_non_null(argument_after(restore, "-sandbox", "on,"));
	assert_non_null(strstr(argument_after(restore, "-object", "memory"), "/t/ram,share=off"));
	assert_non_null(strstr(argument_after(restore, "-blockdev", "driver=vmdk"),
			       "node-name=s0,read-only=on"));
	assert_non_null(strstr(argument_after(restore, "-blockdev", "driver=vmdk"), "/a,,b,"));
	assert_non_null(strstr(argument_after(restore, "-blockdev", "driver=raw"),
			       "node-name=s1,read-only=off"));
	assert_non_null(argument_after(restore, "-blockdev", "driver=null-co,node-name=s3"));
	STRV_EACH (restore, arg)
		assert_null(strstr(*arg, "balloon"));
	launch.use = LAUNCH_TEMPLATE;
	launch.initramfs = "/i";
	launch.tsc_khz = 1234;
	AUTO_STRV char **template = launch_argv(&launch);

	assert_non_null(strstr(argument_after(template, "-append", ""), "tsc_early_khz=1234"));
	assert_null(argument_after(template, "-incoming", ""));
	assert_non_null(strstr(argument_after(template, "-object", "memory"), "share=on"));
	launch.use = LAUNCH_DERIVE;
	AUTO_STRV char **derived = launch_argv(&launch);

	assert_null(argument_after(derived, "-kernel", ""));
	assert_non_null(argument_after(derived, "-incoming", "fd:5"));
	assert_non_null(strstr(argument_after(derived, "-object", "memory"), "fd/6,share=on"));
}

static void test_launch_fills_slots(void **state)
{
	struct machine_shape shape = example;
	const struct vm_disk disks[MACHINE_DISKS_MAX] = { [12] = { "/ro", VM_DISK_RAW } };
	const struct vm_nic nics[MACHINE_NICS_MAX] = { [1] = { 77 } };
	const struct launch launch = { .use = LAUNCH_RESTORE,
				       .shape = &shape,
				       .ram_path = "/t/ram",
				       .disks = disks,
				       .nics = nics };

	shape.devices = machine_devices_extended;
	AUTO_STRV char **argv = launch_argv(&launch);

	assert_non_null(
		strstr(argument_after(argv, "-blockdev", "driver=raw"), "s12,read-only=on"));
	assert_non_null(strstr(argument_after(argv, "-blockdev", "driver=null-co,node-name=s11"),
			       "read-only=off"));
	assert_non_null(strstr(argument_after(argv, "-blockdev", "driver=null-co,node-name=s16"),
			       "read-only=on"));
	assert_non_null(argument_after(argv, "-netdev", "hubport,id=n0"));
	assert_non_null(strstr(argument_after(argv, "-netdev", "dgram"), "id=n1,local.type=fd"));
}

static void test_device_sets(void **state)
{
	const struct {
		struct machine_devices needed;
		bool base, extended;
	} cases[] = {
		{ { .disks = 3 }, true, true },
		{ { .disks = 4, .nics = 2 }, true, true },
		{ { .disks = 5 }, false, true },
		{ { .disks = 4, .read_only_disks = 1 }, false, true },
		{ { .disks = 3, .nics = 3 }, false, true },
		{ { .disks = 3, .nics = 5 }, false, false },
		{ { .disks = 12 }, false, true },
		{ { .disks = 13 }, false, false },
		{ { .disks = 9, .read_only_disks = 6 }, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(machine_devices_suffice(&machine_devices_base, &cases[i].needed),
				 cases[i].base);
		assert_int_equal(
			machine_devices_suffice(&machine_devices_extended, &cases[i].needed),
			cases[i].extended);
	}
}

static void test_launch_reports_what_cannot_start(void **state)
{
	struct machine_shape shape = example;
	struct launch launch = { .use = LAUNCH_COLD, .shape = &shape, .initramfs = "/i" };
	const struct launch_files files = { -1, -1, -1, -1, -1, -1 };
	AUTO_FREE char *log = path_join(*state, "log");
	struct launch_process process;
	struct err err = { 0 };

	shape.qemu = "/nowhere/qemu";
	assert_int_equal(launch_start(&launch, &files, log, &process, &err), -ENOENT);
	assert_string_equal(err.message, "cannot start '/nowhere/qemu': No such file or directory");
}

static void test_last_words(void **state)
{
	AUTO_FREE char *path = path_join(*state, "log");
	AUTO_FREE char *words = NULL;
	AUTO_FREE char *none = NULL;
	AUTO_FREE char *missing = launch_last_words("/nonexistent", 0);

	write_text(path, "old\nfirst\nlast \001 one\n\nqemu: warning: as ever\n"
			 "[   15.353725] reboot: Power down\r\n");
	words = launch_last_words(path, 4);
	assert_string_equal(words, "last ? one");
	none = launch_last_words(path, 23);
	assert_string_equal(none, "");
	assert_string_equal(missing, "");
}

static void test_qemu_is_looked_up(void **state)
{
	AUTO_FREE char *program = path_join(*state, "qemu-system-x86_64");
	AUTO_FREE char *found = NULL;
	AUTO_FREE char *search = xasprintf(":/nonexistent:%s:/bin", (const char *)*state);
	struct err err = { 0 };

	assert_int_equal(machine_find_qemu("/nonexistent", &found, &err), -ENOENT);
	assert_string_equal(err.message, "cannot find qemu-system-x86_64; install it "
					 "(apt-get install qemu-system-x86)");
	write_text(program, "#!/bin/sh\n");
	chmod(program, 0755);
	assert_int_equal(machine_find_qemu(search, &found, &err), 0);
	assert_string_equal(found, program);
}

static void make_program(const char *path)
{
	write_text(path, "#!/bin/sh\n");
	chmod(path, 0755);
}

static void test_emulator_wanted_then_lean_then_the_hosts(void **state)
{
	AUTO_FREE char *host_dir = path_join(*state, "bin");
	AUTO_FREE char *lean_dir = path_join(*state, "programs/qemu");
	AUTO_FREE char *programs = path_join(*state, "programs");
	AUTO_FREE char *host = path_join(host_dir, MACHINE_QEMU_PROGRAM);
	AUTO_FREE char *lean = emulator_lean_path(programs);
	AUTO_FREE char *wanted = path_join(*state, "wanted");
	AUTO_FREE char *first = NULL;
	AUTO_FREE char *second = NULL;
	AUTO_FREE char *third = NULL;
	char *none = NULL;
	struct err err = { 0 };

	assert_int_equal(path_make_dirs(host_dir, 0755, NULL), 0);
	assert_int_equal(path_make_dirs(lean_dir, 0755, NULL), 0);
	assert_int_equal(emulator_choose(NULL, programs, host_dir, &none, &err), -ENOENT);
	make_program(host);
	assert_int_equal(emulator_choose(NULL, programs, host_dir, &first, &err), 0);
	assert_string_equal(first, host);
	make_program(lean);
	assert_int_equal(emulator_choose(NULL, programs, host_dir, &second, &err), 0);
	assert_string_equal(second, lean);
	/* What was asked for is used or refused: no other stands in for it. */
	assert_int_equal(emulator_choose(wanted, programs, host_dir, &none, &err), -ENOENT);
	make_program(wanted);
	assert_int_equal(emulator_choose(wanted, programs, host_dir, &third, &err), 0);
	assert_string_equal(third, wanted);
	assert_int_equal(emulator_choose("qemu", programs, host_dir, &none, &err), -EINVAL);
	assert_null(none);
}

static void test_emulator_versions(void **state)
{
	static const struct {
		const char *text, *version;
	} cases[] = {
		{ "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright",
		  "1:7.2+dfsg-7+deb12u18" },
		{ "QEMU emulator version 7.2.22 (hull 1:7.2+dfsg-7+deb12u9)",
		  "1:7.2+dfsg-7+deb12u9" },
		{ "(1:7.2-1)", "1:7.2-1" },
		{ "QEMU emulator version 10.0.0", NULL },
		{ "QEMU (v7)", NULL },
		{ "QEMU ()", NULL },
		{ "QEMU (1-", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *version = emulator_package_version(cases[i].text);

		if (cases[i].version)
			assert_string_equal(version, cases[i].version);
		else
			assert_null(version);
	}
	assert_true(emulator_is_newer("1:7.2+dfsg-7+deb12u18", "1:7.2+dfsg-7+deb12u9"));
	assert_false(emulator_is_newer("1:7.2+dfsg-7+deb12u9", "1:7.2+dfsg-7+deb12u18"));
	assert_false(emulator_is_newer("1:7.2+dfsg-7", "1:7.2+dfsg-7"));
	assert_true(emulator_is_newer("1:10.0.2+ds-2", "1:7.2+dfsg-7+deb12u18"));
}

/* kernels */

struct small_elf {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	Elf64_Nhdr note;
	char name[4];
	uint32_t entry;
	char banner[64];
};

static struct small_elf small_elf(void)
{
	struct small_elf elf = {
		.header = { .e_machine = EM_X86_64,
			    .e_phoff = offsetof(struct small_elf, segment),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = 1 },
		.segment = { .p_type = PT_NOTE,
			     .p_offset = offsetof(struct small_elf, note),
			     .p_filesz = sizeof(Elf64_Nhdr) + 8 },
		.note = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
		.name = "Xen",
		.banner = "Linux version %s\0Linux version 6.1.0-9-test (x@y)",
	};

	memcpy(elf.header.e_ident, "\177ELF\2\1\1", 7);
	return elf;
}

static int check_elf(const struct small_elf *elf, size_t size)
{
	return kernel_image_check_elf((const uint8_t *)elf, size, NULL);
}

static void test_kernel_elf_checks(void **state)
{
	struct small_elf elf = small_elf();
	char release[KERNEL_RELEASE_MAX];

	assert_int_equal(check_elf(&elf, sizeof(elf)), 0);
	assert_int_equal(kernel_image_release((const uint8_t *)&elf, sizeof(elf), release, NULL),
			 0);
	assert_string_equal(release, "6.1.0-9-test");
	for (size_t size = 0; size < offsetof(struct small_elf, banner); size++)
		assert_int_equal(check_elf(&elf, size), -EINVAL);
	elf.note.n_type = 1; /* no PVH */
	assert_int_equal(check_elf(&elf, sizeof(elf)), -EINVAL);
	elf = small_elf();
	elf.note.n_namesz = UINT32_MAX;
	assert_int_equal(check_elf(&elf, sizeof(elf)), -EINVAL);
	elf = small_elf();
	elf.header.e_phoff = UINT64_MAX - 8;
	assert_int_equal(check_elf(&elf, sizeof(elf)), -EINVAL);
	elf = small_elf();
	elf.segment.p_filesz = UINT64_MAX;
	assert_int_equal(check_elf(&elf, sizeof(elf)), -EINVAL);
	elf = small_elf();
	elf.header.e_machine = EM_AARCH64;
	assert_int_equal(check_elf(&elf, sizeof(elf)), -EINVAL);
}

#define IMAGE_SIZE (5 * 512 + 4096)

/* A bzImage around a gzip stream of the ELF; its size in image bytes. */
static void make_bzimage(const char *dir, const struct small_elf *elf, uint8_t image[IMAGE_SIZE])
{
	AUTO_FREE char *raw = path_join(dir, "raw");
	AUTO_FREE char *packed = path_join(dir, "raw.gz");
	AUTO_FREE char *data = NULL;
	AUTO_FREE char *output = NULL;
	char *argv[] = { (char *)"gzip", (char *)"-kf", raw, NULL };
	size_t size;

	assert_int_equal(file_write_atomic(raw, elf, sizeof(*elf), 0644, false, NULL), 0);
	assert_int_equal(proc_output(argv, true, 4096, &output, NULL), 0);
	assert_int_equal(file_read(packed, 4096, &data, &size, NULL), 0);
	memset(image, 0, IMAGE_SIZE);
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f;
	image[0x207] = 2;
	image[0x249] = 1; /* payload at 256 behind the setup code */
	memcpy(image + 0x24c, &(uint32_t){ (uint32_t)size }, 4);
	memcpy(image + 5 * 512 + 256, data, size);
}

static void test_kernel_from_bzimage(void **state)
{
	struct small_elf elf = small_elf();
	AUTO_FREE char *path = path_join(*state, "bzImage");
	AUTO_FREE char *target = path_join(*state, "kernel");
	AUTO_FREE char *vmlinux = path_join(*state, "kernel/vmlinux");
	AUTO_FREE char *release = NULL;
	AUTO_FREE char *text = NULL;
	uint8_t image[IMAGE_SIZE];
	size_t size;

	assert_int_equal(kernel_check(target, &release, NULL), -ENOENT);
	make_bzimage(*state, &elf, image);
	for (int i = 0; i < 2; i++) { /* the second replaces the first */
		assert_int_equal(file_write_atomic(path, image, sizeof(image), 0644, false, NULL),
				 0);
		assert_int_equal(kernel_install(path, NULL, target, NULL), 0);
	}
	assert_int_equal(kernel_check(target, &release, NULL), 0);
	assert_string_equal(release, "6.1.0-9-test");
	assert_int_equal(file_read(vmlinux, 65536, &text, &size, NULL), 0);
	assert_int_equal(size, sizeof(elf));
	assert_memory_equal(text, &elf, sizeof(elf));
}

static void test_bad_kernels_are_refused(void **state)
{
	struct small_elf elf = small_elf();
	AUTO_FREE char *path = path_join(*state, "bzImage");
	AUTO_FREE char *target = path_join(*state, "kernel");
	uint8_t image[IMAGE_SIZE];
	struct err err = { 0 };

	write_text(path, "not a kernel");
	assert_int_equal(kernel_install(path, NULL, target, &err), -EINVAL);
	assert_non_null(strstr(err.message, "neither an ELF vmlinux nor a bzImage"));
	make_bzimage(*state, &elf, image);
	assert_int_equal(file_write_atomic(path, image, 2900, 0644, false, NULL), 0);
	assert_int_equal(kernel_install(path, NULL, target, &err), -EINVAL); /* truncated */
	memset(image + 5 * 512 + 256, 'x', 16);
	assert_int_equal(file_write_atomic(path, image, sizeof(image), 0644, false, NULL), 0);
	assert_int_equal(kernel_install(path, NULL, target, &err), -EBADMSG);
	elf.note.n_type = 1;
	make_bzimage(*state, &elf, image);
	assert_int_equal(file_write_atomic(path, image, sizeof(image), 0644, false, NULL), 0);
	assert_int_equal(kernel_install(path, NULL, target, &err), -EINVAL);
	assert_non_null(strstr(err.message, "no PVH entry"));
	assert_false(path_exists(target));
}

static void write_module(const char *tree, const char *name, const char *depends)
{
	AUTO_FREE char *path = path_join(tree, "kernel/%s.ko", name);
	char text[256] = "\177ELF";
	int n = snprintf(text + 5, sizeof(text) - 5, "depends=%s", depends);

	n += 6 + snprintf(text + n + 6, sizeof(text) - (size_t)n - 6,
			  "vermagic=6.1.0 SMP preempt mod_unload");
	assert_int_equal(file_write_atomic(path, text, (size_t)n + 1, 0644, false, NULL), 0);
}

static void test_kernel_modules_come_in_load_order(void **state)
{
	AUTO_FREE char *tree = path_join(*state, "tree");
	AUTO_FREE char *kernel = path_join(*state, "tree/kernel");
	AUTO_FREE char *built_in = path_join(*state, "tree/modules.builtin");
	AUTO_FREE char *target = path_join(*state, "target");
	AUTO_STRV char **names = NULL;
	struct machine_shape shape = { .modules = target };
	struct err err = { 0 };

	assert_int_equal(path_make_dirs(kernel, 0755, NULL), 0);
	assert_int_equal(path_make_dirs(target, 0755, NULL), 0);
	write_module(tree, "ext4", "mb-cache,jbd2");
	write_module(tree, "mb_cache", "");
	write_module(tree, "jbd2", "ext4"); /* a circle ends */
	write_module(tree, "unrelated", "");
	assert_int_equal(kernel_modules_install(tree, "6.1.0", target, &err), -ENOENT);
	assert_non_null(strstr(err.message, "no module 'virtio_mmio'"));
	write_text(built_in,
		   "kernel/virtio_mmio.ko\nkernel/virtio-blk.ko\nkernel/virtio_console.ko\n"
		   "kernel/virtio_net.ko\nkernel/overlay.ko\nkernel/erofs.ko\n");
	assert_int_equal(kernel_modules_install(tree, "6.1.0-2", target, &err), -EINVAL);
	assert_non_null(strstr(err.message, "is release 6.1.0-2, but the modules in"));
	assert_non_null(strstr(err.message, "are of 6.1.0"));
	assert_int_equal(kernel_modules_install(tree, "6.1.0", target, &err), 0);
	assert_int_equal(initramfs_module_names(&shape, &names, NULL), 0);
	assert_int_equal(strv_count(names), 3);
	assert_string_equal(names[0], "01-mb_cache.ko");
	assert_string_equal(names[1], "02-jbd2.ko");
	assert_string_equal(names[2], "03-ext4.ko");
}

static void test_decompress_is_bounded(void **state)
{
	uint8_t *data;
	size_t size;

	assert_int_equal(decompress("plain", 5, 100, &data, &size, NULL), -EBADMSG);
	assert_int_equal(decompress("", 0, 100, &data, &size, NULL), -EBADMSG);
	AUTO_FREE char *path = path_join(*state, "zeros");
	AUTO_FREE char *packed = path_join(*state, "zeros.gz");
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *output = NULL;
	char *argv[] = { (char *)"gzip", path, NULL };

	write_text(path, "");
	assert_int_equal(truncate(path, 4 << 20), 0);
	assert_int_equal(proc_output(argv, true, 4096, &output, NULL), 0);
	assert_int_equal(file_read(packed, 65536, &text, &size, NULL), 0);
	assert_int_equal(decompress(text, size, 1 << 20, &data, &size, NULL), -EFBIG);
}

/* initramfs */

static void test_initramfs_is_read_by_cpio(void **state)
{
	AUTO_FREE char *init = path_join(*state, "init-program");
	AUTO_FREE char *modules = path_join(*state, "modules");
	AUTO_FREE char *module = path_join(*state, "modules/01-x.ko");
	AUTO_FREE char *archive = path_join(*state, "archive");
	AUTO_FREE char *command =
		xasprintf("cpio -itv --quiet < '%s' | awk '{print $1, $NF}'", archive);
	AUTO_FREE char *list = NULL;
	struct machine_shape shape = { .init = init, .modules = modules };
	char *argv[] = { (char *)"sh", (char *)"-c", command, NULL };
	struct err err = { 0 };

	assert_int_equal(initramfs_write(&shape, archive, &err), -ENOENT);
	assert_false(path_exists(archive));
	write_text(init, "12345");
	assert_int_equal(path_make_dirs(modules, 0755, NULL), 0);
	write_text(module, "module");
	assert_int_equal(initramfs_write(&shape, archive, NULL), 0);
	assert_int_equal(proc_output(argv, true, 4096, &list, NULL), 0);
	assert_string_equal(list, "drwxr-xr-x dev\ncrw------- dev/console\n-rwxr-xr-x init\n"
				  "drwxr-xr-x modules\n-rw-r--r-- modules/01-x.ko\n");
}

/* templates, as far as they need no guest */

static int create_file(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void test_ram_is_copied_sparsely_and_summed_up(void **state)
{
	AUTO_CLOSE int from = create_file(*state, "from");
	AUTO_CLOSE int to = create_file(*state, "to");
	const uint64_t bytes = 8u << 20;
	char page[4096] = { 0 };
	uint32_t first;
	uint32_t second;
	struct stat st;

	assert_int_equal(ftruncate(from, (off_t)bytes), 0);
	assert_int_equal(fd_pwrite_all(from, page, sizeof(page), 1 << 20),
			 0); /* zeros are no data */
	page[4095] = 1;
	assert_int_equal(fd_pwrite_all(from, page, sizeof(page), 3 << 20), 0);
	assert_int_equal(fd_pwrite_all(from, page, sizeof(page), (off_t)bytes - 4096), 0);
	assert_int_equal(template_ram_copy(from, to, bytes, &first), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_true(st.st_blocks * 512 <= 64 * 1024);
	assert_int_equal(template_ram_copy(to, -1, bytes, &second), 0);
	assert_int_equal(first, second);
	/* The same page elsewhere is another memory. */
	page[4095] = 0;
	assert_int_equal(fd_pwrite_all(to, page, sizeof(page), 3 << 20), 0);
	page[4095] = 1;
	assert_int_equal(fd_pwrite_all(to, page, sizeof(page), 4 << 20), 0);
	assert_int_equal(template_ram_copy(to, -1, bytes, &second), 0);
	assert_int_not_equal(first, second);
	assert_int_equal(ftruncate(to, 1 << 20), 0);
	assert_int_equal(template_ram_copy(to, -1, bytes, &second), 0);
	assert_int_not_equal(first, second);
}

/* An emulator that says something and ends: a maker must tell it, and leave nothing. */
static void test_maker_tells_why_and_leaves_nothing(void **state)
{
	AUTO_FREE char *qemu = path_join(*state, "qemu");
	AUTO_FREE char *kernel = path_join(*state, "vmlinux");
	AUTO_FREE char *templates = path_join(*state, "templates");
	AUTO_FREE char *command = xasprintf("ls -A '%s'", templates);
	AUTO_FREE char *list = NULL;
	char *argv[] = { (char *)"sh", (char *)"-c", command, NULL };
	CLEANUP(template_release) struct template template = { 0 };
	struct machine_shape shape = example;
	struct err err = { 0 };

	write_text(qemu, "#!/bin/sh\necho hello >&2\necho 'qemu: no luck today' >&2\n");
	chmod(qemu, 0755);
	write_text(kernel, "k");
	shape.qemu = qemu;
	shape.kernel = shape.init = kernel;
	assert_int_equal(template_ensure(templates, *state, &shape, NULL, &template, &err), -EIO);
	assert_non_null(strstr(err.message, "qemu: no luck today"));
	assert_int_equal(proc_output(argv, true, 4096, &list, NULL), 0);
	/* Only the maker's lock, whatever run directory the next maker has. */
	assert_true(list[0] == '.' && str_ends(list, ".lock\n"));
	assert_ptr_equal(strchr(list, '\n'), list + strlen(list) - 1);
	assert_int_equal(template_find(templates, *state, &shape, &template, &err), -ENOENT);
	shape.kernel = "/nonexistent/vmlinux";
	assert_int_equal(template_find(templates, *state, &shape, &template, &err), -ENOENT);
	assert_non_null(strstr(err.message, "cannot find the kernel '/nonexistent/vmlinux'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_accel_words),
		TEST_IN_DIR(test_accel_is_cached),
		cmocka_unit_test(test_qmp_commands_are_sent_at_once),
		cmocka_unit_test(test_qmp_replies_and_events),
		cmocka_unit_test(test_qmp_errors_are_told),
		cmocka_unit_test(test_qmp_timeout_and_end),
		cmocka_unit_test(test_qmp_garbage_ends_the_channel),
		cmocka_unit_test(test_qmp_bounds),
		cmocka_unit_test(test_launch_uses),
		cmocka_unit_test(test_launch_fills_slots),
		cmocka_unit_test(test_device_sets),
		TEST_IN_DIR(test_launch_reports_what_cannot_start),
		TEST_IN_DIR(test_last_words),
		TEST_IN_DIR(test_qemu_is_looked_up),
		TEST_IN_DIR(test_emulator_wanted_then_lean_then_the_hosts),
		cmocka_unit_test(test_emulator_versions),
		cmocka_unit_test(test_kernel_elf_checks),
		TEST_IN_DIR(test_kernel_from_bzimage),
		TEST_IN_DIR(test_bad_kernels_are_refused),
		TEST_IN_DIR(test_kernel_modules_come_in_load_order),
		TEST_IN_DIR(test_decompress_is_bounded),
		TEST_IN_DIR(test_initramfs_is_read_by_cpio),
		TEST_IN_DIR(test_ram_is_copied_sparsely_and_summed_up),
		TEST_IN_DIR(test_maker_tells_why_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
