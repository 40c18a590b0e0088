/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/landlock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "base/vec.h"

static void test_err_is_one_line_with_context(void **state)
{
	struct err err = { 0 };

	assert_int_equal(err_set(&err, -ENOENT, "cannot open '%s': %m", "a\nb"), -ENOENT);
	assert_string_equal(err.message, "cannot open 'a?b': No such file or directory");
	assert_int_equal(err_context(&err, "image '%s'", "x"), -ENOENT);
	assert_string_equal(err.message, "image 'x': cannot open 'a?b': No such file or directory");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "1k", 0, 1024 },
		{ "1.5M", 0, 1536 * 1024 },
		{ "2GiB", 0, 2ull << 30 },
		{ "2gb", 0, 2ull << 30 },
		{ "1P", 0, 1ull << 50 },
		{ "20000P", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "1kk", -EINVAL, 0 },
		{ "10ib", -EINVAL, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(str_parse_size(cases[i].text, &bytes), cases[i].r);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_numbers_and_durations(void **state)
{
	uint64_t u = 7;
	int64_t s = 7;

	assert_int_equal(str_parse_u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_parse_u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(str_parse_u64(" 1", &u), -EINVAL);
	assert_int_equal(str_parse_i64("-9223372036854775808", &s), 0);
	assert_true(s == INT64_MIN);
	assert_int_equal(str_parse_i64("9223372036854775808", &s), -ERANGE);
	assert_int_equal(str_parse_duration_ms("1.5s", &u), 0);
	assert_int_equal(u, 1500);
	assert_int_equal(str_parse_duration_ms("2m", &u), 0);
	assert_int_equal(u, 120000);
	assert_int_equal(str_parse_duration_ms("1h2m3.5s", &u), 0);
	assert_int_equal(u, 3723500);
	assert_int_equal(str_parse_duration_ms("1m30", &u), -EINVAL);
	assert_int_equal(str_parse_duration_ms("1mm", &u), -EINVAL);
	assert_int_equal(str_parse_duration_ms("2d", &u), -EINVAL);
}

static void test_strings(void **state)
{
	AUTO_STRV char **fields = str_split("a=b=c", '=', 2);
	AUTO_FREE char *size = str_size(1536);
	AUTO_FREE char *time = str_time(0);

	assert_int_equal(strv_count(fields), 2);
	assert_string_equal(fields[1], "b=c");
	assert_string_equal(size, "1.50 KiB");
	assert_string_equal(time, "1970-01-01T00:00:00Z");
	assert_true(str_ends("layer.erofs", ".erofs"));
	assert_int_equal(str_distance("inspct", "inspect"), 1);
	assert_int_equal(str_distance("", "abc"), 3);
}

static void test_hashes_match_published_values(void **state)
{
	char uuid[HASH_UUID_LENGTH + 1];

	assert_int_equal(~hash_crc32c(~0u, "123456789", 9), 0xe3069283u);
	assert_true(hash_fnv1a(HASH_FNV_INIT, "a", 1) == 0xaf63dc4c8601ec8cull);
	hash_uuid(uuid);
	assert_int_equal(strlen(uuid), HASH_UUID_LENGTH);
	assert_int_equal(uuid[14], '4');
}

/* Long data are summed up in parts at the same time. */
static void test_sum_does_not_depend_on_how_it_is_fed(void **state)
{
	static const size_t sizes[] = { 4079, 4080, 4081, 4096, 8160, 19999 };
	uint8_t data[20000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 3 ^ i);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t slow = ~0u;

		for (size_t at = 0; at < sizes[i]; at++)
			slow = hash_crc32c(slow, data + 1 + at, 1);
		assert_int_equal(hash_crc32c(~0u, data + 1, sizes[i]), slow);
	}
}

static void test_files_are_replaced_whole(void **state)
{
	AUTO_FREE char *path = path_join(*state, "f");
	AUTO_FREE char *text = NULL;
	struct err err = { 0 };

	assert_int_equal(file_write_atomic(path, "one", 3, 0600, true, &err), 0);
	assert_int_equal(file_write_atomic(path, "three", 5, 0600, true, &err), 0);
	assert_int_equal(file_read(path, 100, &text, NULL, &err), 0);
	assert_string_equal(text, "three");
	assert_int_equal(file_read(path, 4, &text, NULL, &err), -EFBIG);
}

static void test_clone_keeps_holes(void **state)
{
	AUTO_FREE char *a = path_join(*state, "a");
	AUTO_FREE char *b = path_join(*state, "b");
	AUTO_CLOSE int from = open(a, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO_CLOSE int to = open(b, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;
	char data[4] = "";

	assert_int_equal(ftruncate(from, 1 << 30), 0);
	assert_int_equal(fd_pwrite_all(from, "data", 4, 1 << 29), 0);
	assert_int_equal(fd_clone_file(from, to), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 1 << 30);
	assert_true(st.st_blocks < 2048);
	assert_int_equal(fd_pread_exact(to, data, 4, 1 << 29), 0);
	assert_memory_equal(data, "data", 4);
}

static void test_remove_tree_does_not_follow_links(void **state)
{
	AUTO_FREE char *keep = path_join(*state, "keep/file");
	AUTO_FREE char *gone = path_join(*state, "gone/a/b");
	AUTO_FREE char *keep_dir = path_join(*state, "keep");
	AUTO_FREE char *link_path = path_join(*state, "gone/a/link");
	AUTO_FREE char *gone_dir = path_join(*state, "gone");

	assert_int_equal(path_make_dirs(keep_dir, 0700, NULL), 0);
	assert_int_equal(path_make_dirs(gone, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(keep, "x", 1, 0600, false, NULL), 0);
	assert_int_equal(symlink(keep_dir, link_path), 0);
	assert_int_equal(path_remove_tree(gone_dir, NULL), 0);
	assert_false(path_exists(gone_dir));
	assert_true(path_exists(keep));
	assert_int_equal(path_remove_tree(gone_dir, NULL), 0);
}

/* What a container may leave behind in a volume. */
static void test_remove_tree_takes_all_that_can_be_made(void **state)
{
	AUTO_FREE char *top = path_join(*state, "top");
	AUTO_FREE char *locked = path_join(*state, "top/locked/a/b");
	AUTO_FREE char *inner = path_join(*state, "top/locked/a");
	AUTO_FREE char *outer = path_join(*state, "top/locked");
	char name[201];
	int fd;

	assert_int_equal(path_make_dirs(locked, 0700, NULL), 0);
	assert_int_equal(chmod(inner, 0500), 0);
	assert_int_equal(chmod(outer, 0), 0);
	/* 60,000 bytes of path, and a name that is there when it is needed. */
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(fd, ".removed-0", 0700), 0);
	assert_int_equal(symlinkat("x", fd, ".removed-0/link"), 0);
	for (int i = 0; i < 300; i++) {
		int next;

		assert_int_equal(mkdirat(fd, name, 0700), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	assert_int_equal(mkdirat(fd, "leaf", 0500), 0);
	close(fd);
	assert_int_equal(path_remove_tree(top, NULL), 0);
	assert_false(path_exists(top));
}

static void test_lock_dies_with_its_descriptor(void **state)
{
	AUTO_FREE char *path = path_join(*state, "lock");
	int fd = lock_take(path, LOCK_EXCLUSIVE, false, NULL);

	assert_true(fd >= 0);
	assert_true(lock_is_held(path));
	assert_int_equal(lock_take(path, LOCK_EXCLUSIVE, false, NULL), -EAGAIN);
	close(fd);
	assert_false(lock_is_held(path));
}

static void test_unix_sockets_with_long_paths_pass_descriptors(void **state)
{
	char name[101];
	AUTO_FREE char *dir = NULL;
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int listener = -1;
	AUTO_CLOSE int client = -1;
	AUTO_CLOSE int server = -1;
	AUTO_CLOSE int received = -1;

	memset(name, 'd', 100);
	name[100] = '\0';
	dir = path_join(*state, "%s", name);
	path = path_join(dir, "sock");
	assert_int_equal(path_make_dirs(dir, 0700, NULL), 0);
	assert_int_equal(sock_connect(path, NULL), -ENOENT);
	listener = sock_listen(path, NULL);
	assert_true(listener >= 0);
	assert_int_equal(sock_accept(listener), -EAGAIN);
	client = sock_connect(path, NULL);
	assert_true(client >= 0);
	server = sock_accept(listener);
	assert_true(server >= 0);
	assert_int_equal(sock_send_fd(client, listener), 0);
	received = sock_receive_fd(server);
	assert_true(received >= 0);
	close(TAKE_FD(client));
	assert_int_equal(sock_receive_fd(server), -EPIPE);
}

struct counts {
	struct loop *loop;
	struct loop_source *timer;
	int timers;
	int reads;
};

static void on_timer(void *ctx)
{
	struct counts *c = ctx;

	if (++c->timers == 3)
		loop_quit(c->loop, 42);
	else
		loop_arm(c->timer, 1);
}

static void on_read(void *ctx, int fd, uint32_t events)
{
	struct counts *c = ctx;
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
	c->reads++;
	loop_arm(c->timer, 0);
}

static void test_loop_runs_timers_and_descriptors(void **state)
{
	CLEANUP(loop_freep) struct loop *loop = loop_new();
	struct counts c = { .loop = loop };
	int fds[2];
	struct loop_source *source;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	c.timer = loop_add_timer(loop, on_timer, &c);
	source = loop_add_fd(loop, fds[0], EPOLLIN, on_read, &c);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_run(loop), 42);
	assert_int_equal(c.reads, 1);
	loop_remove(source);
	close(fds[0]);
	close(fds[1]);
}

static void test_processes(void **state)
{
	AUTO_FREE char *text = NULL;
	char *missing[] = { "hull-no-such-program", NULL };
	char *shell[] = { "sh", "-c", "echo out; echo err >&2; exit 3", NULL };
	char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
	char *paged[] = { "grep", "-q", "^THP_enabled:.0", "/proc/self/status", NULL };
	struct err err = { 0 };
	pid_t pid;

	assert_int_equal(proc_output(missing, false, 100, &text, &err), -ENOENT);
	assert_string_equal(err.message,
			    "cannot start 'hull-no-such-program': No such file or directory");
	assert_int_equal(proc_output(shell, true, 100, &text, &err), 3);
	assert_string_equal(text, "out\nerr\n");
	assert_int_equal(proc_spawn(&(struct proc_spec){ .argv = killed }, &pid, &err), 0);
	assert_int_equal(proc_wait(pid), 128 + SIGKILL);
	struct proc_spec small_pages = { .argv = paged, .no_huge_pages = true };
	assert_int_equal(proc_spawn(&small_pages, &pid, &err), 0);
	assert_int_equal(proc_wait(pid), 0);
	assert_int_equal(proc_signal_parse("SIGTERM"), SIGTERM);
	assert_int_equal(proc_signal_parse("hup"), SIGHUP);
	assert_int_equal(proc_signal_parse("9"), 9);
	assert_int_equal(proc_signal_parse("NOPE"), -EINVAL);
	assert_int_equal(proc_signal_parse("0"), -EINVAL);
}

static void test_json_members_are_typed(void **state)
{
	AUTO_JSON json_t *json = NULL;
	AUTO_STRV char **list = NULL;
	static const char text[] = "{\"a\":\"x\",\"n\":3,\"l\":[\"p\",1,\"q\"]}";
	struct err err = { 0 };

	assert_int_equal(json_parse(text, strlen(text), "test", &json, &err), 0);
	assert_string_equal(json_get_string(json, "a"), "x");
	assert_null(json_get_string(json, "n"));
	assert_int_equal(json_get_int(json, "n", 0), 3);
	list = json_get_strv(json, "l");
	assert_int_equal(strv_count(list), 2);
	assert_int_equal(json_parse("{", 1, "test", &json, &err), -EBADMSG);
}

static void test_a_confined_child_reaches_only_its_paths(void **state)
{
	AUTO_FREE char *mine = path_join(*state, "mine");
	AUTO_FREE char *other = path_join(*state, "other");
	const struct landlock_path paths[] = {
		{ .path = "/usr", .execute = true }, { .path = "/bin", .execute = true },
		{ .path = "/lib", .execute = true }, { .path = "/lib64", .execute = true },
		{ .path = "/etc/ld.so.cache" },      { .path = "/dev/null", .write = true },
		{ .path = mine, .write = true },     { .path = "/not/there" },
	};
	static const struct {
		const char *script;
		int status;
	} cases[] = {
		{ "echo x >> \"$1\" && read y < \"$1\"", 0 },
		{ "read y < \"$2\"", 1 },
		{ "echo x >> \"$2\"", 1 },
		{ ": > \"$1.new\"", 1 },
	};
	AUTO_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int fd = landlock_open(paths, ARRAY_SIZE(paths), NULL);
	const struct proc_fd fds[] = { { nothing, 2 } };

	if (fd < 0)
		skip();
	assert_int_equal(file_write_atomic(mine, "x\n", 2, 0600, false, NULL), 0);
	assert_int_equal(file_write_atomic(other, "x\n", 2, 0600, false, NULL), 0);
	close(fd);
	fd = landlock_open(paths, ARRAY_SIZE(paths), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = { (char *)"/bin/sh",
				 (char *)"-c",
				 (char *)cases[i].script,
				 (char *)"sh",
				 mine,
				 other,
				 NULL };
		const struct proc_spec spec = { .argv = argv,
						.fds = fds,
						.fd_count = 1,
						.no_new_privileges = true,
						.landlock_fd = fd };
		pid_t pid = -1;
		int status;

		assert_int_equal(proc_spawn(&spec, &pid, NULL), 0);
		status = proc_wait(pid);
		if ((status != 0) != cases[i].status)
			fail_msg("'%s' ended with %d", cases[i].script, status);
	}
}

/* It would be told of for ever. */
static void test_a_connection_without_a_descriptor_is_closed(void **state)
{
	AUTO_FREE char *path = xasprintf("%s/listen", (const char *)*state);
	AUTO_CLOSE int listener = sock_listen(path, NULL);
	AUTO_CLOSE int first = sock_connect(path, NULL);
	AUTO_CLOSE int served = sock_accept(listener);
	AUTO_CLOSE int second = sock_connect(path, NULL);
	AUTO_CLOSE int next = dup(listener);
	struct rlimit limit;
	struct rlimit none;
	char byte;

	assert_true(first >= 0 && served >= 0 && next >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next + 1, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sock_accept(listener), -EMFILE);
		assert_int_equal(fd_wait(listener, POLLIN, 0), 0);
		assert_int_equal(read(second, &byte, 1), 0);
		close(TAKE_FD(second));
		second = i == 0 ? sock_connect(path, NULL) : -1;
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_a_log_of_its_own_is_bounded(void **state)
{
	AUTO_FREE char *path = path_join(*state, "log");
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	AUTO_FREE char *text = NULL;

	log_init("test", LOG_LEVEL_WARNING);
	log_redirect(fd, 60);
	log_warning("this is kept");
	log_info("this is not");
	log_warning("for this there is no room");
	log_redirect(2, 0);
	assert_int_equal(file_read(path, 1000, &text, NULL, NULL), 0);
	assert_string_equal(text + strcspn(text, " "), " test: warning: this is kept\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_is_one_line_with_context),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers_and_durations),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_hashes_match_published_values),
		cmocka_unit_test(test_sum_does_not_depend_on_how_it_is_fed),
		TEST_IN_DIR(test_a_log_of_its_own_is_bounded),
		TEST_IN_DIR(test_files_are_replaced_whole),
		TEST_IN_DIR(test_clone_keeps_holes),
		TEST_IN_DIR(test_remove_tree_does_not_follow_links),
		TEST_IN_DIR(test_remove_tree_takes_all_that_can_be_made),
		TEST_IN_DIR(test_lock_dies_with_its_descriptor),
		TEST_IN_DIR(test_unix_sockets_with_long_paths_pass_descriptors),
		TEST_IN_DIR(test_a_connection_without_a_descriptor_is_closed),
		cmocka_unit_test(test_loop_runs_timers_and_descriptors),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_json_members_are_typed),
		TEST_IN_DIR(test_a_confined_child_reaches_only_its_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
