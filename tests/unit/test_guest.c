/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of hull-init that need no guest. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "guest/caps.h"
#include "guest/mounts.h"
#include "guest/sys.h"
#include "guest/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "broken:x:none:5::/:\n"
			     "short:x\n"
			     "\n"
			     "web:x:1000:100:Web:/home/web:/bin/sh\n"
			     "1001:x:7:8:a name of digits:/seven:/bin/sh\n"
			     "nohome:x:9:9";
static const char group[] = "root:x:0:\n"
			    "users:x:100:someone\n"
			    "wheel:x:10:root,web\n"
			    "webby:x:11:webby,xweb\n"
			    "extra:x:77:web";

static void test_user_by_name(void **state)
{
	struct user user;

	assert_int_equal(user_lookup(passwd, group, "web", NULL, &user, NULL), 0);
	assert_int_equal(user.uid, 1000);
	assert_int_equal(user.gid, 100);
	assert_string_equal(user.home, "/home/web");
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user.groups[0], 10);
	assert_int_equal(user.groups[1], 77);
	assert_int_equal(user_lookup(passwd, group, "nohome", NULL, &user, NULL), 0);
	assert_string_equal(user.home, "/");
}

static void test_user_by_number(void **state)
{
	struct user user;

	assert_int_equal(user_lookup(passwd, group, "1000", NULL, &user, NULL), 0);
	assert_string_equal(user.home, "/home/web");
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user_lookup(passwd, group, "1001", NULL, &user, NULL), 0);
	assert_int_equal(user.uid, 7); /* names come first */
	assert_int_equal(user_lookup(passwd, group, "5555", NULL, &user, NULL), 0);
	assert_int_equal(user.uid, 5555);
	assert_int_equal(user.gid, 0);
	assert_string_equal(user.home, "/");
	assert_int_equal(user_lookup("", "", "12:34", NULL, &user, NULL), 0);
	assert_int_equal(user.gid, 34);
	assert_int_equal(user_lookup("", "", "", NULL, &user, NULL), 0);
	assert_int_equal(user.uid, 0);
	assert_int_equal(user_lookup("", "", "2147483648", NULL, &user, NULL), -EINVAL);
}

static void test_user_with_group(void **state)
{
	static char *more[] = { "extra", "4242", "extra", NULL };
	static char *missing[] = { "nosuch", NULL };
	struct user user;
	struct err err = { 0 };

	assert_int_equal(user_lookup(passwd, group, "web:wheel", more, &user, NULL), 0);
	assert_int_equal(user.gid, 10);
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user.groups[0], 77);
	assert_int_equal(user.groups[1], 4242);
	assert_int_equal(user_lookup(passwd, group, "bob", NULL, &user, &err), -EINVAL);
	assert_string_equal(err.message, "user 'bob' not found: no such entry in /etc/passwd");
	assert_int_equal(user_lookup(passwd, group, "web:nosuch", NULL, &user, &err), -EINVAL);
	assert_string_equal(err.message, "group 'nosuch' not found: no such entry in /etc/group");
	assert_int_equal(user_lookup(passwd, group, "web", missing, &user, &err), -EINVAL);
}

static void test_caps_known(void **state)
{
	uint64_t all = caps_all();

	assert_true(all & 1);
	assert_int_equal(all & (all + 1), 0); /* no gaps */
}

/* Whatever links the tree holds, directories appear inside of it. */
static void test_make_dirs_stays_inside(void **state)
{
	static const struct {
		const char *link, *target, *path, *made;
		int r;
	} cases[] = {
		{ "plain", NULL, "/plain/a/b", "plain/a/b", 0 },
		{ "absolute", "/in", "/absolute/x", "in/x", 0 },
		{ "up", "../../../../../tmp/hull-escape", "/up/x", "tmp/hull-escape/x", 0 },
		{ "chain", "absolute/y", "/chain/z", "in/y/z", 0 },
		{ "loop", "loop", "/loop/x", NULL, -ELOOP },
		{ NULL, NULL, "/slashes//c///", "slashes/c", 0 },
		{ NULL, NULL, "/", ".", 0 },
	};
	AUTO_CLOSE int root = open(*state, O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].target)
			assert_int_equal(symlinkat(cases[i].target, root, cases[i].link), 0);
		AUTO_CLOSE int fd = mounts_make_dirs(root, cases[i].path, 0755);
		struct stat st;

		if (cases[i].r < 0) {
			assert_int_equal(fd, cases[i].r);
			continue;
		}
		if (fd < 0)
			fail_msg("%s: %s", cases[i].path, strerror(-fd));
		assert_int_equal(fstatat(root, cases[i].made, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_true(S_ISDIR(st.st_mode));
	}
	assert_int_equal(access("/tmp/hull-escape", F_OK), -1);
}

static void test_open_no_links(void **state)
{
	AUTO_CLOSE int root = open(*state, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(symlinkat("/", root, "proc"), 0);
	assert_int_equal(sys_open_no_links(root, "proc", O_PATH), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_by_name),      cmocka_unit_test(test_user_by_number),
		cmocka_unit_test(test_user_with_group),   cmocka_unit_test(test_caps_known),
		TEST_IN_DIR(test_make_dirs_stays_inside), TEST_IN_DIR(test_open_no_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
