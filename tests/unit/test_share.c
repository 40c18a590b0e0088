/* SPDX-License-Identifier: Apache-2.0 */
/* hull-share as a hostile guest sees it: frames and FUSE requests over a socket pair, in a
 * directory of the test's own. */
#include "share_guest.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "share/node.h"

static void test_files_are_made_written_read_and_removed(void **state)
{
	struct guest *guest = guest_new(*state, false);
	struct fuse_init_in init = { .major = FUSE_KERNEL_VERSION, .minor = 37, .flags = ~0u };
	uint64_t node = 0;
	uint64_t fh = 0;

	assert_int_equal(request(guest, FUSE_INIT, 0, &init, sizeof(init), NULL, 0), 0);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "f", 0640, &node, &fh), 0);
	assert_int_equal(write_at(guest, node, fh, "hello"), 0);
	assert_file(*state, "f", "hello");
	assert_int_equal(read_at(guest, node, fh), 0);
	assert_memory_equal(guest->data, "hello", 5);
	assert_int_equal(lookup(guest, FUSE_ROOT_ID, "f"), node);
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	/* What is open stays. */
	assert_int_equal(read_at(guest, node, fh), 0);
	assert_memory_equal(guest->data, "hello", 5);
	release(guest, node, fh);
	assert_int_equal(read_at(guest, node, fh), -EBADF);
	/* That there is none may be remembered. */
	assert_int_equal(named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "f"), 0);
	assert_int_equal(entry_of(guest).nodeid, 0);
	guest_free(guest);
}

static void test_names_are_single_components(void **state)
{
	static const char *const names[] = { ".", "..", "a/b", "/etc/passwd", "../x", "" };
	struct guest *guest = guest_new(*state, false);
	char long_name[300];

	memset(long_name, 'x', sizeof(long_name));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, names[i]), -EINVAL);
		assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, names[i]), -EINVAL);
	}
	/* No NUL, or too long. */
	assert_int_equal(request(guest, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, long_name, 10),
			 -EINVAL);
	long_name[299] = '\0';
	assert_int_equal(request(guest, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, long_name, 300),
			 -EINVAL);
	/* The second name of two. */
	struct fuse_rename_in rename = { .newdir = FUSE_ROOT_ID };

	assert_int_equal(
		request(guest, FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), "a\0../b", 7),
		-EINVAL);
	assert_int_equal(request(guest, FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), "a", 2),
			 -EINVAL);
	guest_free(guest);
}

static void test_links_lead_nowhere(void **state)
{
	AUTO_FREE char *outside = path_join(*state, "outside");
	AUTO_FREE char *inside = path_join(*state, "inside");
	AUTO_FREE char *sub = path_join(*state, "inside/sub");
	AUTO_FREE char *aside = path_join(*state, "inside/aside");
	AUTO_FREE char *link_path = path_join(*state, "inside/link");
	struct guest *guest;
	uint64_t dir;
	uint64_t node;
	uint64_t fh = 0;

	assert_int_equal(path_make_dirs(outside, 0755, NULL), 0);
	assert_int_equal(path_make_dirs(sub, 0755, NULL), 0);
	put_file(outside, "secret", "secret");
	put_file(sub, "secret", "ours");
	assert_int_equal(symlink("../outside/secret", link_path), 0);
	guest = guest_new(inside, false);
	node = lookup(guest, FUSE_ROOT_ID, "link");
	assert_true(S_ISLNK(entry_of(guest).attr.mode));
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh), -EACCES);
	assert_int_equal(request(guest, FUSE_READLINK, node, NULL, 0, NULL, 0), 0);
	assert_memory_equal(guest->data, "../outside/secret", 17);
	assert_int_equal(named(guest, FUSE_LOOKUP, node, "x"), -ENOTDIR);
	/* A directory that the guest knows becomes a link. */
	dir = lookup(guest, FUSE_ROOT_ID, "sub");
	node = lookup(guest, dir, "secret");
	assert_int_equal(rename(sub, aside), 0);
	assert_int_equal(symlink("../outside", sub), 0);
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh), -ESTALE);
	assert_int_equal(named(guest, FUSE_LOOKUP, dir, "secret"), -ESTALE);
	assert_int_equal(named(guest, FUSE_UNLINK, dir, "secret"), -ESTALE);
	assert_file(outside, "secret", "secret");
	guest_free(guest);
}

static void test_read_only_refuses_all_that_writes(void **state)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	struct fuse_mkdir_in dir = { .mode = 0755 };
	struct fuse_mknod_in nod = { .mode = S_IFREG | 0644 };
	struct fuse_rename_in rename = { .newdir = FUSE_ROOT_ID };
	struct fuse_link_in link = { 0 };
	struct guest *guest;
	uint64_t node;
	uint64_t fh = 0;

	put_file(*state, "f", "old");
	guest = guest_new(*state, true);
	node = link.oldnodeid = lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(create(guest, FUSE_ROOT_ID, "g", 0644, &node, &fh), -EROFS);
	assert_int_equal(open_node(guest, node, O_WRONLY, &fh), -EROFS);
	assert_int_equal(open_node(guest, node, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_node(guest, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(request(guest, FUSE_SETATTR, node, &size, sizeof(size), NULL, 0), -EROFS);
	assert_int_equal(request(guest, FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof(dir), "d", 2),
			 -EROFS);
	assert_int_equal(request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "n", 2),
			 -EROFS);
	assert_int_equal(
		request(guest, FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), "f\0g", 4),
		-EROFS);
	assert_int_equal(request(guest, FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), "g", 2),
			 -EROFS);
	assert_int_equal(request(guest, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "l\0f", 4), -EROFS);
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "f"), -EROFS);
	/* A task that pretends to be the echo's changes nothing either. */
	guest->task = ECHO_TASK;
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	request(guest, FUSE_SETATTR, node, &size, sizeof(size), NULL, 0);
	request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "n", 2);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "g", 0644, &node, &fh), -EROFS);
	assert_int_equal(
		request(guest, FUSE_RENAME, FUSE_ROOT_ID, &rename, sizeof(rename), "f\0g", 4),
		-EROFS);
	assert_int_equal(request(guest, FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), "g", 2),
			 -EROFS);
	guest->task = TASK;
	assert_int_equal(open_node(guest, node, O_RDONLY, &fh), 0);
	assert_int_equal(write_at(guest, node, fh, "new"), -EROFS);
	assert_file(*state, "f", "old");
	guest_free(guest);
}

static void test_what_would_hurt_the_host_is_not_made(void **state)
{
	AUTO_FREE char *path = path_join(*state, "f");
	AUTO_FREE char *fifo = path_join(*state, "fifo");
	struct fuse_mknod_in nod = { .mode = S_IFCHR | 0666, .rdev = 0x103 };
	struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = S_IFREG | 06755 };
	struct guest *guest = guest_new(*state, false);
	struct stat st;
	uint64_t node = 0;
	uint64_t fh = 0;

	assert_int_equal(request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "d", 2),
			 -EPERM);
	nod.mode = S_IFBLK | 0666;
	assert_int_equal(request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "d", 2),
			 -EPERM);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "f", 06755, &node, &fh), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(request(guest, FUSE_SETATTR, node, &mode, sizeof(mode), NULL, 0), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	/* What is no file does not keep the server waiting. */
	assert_int_equal(mkfifo(fifo, 0644), 0);
	assert_int_equal(open_node(guest, lookup(guest, FUSE_ROOT_ID, "fifo"), O_RDONLY, &fh),
			 -EACCES);
	guest_free(guest);
}

/* To open a device is to do something with it; a FIFO's reader sees whether it was. */
static void test_what_is_no_file_is_not_opened(void **state)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE };
	AUTO_FREE char *path = path_join(*state, "fifo");
	struct guest *guest = guest_new(*state, false);
	uint64_t node;
	uint64_t fh = 0;

	assert_int_equal(mkfifo(path, 0600), 0);
	AUTO_CLOSE int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	node = lookup(guest, FUSE_ROOT_ID, "fifo");
	assert_int_equal(open_node(guest, node, O_WRONLY, &fh), -EACCES);
	assert_int_equal(request(guest, FUSE_SETATTR, node, &size, sizeof(size), NULL, 0), -EINVAL);
	assert_int_equal(fd_wait(reader, POLLIN, 0), 0); /* no hang-up */
	guest_free(guest);
}

/* A directory that only what is in it keeps goes with the last of that, and not sooner. */
static void test_a_forgotten_directory_goes_with_what_is_in_it(void **state)
{
	struct fuse_rename2_in exchange = { .flags = RENAME_EXCHANGE };
	struct fuse_forget_in once = { .nlookup = 1 };
	AUTO_FREE char *path = path_join(*state, "d");
	struct guest *guest = guest_new(*state, false);
	struct fuse_in_header forget = { .len = sizeof(forget) + sizeof(once),
					 .opcode = FUSE_FORGET,
					 .unique = 1 };
	uint8_t bytes[sizeof(forget) + sizeof(once)];

	assert_int_equal(mkdir(path, 0700), 0);
	put_file(*state, "d/known", "x");
	put_file(*state, "unknown", "y");
	exchange.newdir = forget.nodeid = lookup(guest, FUSE_ROOT_ID, "d");
	lookup(guest, exchange.newdir, "known");
	memcpy(bytes, &forget, sizeof(forget));
	memcpy(bytes + sizeof(forget), &once, sizeof(once));
	send_frame(guest, 0, SHARE_FUSE, bytes, sizeof(bytes));
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	assert_int_equal(request(guest, FUSE_RENAME2, FUSE_ROOT_ID, &exchange, sizeof(exchange),
				 "unknown\0known", 14),
			 0);
	assert_file(*state, "d/known", "y");
	assert_int_equal(named(guest, FUSE_LOOKUP, exchange.newdir, "known"), -ESTALE);
	put_file(*state, "d/other", "z");
	assert_int_equal(request(guest, FUSE_RENAME2, FUSE_ROOT_ID, &exchange, sizeof(exchange),
				 "unknown\0other", 14),
			 -ESTALE);
	guest_free(guest);
}

static void test_broken_requests_are_refused(void **state)
{
	struct guest *guest = guest_new(*state, false);
	struct fuse_in_header in = { .len = 1000, .opcode = FUSE_GETATTR };
	struct fuse_write_in write_in = { .fh = 0, .size = 100 };
	struct fuse_forget_in forget = { .nlookup = UINT64_MAX };
	uint64_t node = 0;
	uint64_t fh = 0;

	assert_int_equal(request(guest, 9999, FUSE_ROOT_ID, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(request(guest, FUSE_GETXATTR, FUSE_ROOT_ID, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(request(guest, FUSE_GETATTR, FUSE_ROOT_ID, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(read_at(guest, 12345, 0), -ESTALE);
	assert_int_equal(create(guest, FUSE_ROOT_ID, "f", 0644, &node, &fh), 0);
	assert_int_equal(read_at(guest, node, fh + 1), -EBADF);
	assert_int_equal(read_at(guest, FUSE_ROOT_ID, fh), -EBADF); /* another's */
	write_in.fh = fh;
	assert_int_equal(request(guest, FUSE_WRITE, node, &write_in, sizeof(write_in), "short", 5),
			 -EINVAL);
	/* More forgotten than was known. */
	in = (struct fuse_in_header){ .len = sizeof(in) + sizeof(forget),
				      .opcode = FUSE_FORGET,
				      .nodeid = node };
	uint8_t bytes[sizeof(in) + sizeof(forget)];

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), &forget, sizeof(forget));
	send_frame(guest, 0, SHARE_FUSE, bytes, sizeof(bytes));
	assert_int_equal(read_at(guest, node, fh), 0); /* it is open */
	release(guest, node, fh);
	assert_int_equal(read_at(guest, node, fh), -ESTALE);
	/* What is no request at all ends the channel. */
	in.len = 1000;
	send_frame(guest, 0, SHARE_FUSE, &in, sizeof(in));
	assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
	guest_free(guest);
}

static void test_frames_are_checked(void **state)
{
	static const struct {
		uint16_t share, type;
		uint32_t size;
	} frames[] = {
		{ 1, SHARE_FUSE, 40 },  { 0, SHARE_ECHO, 5 },   { 0, SHARE_NOTIFY, 40 },
		{ 0, SHARE_HELLO, 11 }, { 0, SHARE_DONE, 3 },   { 0, 0, 0 },
		{ 0, 99, 0 },           { 999, SHARE_FUSE, 0 }, { 0, SHARE_FUSE, 0 },
	};
	uint8_t bytes[64] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct guest *guest = guest_new(*state, false);

		send_frame(guest, frames[i].share, frames[i].type, bytes, frames[i].size);
		assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
		guest_free(guest);
	}
	/* More done than was asked for. */
	struct guest *guest = guest_new(*state, false);

	le_put32(bytes, 1);
	send_frame(guest, 0, SHARE_DONE, bytes, 4);
	assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
	guest_free(guest);
}

static void say_done(struct guest *guest)
{
	uint8_t done[4];

	le_put32(done, guest->undone);
	if (guest->undone)
		send_frame(guest, 0, SHARE_DONE, done, sizeof(done));
	guest->undone = 0;
}

/* Sends one of the frames around a save and awaits the same, handling what comes before. */
static void ask(struct guest *guest, uint16_t type)
{
	struct share_header header = { 0 };

	say_done(guest);
	send_frame(guest, 0, type, NULL, 0);
	while (header.type != type) {
		assert_int_equal(share_server_turn(guest->server, 1000), 1);
		while (header.type != type && take_frame(guest, &header))
			guest->undone += header.type == SHARE_ECHO || header.type == SHARE_NOTIFY;
		say_done(guest);
	}
}

static struct guest *guest_restored(const char *path, int state_fd, int expected)
{
	struct guest *guest = guest_new_silent(path, false);

	assert_int_equal(share_server_set_state(guest->server, dup(state_fd), NULL), expected);
	return guest;
}

static void test_another_server_goes_on_with_what_a_guest_knows(void **state)
{
	AUTO_CLOSE int state_fd = memfd_create("state", MFD_CLOEXEC);
	AUTO_FREE char *dir = path_join(*state, "d");
	AUTO_FREE char *gone = path_join(*state, "gone");
	struct guest *guest = guest_new(*state, false);
	uint64_t d, f, g, other, f_handle = 0, g_handle = 0, other_handle = 0;

	assert_int_equal(mkdir(dir, 0700), 0);
	put_file(*state, "d/f", "one");
	put_file(*state, "gone", "two");
	put_file(*state, "other", "three");
	assert_int_equal(share_server_set_state(guest->server, dup(state_fd), NULL), 0);
	d = lookup(guest, FUSE_ROOT_ID, "d");
	f = lookup(guest, d, "f");
	g = lookup(guest, FUSE_ROOT_ID, "gone");
	other = lookup(guest, FUSE_ROOT_ID, "other");
	assert_int_equal(open_node(guest, f, O_RDWR, &f_handle), 0);
	assert_int_equal(open_node(guest, g, O_RDONLY, &g_handle), 0);
	assert_int_equal(open_node(guest, other, O_RDONLY, &other_handle), 0);
	ask(guest, SHARE_QUIET);
	ask(guest, SHARE_LAST);
	/* It goes on here, too, and again. */
	ask(guest, SHARE_GO);
	assert_int_equal(read_at(guest, f, f_handle), 0);
	ask(guest, SHARE_QUIET);
	ask(guest, SHARE_LAST);
	guest_free(guest);
	assert_int_equal(unlink(gone), 0);
	put_file(*state, "other", "another"); /* by renaming */

	guest = guest_restored(*state, state_fd, 0);
	ask(guest, SHARE_GO);
	assert_int_equal(write_at(guest, f, f_handle, "ONE"), 0);
	assert_file(*state, "d/f", "ONE");
	assert_int_equal(lookup(guest, d, "f"), f);
	assert_int_equal(read_at(guest, g, g_handle), -EBADF);
	assert_int_equal(read_at(guest, other, other_handle), -EBADF);
	assert_int_equal(open_node(guest, other, O_RDONLY, &other_handle), -ESTALE);
	assert_true(lookup(guest, FUSE_ROOT_ID, "other") > other);
	release(guest, g, g_handle);
	/* What others do is told as before. */
	put_file(*state, "d/new", "x");
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	drain(guest, 0);
	assert_true(has_echo(guest, SHARE_ECHO_CREATE, "d/new"));
	guest_free(guest);
}

static void test_nothing_is_said_while_the_guest_is_saved(void **state)
{
	AUTO_CLOSE int state_fd = memfd_create("state", MFD_CLOEXEC);
	struct fuse_getattr_in in = { 0 };
	struct fuse_in_header header = { .len = sizeof(header) + sizeof(in),
					 .opcode = FUSE_GETATTR,
					 .nodeid = FUSE_ROOT_ID };
	uint8_t bytes[sizeof(header) + sizeof(in)];
	struct guest *guest = guest_new(*state, false);
	struct share_header frame;

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &in, sizeof(in));
	assert_int_equal(share_server_set_state(guest->server, dup(state_fd), NULL), 0);
	/* What is under way comes to its end first. */
	put_file(*state, "x", "x");
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	drain(guest, 0);
	send_frame(guest, 0, SHARE_QUIET, NULL, 0);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	assert_false(take_frame(guest, &frame));
	say_done(guest);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	assert_true(take_frame(guest, &frame));
	guest->echo_count = 0;
	assert_int_equal(frame.type, SHARE_QUIET);
	ask(guest, SHARE_LAST);
	put_file(*state, "y", "y");
	assert_int_equal(share_server_turn(guest->server, 0), 1);
	assert_false(take_frame(guest, &frame));
	ask(guest, SHARE_GO);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	drain(guest, 0);
	assert_true(has_echo(guest, SHARE_ECHO_CREATE, "y"));
	/* Out of turn. */
	send_frame(guest, 0, SHARE_LAST, NULL, 0);
	assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
	guest_free(guest);
	guest = guest_restored(*state, state_fd, 0);
	send_frame(guest, 0, SHARE_FUSE, bytes, sizeof(bytes));
	assert_int_equal(share_server_turn(guest->server, 1000), -EPROTO);
	guest_free(guest);
}

static void test_a_state_that_is_none_is_refused(void **state)
{
	AUTO_CLOSE int state_fd = memfd_create("state", MFD_CLOEXEC);
	struct guest *guest = guest_new(*state, false);
	struct stat st;
	uint8_t byte;

	put_file(*state, "f", "x");
	assert_int_equal(share_server_set_state(guest->server, dup(state_fd), NULL), 0);
	lookup(guest, FUSE_ROOT_ID, "f");
	ask(guest, SHARE_QUIET);
	ask(guest, SHARE_LAST);
	guest_free(guest);
	assert_int_equal(fstat(state_fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at += 7) {
		assert_int_equal(pread(state_fd, &byte, 1, at), 1);
		byte ^= 1;
		assert_int_equal(pwrite(state_fd, &byte, 1, at), 1);
		guest_free(guest_restored(*state, state_fd, -EBADMSG));
		byte ^= 1;
		assert_int_equal(pwrite(state_fd, &byte, 1, at), 1);
	}
	assert_int_equal(ftruncate(state_fd, st.st_size - 1), 0);
	guest_free(guest_restored(*state, state_fd, -EBADMSG));
	assert_int_equal(ftruncate(state_fd, 3), 0);
	guest_free(guest_restored(*state, state_fd, -EBADMSG));
}

static void test_changes_of_others_are_told_and_ours_are_not(void **state)
{
	AUTO_FREE char *path = path_join(*state, "f");
	struct guest *guest;
	uint64_t node = 0;
	uint64_t fh = 0;

	put_file(*state, "f", "old");
	guest = guest_new(*state, false);
	lookup(guest, FUSE_ROOT_ID, "f");
	/* The guest's own. */
	assert_int_equal(create(guest, FUSE_ROOT_ID, "own", 0644, &node, &fh), 0);
	assert_int_equal(write_at(guest, node, fh, "x"), 0);
	release(guest, node, fh);
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "own"), 0);
	lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(guest->echo_count, 0);
	assert_int_equal(guest->forgotten, 0);
	/* Others'. */
	put_file(*state, "new", "x");
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(fd, "er", 2), 2);
	lookup(guest, FUSE_ROOT_ID, "f");
	assert_int_equal(entry_of(guest).attr.size, 5);
	named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "other");
	assert_true(has_echo(guest, SHARE_ECHO_CREATE, "new"));
	assert_true(has_echo(guest, SHARE_ECHO_MODIFY, "f"));
	assert_true(guest->forgotten > 0);
	/* The echoing task finds nothing where something is new, and makes nothing. */
	struct fuse_mknod_in nod = { .mode = S_IFREG | 0600 };

	guest->task = ECHO_TASK;
	assert_int_equal(named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "new"), -ENOENT);
	assert_int_equal(request(guest, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), "new", 4), 0);
	assert_int_equal(entry_of(guest).attr.size, 1);
	assert_file(*state, "new", "x");
	/* It finds what is gone, and removes nothing. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	drain(guest, 0);
	assert_true(has_echo(guest, SHARE_ECHO_DELETE, "f"));
	put_file(*state, "f", "again");
	assert_int_equal(named(guest, FUSE_LOOKUP, FUSE_ROOT_ID, "f"), 0);
	assert_true(entry_of(guest).nodeid != 0);
	assert_int_equal(named(guest, FUSE_UNLINK, FUSE_ROOT_ID, "f"), 0);
	assert_file(*state, "f", "again");
	guest_free(guest);
}

static void owners_as_user(const char *dir)
{
	struct fuse_setattr_in owner = { .valid = FATTR_UID | FATTR_GID, .uid = 33, .gid = 34 };
	struct guest *guest = guest_new(dir, false);
	uint64_t node = 0;
	uint64_t fh = 0;

	guest->uid = GUEST_UID;
	guest->gid = GUEST_GID;
	assert_int_equal(create(guest, FUSE_ROOT_ID, "own", 0644, &node, &fh), 0);
	assert_int_equal(entry_of(guest).attr.uid, GUEST_UID);
	assert_int_equal(entry_of(guest).attr.gid, GUEST_GID);
	/* Another's, which root owns here. */
	lookup(guest, FUSE_ROOT_ID, "root");
	assert_int_equal(entry_of(guest).attr.uid, 65534);
	/* Other owners are remembered, by the file. */
	int r = request(guest, FUSE_SETATTR, node, &owner, sizeof(owner), NULL, 0);

	if (r == 0) {
		lookup(guest, FUSE_ROOT_ID, "own");
		assert_int_equal(entry_of(guest).attr.uid, 33);
		assert_int_equal(entry_of(guest).attr.gid, 34);
		guest->uid = guest->gid = 55;
		assert_int_equal(create(guest, FUSE_ROOT_ID, "theirs", 0644, &node, &fh), 0);
		assert_int_equal(entry_of(guest).attr.uid, 55);
	} else {
		assert_int_equal(r, -EPERM); /* a file system without such attributes */
	}
	node = lookup(guest, FUSE_ROOT_ID, "root");
	assert_int_equal(request(guest, FUSE_SETATTR, node, &owner, sizeof(owner), NULL, 0),
			 -EPERM);
	guest_free(guest);
}

static void nothing_to_unwatch(void *ctx, int watch)
{
	fail();
}

/* As the table knew the tree before somebody else took b out of a. */
static void test_nothing_moves_below_itself(void **state)
{
	struct stat st = { .st_mode = S_IFDIR, .st_ino = 1 };
	struct node_budget budget = { .max = 3 };
	struct node_table nodes;
	struct node *root;
	struct node *a;
	struct node *b;
	char path[64];

	node_table_init(&nodes, &st, &budget);
	root = node_find(&nodes, NODE_ROOT);
	st.st_ino = 2;
	a = node_get(&nodes, root, "a", &st);
	st.st_ino = 3;
	b = node_get(&nodes, a, "b", &st);
	a->lookups = b->lookups = 1;
	node_move(&nodes, a, b, "c");
	assert_int_equal(node_path(a, path, sizeof(path)), -ESTALE);
	assert_int_equal(node_path(b, path, sizeof(path)), -ESTALE);
	a->lookups = b->lookups = 0;
	node_drop(&nodes, b, nothing_to_unwatch, NULL);
	assert_int_equal(nodes.count, 1);
	assert_int_equal(budget.count, 1);
	node_table_release(&nodes);
	assert_int_equal(budget.count, 0);
}

static void test_owners_are_the_users(void **state)
{
	AUTO_FREE char *path = path_join(*state, "own");
	struct stat st;
	int status = 0;
	pid_t pid;

	if (geteuid() != 0)
		skip(); /* needs files of two users */
	put_file(*state, "root", "x");
	assert_int_equal(chown(*state, 1234, 1234), 0);
	assert_int_equal(chmod(*state, 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (setresgid(1234, 1234, 1234) < 0 || setresuid(1234, 1234, 1234) < 0)
			_exit(2);
		owners_as_user(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 1234);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_files_are_made_written_read_and_removed),
		TEST_IN_DIR(test_names_are_single_components),
		TEST_IN_DIR(test_links_lead_nowhere),
		TEST_IN_DIR(test_read_only_refuses_all_that_writes),
		TEST_IN_DIR(test_what_would_hurt_the_host_is_not_made),
		TEST_IN_DIR(test_what_is_no_file_is_not_opened),
		TEST_IN_DIR(test_a_forgotten_directory_goes_with_what_is_in_it),
		TEST_IN_DIR(test_broken_requests_are_refused),
		TEST_IN_DIR(test_frames_are_checked),
		TEST_IN_DIR(test_another_server_goes_on_with_what_a_guest_knows),
		TEST_IN_DIR(test_nothing_is_said_while_the_guest_is_saved),
		TEST_IN_DIR(test_a_state_that_is_none_is_refused),
		TEST_IN_DIR(test_changes_of_others_are_told_and_ours_are_not),
		TEST_IN_DIR(test_nothing_moves_below_itself),
		TEST_IN_DIR(test_owners_are_the_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
