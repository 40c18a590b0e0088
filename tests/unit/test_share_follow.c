/* SPDX-License-Identifier: Apache-2.0 */
/* Single files that follow their names, with the process that opens them. */
#include "share_guest.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/proc.h"
#include "share/opener.h"

static pid_t start_opener(const char *dir, bool read_only, int *ret_sock)
{
	const struct shared_name name = { .share = 0,
					  .dir_fd = open(dir, O_PATH | O_CLOEXEC),
					  .name = "f",
					  .read_only = read_only };
	int pair[2];
	pid_t pid;

	assert_int_equal(sock_pair(pair, NULL), 0);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		opener_serve(pair[1], &name, 1);
		_exit(0);
	}
	close(pair[1]);
	close(name.dir_fd);
	*ret_sock = pair[0];
	return pid;
}

struct follower {
	struct guest *guest;
	pid_t opener;
};

static struct follower follow(const char *dir, bool read_only)
{
	AUTO_FREE char *path = path_join(dir, "f");
	struct follower f = { .guest = guest_new_silent(path, read_only) };
	int sock = -1;

	f.opener = start_opener(dir, read_only, &sock);
	share_server_set_opener(f.guest->server, sock);
	assert_int_equal(
		share_server_follow(f.guest->server, open(dir, O_PATH | O_CLOEXEC), "f", NULL), 0);
	hello(f.guest);
	return f;
}

static void follower_release(struct follower *f)
{
	guest_free(f->guest);
	assert_int_equal(proc_wait(f->opener), 0); /* it ends by itself */
}

/* As editors save. */
static void replace(const char *dir, const char *text)
{
	AUTO_FREE char *from = path_join(dir, "new");
	AUTO_FREE char *to = path_join(dir, "f");

	put_file(dir, "new", text);
	assert_int_equal(rename(from, to), 0);
}

static void assert_content(struct guest *guest, const char *text)
{
	uint64_t fh = 0;

	assert_int_equal(open_node(guest, FUSE_ROOT_ID, O_RDONLY, &fh), 0);
	assert_int_equal(read_at(guest, FUSE_ROOT_ID, fh), 0);
	assert_int_equal(guest->out.len - sizeof(guest->out), strlen(text));
	assert_memory_equal(guest->data, text, strlen(text));
	release(guest, FUSE_ROOT_ID, fh);
}

static void test_what_takes_the_place_is_the_file(void **state)
{
	struct fuse_getattr_in getattr = { 0 };
	struct follower f;
	uint64_t fh = 0;

	put_file(*state, "f", "one");
	put_file(*state, "other", "secret");
	f = follow(*state, false);
	assert_content(f.guest, "one");
	assert_int_equal(open_node(f.guest, FUSE_ROOT_ID, O_RDWR, &fh), 0);
	replace(*state, "second");
	assert_content(f.guest, "second");
	assert_int_equal(
		request(f.guest, FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr), NULL, 0),
		0);
	assert_int_equal(((struct fuse_attr_out *)(void *)f.guest->data)->attr.size, 6);
	assert_true(has_echo(f.guest, SHARE_ECHO_MODIFY, ""));
	assert_true(has_echo(f.guest, SHARE_ECHO_CLOSE, ""));
	/* What was open goes along, for both directions. */
	assert_int_equal(write_at(f.guest, FUSE_ROOT_ID, fh, "SEC"), 0);
	assert_file(*state, "f", "SECond");
	/* What the host writes to the new one is seen, too. */
	put_file(*state, "other", "still secret");
	f.guest->echo_count = 0;
	replace(*state, "third");
	assert_content(f.guest, "third");
	follower_release(&f);
	assert_file(*state, "other", "still secret");
}

static void test_what_is_no_file_is_not_followed(void **state)
{
	AUTO_FREE char *path = path_join(*state, "f");
	struct follower f;

	put_file(*state, "f", "one");
	put_file(*state, "other", "secret");
	f = follow(*state, false);
	assert_int_equal(unlink(path), 0);
	assert_content(f.guest, "one");
	assert_int_equal(symlink("other", path), 0);
	assert_content(f.guest, "one");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_content(f.guest, "one");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_content(f.guest, "one");
	assert_int_equal(rmdir(path), 0);
	replace(*state, "two");
	assert_content(f.guest, "two");
	follower_release(&f);
}

static void test_a_read_only_one_stays_that(void **state)
{
	struct fuse_write_in write = { .size = 1 };
	struct follower f;
	uint64_t fh = 0;

	put_file(*state, "f", "one");
	f = follow(*state, true);
	replace(*state, "two");
	assert_content(f.guest, "two");
	assert_int_equal(open_node(f.guest, FUSE_ROOT_ID, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_node(f.guest, FUSE_ROOT_ID, O_RDONLY, &write.fh), 0);
	assert_int_equal(request(f.guest, FUSE_WRITE, FUSE_ROOT_ID, &write, sizeof(write), "x", 1),
			 -EROFS);
	assert_file(*state, "f", "two");
	follower_release(&f);
}

/* Who appends does so where the file ends on the host. */
static void test_appending_goes_to_the_end(void **state)
{
	struct fuse_write_in write = { .size = 1 };
	struct follower f;

	put_file(*state, "f", "one");
	f = follow(*state, false);
	assert_int_equal(open_node(f.guest, FUSE_ROOT_ID, O_WRONLY | O_APPEND, &write.fh), 0);
	replace(*state, "longer");
	assert_int_equal(request(f.guest, FUSE_WRITE, FUSE_ROOT_ID, &write, sizeof(write), "x", 1),
			 0);
	assert_file(*state, "f", "longerx");
	follower_release(&f);
}

static void test_nothing_else_is_opened(void **state)
{
	int sock = -1;
	pid_t pid;
	int fd;

	put_file(*state, "f", "one");
	pid = start_opener(*state, true, &sock);
	fd = opener_ask(sock, 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
	assert_int_equal(opener_ask(sock, 1), -ENOENT);
	assert_int_equal(opener_ask(sock, UINT16_MAX), -ENOENT);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(opener_ask(sock, 0) < 0);
	close(sock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_what_takes_the_place_is_the_file),
		TEST_IN_DIR(test_what_is_no_file_is_not_followed),
		TEST_IN_DIR(test_a_read_only_one_stays_that),
		TEST_IN_DIR(test_appending_goes_to_the_end),
		TEST_IN_DIR(test_nothing_else_is_opened),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
