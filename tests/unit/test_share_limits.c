/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest that wants too much of hull-share gets: errors, and the server goes on. */
#include "share_guest.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define NAMES 64  /* limit of the test's server */
#define FILES 200 /* that there are */
#define RACES 1000
#define SWAPS 9 /* odd: it ends as the other */

/* No answer comes. */
static void tell(struct guest *guest, uint32_t opcode, uint64_t node, const void *data, size_t size)
{
	AUTO_FREE uint8_t *bytes = xcalloc(1, sizeof(struct fuse_in_header) + size);
	struct fuse_in_header in = {
		.len = (uint32_t)(sizeof(in) + size), .opcode = opcode, .unique = 1, .nodeid = node
	};

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), data, size);
	send_frame(guest, guest->share, SHARE_FUSE, bytes, in.len);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
}

static void forget(struct guest *guest, uint64_t node, uint64_t times)
{
	tell(guest, FUSE_FORGET, node, &(struct fuse_forget_in){ times }, sizeof(uint64_t));
}

static void make_files(const char *dir)
{
	for (int i = 0; i < FILES; i++) {
		AUTO_FREE char *name = xasprintf("f%d", i);

		put_file(dir, name, "x");
	}
}

/* Looks names up until that is refused; the last node that it got. */
static int fill_up(struct guest *guest, uint64_t *ret_last)
{
	for (int i = 0; i < FILES; i++) {
		AUTO_FREE char *name = xasprintf("f%d", i);
		int r = named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, name);

		if (r < 0) {
			assert_int_equal(r, -ENFILE);
			return i;
		}
		*ret_last = entry_of(guest).nodeid;
	}
	fail();
	return 0;
}

static void assert_absent(const char *dir, const char *name)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);

	assert_int_equal(access(path, F_OK), -1);
}

/* All shares together; what exists goes on, nothing new is made, and what is forgotten is free. */
static void test_names_are_bounded(void **state)
{
	struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	struct fuse_mknod_in nod = { .mode = S_IFREG | 0644 };
	struct fuse_read_in all = { .size = 65536 };
	struct guest *guest;
	uint64_t last = 0;
	uint64_t fh = 0;
	uint64_t node;

	make_files(*state);
	guest = guest_new(*state, false);
	assert_int_equal(
		share_server_add(guest->server, open(*state, O_PATH | O_CLOEXEC), false, NULL), 0);
	share_server_limit(guest->server, NAMES);
	assert_int_equal(fill_up(guest, &last), NAMES - 2);
	guest->share = 1;
	assert_int_equal(named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "f0"), -ENFILE);
	guest->share = 0;
	assert_int_equal(create(guest, FUSE_ROOT_ID, "new", 0644, &node, &fh), -ENFILE);
	assert_int_equal(
		request(guest, FUSE_MKDIR, FUSE_ROOT_ID, &mkdir_in, sizeof(mkdir_in), "new", 4),
		-ENFILE);
	assert_int_equal(request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "new", 4),
			 -ENFILE);
	assert_int_equal(request(guest, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "new\0to", 7),
			 -ENFILE);
	assert_absent(*state, "new");
	/* A listing still tells all names, though not what they are. */
	assert_int_equal(request(guest, FUSE_READDIRPLUS, FUSE_ROOT_ID, &all, sizeof(all), NULL, 0),
			 0);
	assert_true(guest->out.len > FILES * sizeof(struct fuse_entry_out));
	assert_int_equal(open_node(guest, last, O_RDONLY, &fh), 0);
	assert_int_equal(read_at(guest, last, fh), 0);
	release(guest, last, fh);
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "f0"), 0);
	forget(guest, last, UINT64_MAX);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "new", 0644, &node, &fh), 0);
	assert_file(*state, "new", "");
	guest_free(guest);
}

/* If one of them were kept for each round, the limit would be reached. */
static void test_what_is_forgotten_is_gone(void **state)
{
	struct guest *guest;

	make_files(*state);
	guest = guest_new(*state, false);
	share_server_limit(guest->server, NAMES);
	for (int round = 0; round < 20; round++) {
		struct {
			struct fuse_batch_forget_in in;
			struct fuse_forget_one ones[NAMES];
		} batch = { .in = { .count = UINT32_MAX } }; /* more than there are */

		for (int i = 0; i < NAMES - 1; i++) {
			AUTO_FREE char *name = xasprintf("f%d", (i + round) % FILES);
			uint64_t node = lookup(guest, FUSE_ROOT_ID, name);

			assert_int_equal(lookup(guest, FUSE_ROOT_ID, name), node);
			batch.ones[i] = (struct fuse_forget_one){ node, 2 };
		}
		batch.ones[NAMES - 1] = (struct fuse_forget_one){ FUSE_ROOT_ID, 1 };
		tell(guest, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch));
	}
	/* The root and what was never told are nobody's to forget. */
	forget(guest, FUSE_ROOT_ID, 1000);
	forget(guest, 1234567, 1);
	lookup(guest, FUSE_ROOT_ID, "f0");
	guest_free(guest);
}

/* Descriptors are the host's: there are so many for this process, and no more. */
static void test_open_files_are_bounded(void **state)
{
	struct rlimit before;
	struct rlimit few;
	struct guest *guest = guest_new(*state, false);
	uint64_t handles[256] = { 0 };
	size_t count = 0;
	uint64_t node;
	int r = 0;

	put_file(*state, "f", "x");
	node = lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 128, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < ARRAY_SIZE(handles) &&
	       (r = open_node(guest, node, O_RDONLY, &handles[count])) == 0)
		count++;
	assert_int_equal(r, -EMFILE);
	assert_true(count > 32);
	assert_int_equal(read_at(guest, node, handles[0]), 0);
	for (size_t i = 0; i < count; i++)
		release(guest, node, handles[i]);
	release(guest, node, handles[0]);
	assert_int_equal(open_node(guest, node, O_RDONLY, &handles[0]), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	guest_free(guest);
}

/* Directories in each other until no path leads to the last; all the way back they can go. */
static void test_depth_ends_with_an_error(void **state)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct guest *guest = guest_new(*state, false);
	uint64_t nodes[64] = { FUSE_ROOT_ID };
	char name[256];
	char too_long[257];
	size_t depth = 0;
	int r;

	memset(name, 'n', 255);
	name[255] = '\0';
	memset(too_long, 'n', 256);
	too_long[256] = '\0';
	assert_int_equal(request(guest, FUSE_MKDIR, FUSE_ROOT_ID, &in, sizeof(in), too_long, 257),
			 -EINVAL);
	while ((r = request(guest, FUSE_MKDIR, nodes[depth], &in, sizeof(in), name, 256)) == 0 &&
	       depth + 1 < ARRAY_SIZE(nodes))
		nodes[++depth] = entry_of(guest).nodeid;
	assert_int_equal(r, -ENAMETOOLONG);
	assert_in_range(depth, 15, 17); /* of PATH_MAX */
	assert_int_equal(named(guest, FUSE_RMDIR, nodes[0], name), -ENOTEMPTY);
	/* The directory with no path is found from the one above it. */
	while (depth-- > 0)
		assert_int_equal(named(guest, FUSE_RMDIR, nodes[depth], name), 0);
	guest_free(guest);
}

/* Another process swaps a directory and a link that leads out, some times for each byte that it is
 * sent, and answers each. */
static pid_t start_swapping(const char *dir, const int pair[2])
{
	AUTO_FREE char *a = path_join(dir, "d");
	AUTO_FREE char *b = path_join(dir, "link");
	pid_t pid = fork();
	char byte;

	if (pid != 0)
		return pid;
	close(pair[0]);
	while (fd_read_exact(pair[1], &byte, 1) == 0) {
		for (int i = 0; i < SWAPS; i++)
			if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
				_exit(1);
		fd_write_all(pair[1], &byte, 1);
	}
	_exit(0);
}

/* Whether it was, at the time, the directory in which something could be made. */
static bool try_to_get_out(struct guest *guest)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	uint64_t node;
	int r = named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "d");

	if (r != 0)
		return false;
	node = entry_of(guest).nodeid;
	/* That there is none may be an answer, too. */
	if (named(guest, FUSE_LOOKUP, node, "secret") == 0)
		assert_int_equal(entry_of(guest).nodeid, 0);
	r = request(guest, FUSE_MKDIR, node, &in, sizeof(in), "made", 5);
	named(guest, FUSE_RMDIR, node, "made");
	forget(guest, node, 1);
	return r == 0 || r == -EEXIST;
}

static void test_no_race_leads_out(void **state)
{
	AUTO_FREE char *shared = path_join(*state, "shared");
	AUTO_FREE char *outside = path_join(*state, "outside");
	AUTO_FREE char *d = path_join(shared, "d");
	AUTO_FREE char *link = path_join(shared, "link");
	struct guest *guest;
	size_t found = 0;
	int status = 0;
	int pair[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(mkdir(shared, 0755) | mkdir(outside, 0755) | mkdir(d, 0755), 0);
	assert_int_equal(symlink("../outside", link), 0);
	put_file(outside, "secret", "s");
	assert_int_equal(sock_pair(pair, NULL), 0);
	pid = start_swapping(shared, pair);
	close(pair[1]);
	guest = guest_new(shared, false);
	found += try_to_get_out(guest);
	for (int i = 0; i < RACES; i++) {
		assert_int_equal(fd_write_all(pair[0], &byte, 1), 0);
		found += try_to_get_out(guest);
		assert_int_equal(fd_read_exact(pair[0], &byte, 1), 0);
	}
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(found > 0);
	assert_absent(outside, "made");
	assert_file(outside, "secret", "s");
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_names_are_bounded),
		TEST_IN_DIR(test_what_is_forgotten_is_gone),
		TEST_IN_DIR(test_open_files_are_bounded),
		TEST_IN_DIR(test_depth_ends_with_an_error),
		TEST_IN_DIR(test_no_race_leads_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
