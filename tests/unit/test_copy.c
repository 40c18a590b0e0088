/* SPDX-License-Identifier: Apache-2.0 */
/* What copies leave to whoever waits for them, and to whoever cleans up after them. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/mem.h"
#include "engine/copies.h"
#include "engine/stream.h"

static size_t warned;

static void on_warning(void *ctx, const char *text)
{
	warned++;
}

static int warn_much(void *ctx, struct err *err)
{
	AUTO_FREE char *name = xcalloc(1, 4001);

	memset(name, 'x', 4000);
	for (size_t i = 0; i < 1000; i++)
		helper_warn(NULL, name);
	close(*(int *)ctx);
	return err_set(err, -ENOSPC, "it is full");
}

/* Nobody hears it before the copy has ended. */
static void test_warnings_hold_no_copy_up(void **state)
{
	struct engine engine = { .ui.warning = on_warning };
	struct helper helper = { .report = -1 };
	struct err err = { 0 };
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(helper_start(warn_much, &fds[1], (int[]){ fds[1], -1 }, &helper, &err), 0);
	close(fds[1]);
	assert_int_equal(fd_wait(fds[0], POLLIN, 20000) != 0, 1); /* it got that far */
	close(fds[0]);
	warned = 0;
	assert_int_equal(helper_finish(&engine, &helper, &err), -ENOSPC);
	assert_string_equal(err.message, "it is full");
	assert_in_range(warned, 1, 20);
}

static char *make(const char *root, const char *name)
{
	AUTO_FREE char *file = path_join(root, "%s/ram", name);
	char *dir = path_join(root, "%s", name);

	assert_int_equal(path_make_dirs(dir, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(file, "x", 1, 0600, false, NULL), 0);
	return dir;
}

static void test_what_killed_commands_left_is_pruned(void **state)
{
	const struct timespec long_ago[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
	AUTO_FREE char *dead = make(*state, "snapshots/.making-1");
	AUTO_FREE char *kept = make(*state, "snapshots/2");
	AUTO_FREE char *untaken = make(*state, "containers/a/copy-1");
	AUTO_FREE char *fresh = make(*state, "containers/a/copy-2");
	AUTO_FREE char *live = NULL;
	struct prune_result result = { 0 };
	struct engine engine = { .root = *state };
	AUTO_FREE char *lock_path = path_join(*state, "containers/a/lock");
	AUTO_CLOSE int runs = lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL);
	AUTO_CLOSE int lock = -1;

	assert_true(runs >= 0);
	assert_int_equal(copies_make_directory(&engine, &live, &lock, NULL), 0);
	assert_int_equal(utimensat(AT_FDCWD, untaken, long_ago, 0), 0);
	copies_prune(&engine, &result);
	assert_false(path_exists(dead));
	assert_false(path_exists(untaken));
	assert_true(path_exists(kept));
	assert_true(path_exists(fresh));
	assert_true(path_exists(live));
	assert_true(result.reclaimed_bytes > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_warnings_hold_no_copy_up),
		TEST_IN_DIR(test_what_killed_commands_left_is_pruned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
