/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined shim can still do, and what it cannot: tried in a child. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/landlock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "shim/confine.h"
#include "store/containers.h"
#include "vm/template.h"

#define UUID "11111111-2222-3333-4444-555555555555"

/* A state directory with what a shim meets. */
struct stage {
	const char *dir;
	struct launch launch;
	struct container container;
	struct store *store;
};

static char *in_stage(const struct stage *stage, const char *name)
{
	return path_join(stage->dir, "%s", name);
}

static void make_file(const struct stage *stage, const char *name)
{
	AUTO_FREE char *path = in_stage(stage, name);
	AUTO_FREE char *copy = xstrdup(path);

	*strrchr(copy, '/') = '\0';
	assert_int_equal(path_make_dirs(copy, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(path, "x", 1, 0600, false, NULL), 0);
}

static void stage_open(struct stage *stage, const char *dir)
{
	static const char *const files[] = {
		"root/containers/" UUID "/scratch.img",
		"root/containers/other/scratch.img",
		"root/templates/k/ram",
		"root/templates/k/manifest.json",
		"root/layers/l",
		"root/content/secret",
		"root/net/default/lock",
		"run/" UUID "/x",
		"run/accel.json",
		"home/key",
		"shared/file",
		"read-only/file",
		"kernel/vmlinux",
	};

	*stage = (struct stage){ .dir = dir, .container = { .uuid = UUID } };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		make_file(stage, files[i]);
	stage->launch = (struct launch){
		.uuid = (char *)UUID,
		.root = in_stage(stage, "root"),
		.run = in_stage(stage, "run"),
		.qemu = (char *)"/usr/bin/true",
		.kernel = in_stage(stage, "kernel/vmlinux"),
		.init = (char *)"/usr/bin/true",
		.template_directory = in_stage(stage, "root/templates/k"),
		.root_disk = (char *)"/nonexistent",
	};
	container_config_init(&stage->container.config);
	stage->container.config.id = xstrdup("c1");
	stage->container.config.process.executable = xstrdup("/bin/sh");
	assert_int_equal(store_open(stage->launch.root, &stage->store, NULL), 0);
	assert_int_equal(containers_insert(stage->store, &stage->container, NULL), 0);
}

static void stage_close(struct stage *stage)
{
	store_close(stage->store);
	container_config_release(&stage->container.config);
	free(stage->launch.root);
	free(stage->launch.run);
	free(stage->launch.kernel);
	free(stage->launch.template_directory);
}

static int try_open(const struct stage *stage, const char *name, int flags)
{
	AUTO_FREE char *path = name[0] == '/' ? xstrdup(name) : in_stage(stage, name);
	AUTO_CLOSE int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : 0;
}

static int try_remove(const struct stage *stage, const char *name)
{
	AUTO_FREE char *path = in_stage(stage, name);

	return remove(path) < 0 ? -errno : 0;
}

/* Runs check confined, in a child; its return is the number of the check that failed, 0 none. */
static int run_confined(struct stage *stage, int (*check)(struct stage *stage))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct err err = { 0 };

		if (confine_shim(&stage->launch, &stage->container.config, &err) < 0)
			_exit(100);
		_exit(check(stage));
	}
	return proc_wait(pid);
}

static void skip_without_landlock(void)
{
	AUTO_CLOSE int fd = landlock_open(NULL, 0, NULL);

	if (fd < 0)
		skip();
}

/* The line of the first condition that does not hold. */
#define CHECK(condition)                          \
	do {                                      \
		if (!(condition))                 \
			return __LINE__ % 90 + 1; \
	} while (0)

static int check_own(struct stage *stage)
{
	AUTO_FREE char *log = in_stage(stage, "root/containers/" UUID "/log");
	AUTO_FREE char *old = in_stage(stage, "root/containers/" UUID "/log.1");
	AUTO_FREE char *socket = in_stage(stage, "root/containers/" UUID "/ctl");
	AUTO_FREE char *dir = in_stage(stage, "root/containers/" UUID);
	AUTO_FREE char *run_dir = in_stage(stage, "run/" UUID);
	char *argv[] = { (char *)"/usr/bin/true", NULL };
	pid_t pid;

	CHECK(try_open(stage, "root/containers/" UUID "/scratch.img", O_RDWR) == 0);
	CHECK(try_open(stage, "root/containers/" UUID "/log", O_WRONLY | O_CREAT) == 0);
	CHECK(rename(log, old) == 0);
	CHECK(sock_listen(socket, NULL) >= 0);
	CHECK(try_open(stage, "root/layers/l", O_RDONLY) == 0);
	CHECK(try_open(stage, "kernel/vmlinux", O_RDONLY) == 0);
	CHECK(try_open(stage, "root/templates/k/ram", O_RDWR) == 0);
	CHECK(proc_spawn(&(struct proc_spec){ .argv = argv }, &pid, NULL) == 0);
	CHECK(proc_wait(pid) == 0);
	CHECK(path_remove_tree(run_dir, NULL) == 0);
	CHECK(path_remove_tree(dir, NULL) == 0);
	CHECK(!path_exists(dir) && !path_exists(run_dir));
	return 0;
}

static int check_others(struct stage *stage)
{
	CHECK(try_open(stage, "root/containers/other/scratch.img", O_RDONLY) == -EACCES);
	CHECK(try_remove(stage, "root/containers/other/scratch.img") == -EACCES);
	CHECK(try_open(stage, "root/templates/k/manifest.json", O_WRONLY) == -EACCES);
	CHECK(try_remove(stage, "root/templates/k/manifest.json") == -EACCES);
	CHECK(try_open(stage, "root/layers/l", O_WRONLY) == -EACCES);
	CHECK(try_open(stage, "root/layers/new", O_WRONLY | O_CREAT) == -EACCES);
	CHECK(try_open(stage, "root/content/secret", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "root/hull.db", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "root/hull.db-wal", O_RDWR) == -EACCES);
	CHECK(try_open(stage, "run/accel.json", O_WRONLY) == -EACCES);
	CHECK(try_remove(stage, "run/accel.json") == -EACCES);
	CHECK(try_open(stage, "home/key", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "shared/file", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "root/net/default/lock", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "/etc/passwd", O_RDONLY) == -EACCES);
	CHECK(try_open(stage, "/tmp", O_TMPFILE | O_RDWR) == -EACCES);
	return 0;
}

static int check_calls(struct stage *stage)
{
	CHECK(unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
	CHECK(mount("none", "/", "tmpfs", 0, NULL) < 0 && errno == EPERM);
	CHECK(sethostname("x", 1) < 0 && errno == EPERM);
	return 0;
}

static int check_needs(struct stage *stage)
{
	CHECK(try_open(stage, "shared/file", O_RDWR) == 0);
	CHECK(try_open(stage, "shared/new", O_WRONLY | O_CREAT) == 0);
	CHECK(try_open(stage, "read-only/file", O_RDONLY) == 0);
	CHECK(try_open(stage, "read-only/file", O_WRONLY) == -EACCES);
	CHECK(try_open(stage, "read-only/new", O_WRONLY | O_CREAT) == -EACCES);
	CHECK(try_open(stage, "root/net/default/lock", O_RDWR) == 0);
	CHECK(try_open(stage, "/etc/passwd", O_RDONLY) == 0);
	CHECK(try_open(stage, "home/key", O_RDONLY) == -EACCES);
	return 0;
}

static int check_discard(struct stage *stage)
{
	struct template template;
	struct stat before;
	struct stat after;

	template_open(stage->launch.template_directory, 1, &template);
	CHECK(stat(template.ram_path, &before) == 0);
	template_discard(&template);
	CHECK(stat(template.ram_path, &after) == 0);
	CHECK(before.st_ctim.tv_sec != after.st_ctim.tv_sec ||
	      before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
	template_release(&template);
	return 0;
}

static void add_mount(struct stage *stage, const char *source, const char *option)
{
	struct mount_config mount = { .type = xstrdup("bind"),
				      .source = in_stage(stage, source),
				      .destination = xstrdup("/mnt") };

	if (option)
		strv_push(&mount.options, option);
	VEC_PUSH(&stage->container.config.mounts, mount);
}

static void test_its_own_work_goes_on(void **state)
{
	struct stage stage;

	stage_open(&stage, *state);
	assert_int_equal(run_confined(&stage, check_own), 0);
	stage_close(&stage);
}

static void test_what_is_others_is_out_of_reach(void **state)
{
	struct stage stage;

	skip_without_landlock();
	stage_open(&stage, *state);
	assert_int_equal(run_confined(&stage, check_others), 0);
	stage_close(&stage);
}

static void test_system_calls_of_no_use_are_denied(void **state)
{
	struct stage stage;

	stage_open(&stage, *state);
	assert_int_equal(run_confined(&stage, check_calls), 0);
	stage_close(&stage);
}

static void test_what_the_container_needs_is_granted(void **state)
{
	struct network_config network = { .network = xstrdup("default") };
	struct stage stage;

	skip_without_landlock();
	stage_open(&stage, *state);
	VEC_PUSH(&stage.container.config.networks, network);
	add_mount(&stage, "shared", NULL);
	add_mount(&stage, "read-only", "ro");
	assert_int_equal(run_confined(&stage, check_needs), 0);
	stage_close(&stage);
}

static void test_a_template_is_discarded_all_the_same(void **state)
{
	struct stage stage;

	stage_open(&stage, *state);
	assert_int_equal(run_confined(&stage, check_discard), 0);
	stage_close(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_its_own_work_goes_on),
		TEST_IN_DIR(test_what_is_others_is_out_of_reach),
		TEST_IN_DIR(test_system_calls_of_no_use_are_denied),
		TEST_IN_DIR(test_what_the_container_needs_is_granted),
		TEST_IN_DIR(test_a_template_is_discarded_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
