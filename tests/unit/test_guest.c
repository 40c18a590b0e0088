/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of hull-init that need no guest. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "guest/caps.h"
#include "guest/fill.h"
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

/* --- volumes that are filled --- */

static char *text_of(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	char *text = NULL;

	return file_read(path, 4096, &text, NULL, NULL) < 0 ? NULL : text;
}

static void put(const char *dir, const char *name, const char *text, mode_t mode)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), mode, false, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static struct stat stat_of(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

static void make(const char *dir, const char *name, mode_t mode)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);

	assert_int_equal(path_make_dirs(path, 0755, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_an_empty_volume_is_filled(void **state)
{
	AUTO_FREE char *root = path_join(*state, "root");
	AUTO_FREE char *image = path_join(root, "srv/data");
	AUTO_FREE char *volume = path_join(*state, "volume");
	AUTO_FREE char *first = path_join(image, "a");
	AUTO_FREE char *second = path_join(image, "sub/b");
	AUTO_FREE char *link = path_join(image, "link");
	AUTO_FREE char *fifo = path_join(image, "sub/fifo");
	const struct timespec then[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
	struct err err = { 0 };

	make(image, "sub", 0750);
	put(image, "a", "one", 0640);
	assert_int_equal(linkat(AT_FDCWD, first, AT_FDCWD, second, 0), 0);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(utimensat(AT_FDCWD, first, then, 0), 0);
	assert_int_equal(chmod(image, 01770), 0);
	make(volume, "lost+found", 0700);
	if (fill_volume(root, "/srv/data", volume, &err) < 0)
		fail_msg("%s", err.message);

	AUTO_FREE char *text = text_of(volume, "sub/b");
	struct stat a = stat_of(volume, "a");

	assert_string_equal(text, "one");
	assert_int_equal(a.st_mode, S_IFREG | 0640);
	assert_int_equal(a.st_mtim.tv_sec, 2000);
	assert_int_equal(a.st_ino, stat_of(volume, "sub/b").st_ino);
	assert_int_equal(stat_of(volume, "sub").st_mode, S_IFDIR | 0750);
	assert_int_equal(stat_of(volume, "").st_mode, S_IFDIR | 01770);
	assert_true(S_ISFIFO(stat_of(volume, "sub/fifo").st_mode));
	assert_true(S_ISLNK(stat_of(volume, "link").st_mode));
	/* What is in it now is not touched again. */
	put(image, "new", "new", 0600);
	put(volume, "a", "mine", 0600);
	assert_int_equal(fill_volume(root, "/srv/data", volume, &err), 0);
	AUTO_FREE char *kept = text_of(volume, "a");
	assert_string_equal(kept, "mine");
	assert_null(text_of(volume, "new"));
}

static void test_filling_that_was_cut_short_begins_again(void **state)
{
	AUTO_FREE char *root = path_join(*state, "root");
	AUTO_FREE char *image = path_join(root, "d");
	AUTO_FREE char *volume = path_join(*state, "volume");
	AUTO_FREE char *marker = path_join(volume, ".hull-filling");
	struct err err = { 0 };

	make(image, "sub", 0755);
	put(image, "a", "whole", 0600);
	make(volume, ".hull-filling", 0700);
	make(volume, "sub", 0700);
	put(volume, "sub/half", "ha", 0600);
	assert_int_equal(fill_volume(root, "/d", volume, &err), 0);
	AUTO_FREE char *text = text_of(volume, "a");
	assert_string_equal(text, "whole");
	assert_null(text_of(volume, "sub/half"));
	assert_false(path_exists(marker));
}

static void test_nothing_to_fill_with(void **state)
{
	AUTO_FREE char *root = path_join(*state, "root");
	AUTO_FREE char *volume = path_join(*state, "volume");
	struct err err = { 0 };

	make(volume, "", 0700);
	make(root, "", 0755);
	put(root, "file", "x", 0600);
	assert_int_equal(fill_volume(root, "/nosuch", volume, &err), 0);
	assert_int_equal(fill_volume(root, "/file", volume, &err), 0);
	assert_int_equal(stat_of(volume, "").st_mode, S_IFDIR | 0700);
	/* A link of the image leads nowhere but into the image. */
	AUTO_FREE char *link = path_join(root, "link");
	assert_int_equal(symlink(*state, link), 0);
	assert_int_equal(fill_volume(root, "/link", volume, &err), 0);
	assert_null(text_of(volume, "root/file"));
}

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
		TEST_IN_DIR(test_an_empty_volume_is_filled),
		TEST_IN_DIR(test_filling_that_was_cut_short_begins_again),
		TEST_IN_DIR(test_nothing_to_fill_with),
		cmocka_unit_test(test_user_by_name),
		cmocka_unit_test(test_user_by_number),
		cmocka_unit_test(test_user_with_group),
		cmocka_unit_test(test_caps_known),
		TEST_IN_DIR(test_make_dirs_stays_inside),
		TEST_IN_DIR(test_open_no_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
