/* SPDX-License-Identifier: Apache-2.0 */
/* Relayed sockets: both ends of the channel in one process, programs at either side. */
#include "test.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "proto/sockets.h"

#define BIG (3u << 20)

struct side {
	struct mux *mux;
	struct sockets *sockets;
	const char *path; /* what its connections go to; NULL: nobody listens */
	int refused;
};

static int connect_side(void *ctx, const struct msg_socket_open *open)
{
	struct side *side = ctx;

	return side->path ? sock_connect_now(side->path, NULL) : -ECONNREFUSED;
}

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct side *side = ctx;

	side->refused += type == MSG_SOCKET_CLOSE;
	return sockets_control(side->sockets, type, payload, size);
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	sockets_data(((struct side *)ctx)->sockets, stream, data, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
	sockets_eof(((struct side *)ctx)->sockets, stream);
}

static void on_reset(void *ctx, uint32_t stream)
{
	sockets_reset(((struct side *)ctx)->sockets, stream);
}

static void on_writable(void *ctx, uint32_t stream)
{
	sockets_writable(((struct side *)ctx)->sockets, stream);
}

static void on_closed(void *ctx, int error)
{
	fail_msg("the channel ended: %d", error);
}

static const struct mux_ops mux_ops = {
	.control = on_control,
	.data = on_data,
	.eof = on_eof,
	.reset = on_reset,
	.writable = on_writable,
	.closed = on_closed,
};
static const struct sockets_ops sockets_ops = { .connect = connect_side };

struct pair {
	struct loop *loop;
	struct side host, guest;
};

static void side_init(struct side *side, struct loop *loop, int fd, bool is_guest)
{
	side->mux = mux_new(loop, fd, false, &mux_ops, side);
	side->sockets = sockets_new(loop, side->mux, is_guest, &sockets_ops, side);
}

static void pair_init(struct pair *pair)
{
	int fds[2];

	*pair = (struct pair){ .loop = loop_new() };
	assert_int_equal(sock_pair(fds, NULL), 0);
	side_init(&pair->host, pair->loop, fds[0], false);
	side_init(&pair->guest, pair->loop, fds[1], true);
}

static void pair_release(struct pair *pair)
{
	sockets_free(pair->host.sockets);
	sockets_free(pair->guest.sockets);
	mux_free(pair->host.mux);
	mux_free(pair->guest.mux);
	loop_free(pair->loop);
}

/* A child that answers each of count connections with what came, once all of it has. */
static pid_t serve(int listener, int count)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	fd_set_nonblock(listener, false);
	for (int i = 0; i < count; i++) {
		uint8_t *data = xmalloc(BIG);
		int fd = accept(listener, NULL, NULL);
		size_t size = 0;
		ssize_t n;

		while ((n = read(fd, data + size, BIG - size)) > 0)
			size += (size_t)n;
		fd_write_all(fd, data, size);
		close(fd);
		free(data);
	}
	_exit(0);
}

/* A child that says size bytes to path and ends well when they come back. */
static pid_t ask(const char *path, size_t size)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	uint8_t *said = xmalloc(size + 1);
	uint8_t *heard = xmalloc(size + 1);
	int fd = sock_connect(path, NULL);

	for (size_t i = 0; i < size; i++)
		said[i] = (uint8_t)(i * 7 + i / 251);
	if (fd < 0 || fd_write_all(fd, said, size) < 0 || shutdown(fd, SHUT_WR) < 0 ||
	    fd_read_exact(fd, heard, size) < 0 || memcmp(said, heard, size) != 0 ||
	    read(fd, heard, 1) != 0)
		_exit(1);
	_exit(0);
}

static void on_end(void *ctx, int fd, uint32_t events)
{
	loop_quit(ctx, 0);
}

/* Runs the loop until the child has ended; its status. */
static int run_until_end(struct pair *pair, pid_t pid)
{
	int fd = proc_pidfd(pid);
	struct loop_source *source = loop_add_fd(pair->loop, fd, EPOLLIN, on_end, pair->loop);

	loop_run(pair->loop);
	loop_remove(source);
	close(fd);
	return proc_wait(pid);
}

static void relay_both_ways(const char *dir, bool from_guest)
{
	AUTO_FREE char *front = path_join(dir, "front");
	AUTO_FREE char *back = path_join(dir, "back");
	struct pair pair;
	struct side *near = from_guest ? &pair.guest : &pair.host;
	struct side *far = from_guest ? &pair.host : &pair.guest;
	int listener = sock_listen(back, NULL);
	pid_t server;
	pid_t one;
	pid_t two;

	assert_true(listener >= 0);
	server = serve(listener, 3);
	close(listener);
	pair_init(&pair);
	far->path = back;
	sockets_listen(near->sockets, sock_listen(front, NULL), 0, from_guest ? "" : "/x");
	assert_int_equal(run_until_end(&pair, ask(front, 0)), 0);
	one = ask(front, BIG);
	two = ask(front, 100000);
	assert_int_equal(run_until_end(&pair, one), 0);
	assert_int_equal(run_until_end(&pair, two), 0);
	assert_int_equal(proc_wait(server), 0);
	pair_release(&pair);
}

static void test_what_the_guest_connects_to_is_on_the_host(void **state)
{
	relay_both_ways(*state, true);
}

static void test_what_the_host_connects_to_is_in_the_guest(void **state)
{
	relay_both_ways(*state, false);
}

static void test_where_nobody_listens_the_connection_ends(void **state)
{
	AUTO_FREE char *front = path_join(*state, "front");
	struct pair pair;

	pair_init(&pair);
	sockets_listen(pair.guest.sockets, sock_listen(front, NULL), 0, "");
	assert_int_not_equal(run_until_end(&pair, ask(front, 10)), 0);
	assert_int_equal(pair.guest.refused, 1);
	pair_release(&pair);
}

static int open_connection(struct side *side, uint32_t number, const char *path)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_socket_open_encode(&(struct msg_socket_open){ number, 0, path }, &out);
	return sockets_control(side->sockets, MSG_SOCKET_OPEN, (const uint8_t *)out.text,
			       out.length);
}

static void test_hostile_messages_are_refused(void **state)
{
	AUTO_FREE char *back = path_join(*state, "back");
	AUTO_SBUF struct sbuf out = { 0 };
	int listener = sock_listen(back, NULL);
	struct pair pair;

	pair_init(&pair);
	pair.host.path = back;
	assert_int_equal(open_connection(&pair.host, 2, ""), -EPROTO); /* the host's own numbers */
	assert_int_equal(open_connection(&pair.host, 0, ""), -EPROTO);
	assert_int_equal(open_connection(&pair.host, UINT32_MAX, ""), -EPROTO);
	assert_int_equal(open_connection(&pair.host, 1, "relative"), -EPROTO);
	assert_int_equal(open_connection(&pair.host, 1, ""), 0);
	assert_int_equal(open_connection(&pair.host, 1, ""), -EPROTO); /* in use */
	/* One that is not there is forgotten already. */
	msg_socket_close_encode(&(struct msg_socket_close){ 77 }, &out);
	assert_int_equal(sockets_control(pair.host.sockets, MSG_SOCKET_CLOSE,
					 (const uint8_t *)out.text, out.length),
			 0);
	assert_int_equal(sockets_control(pair.host.sockets, MSG_SOCKET_CLOSE,
					 (const uint8_t *)out.text, out.length - 1),
			 -EPROTO);
	assert_int_equal(sockets_control(NULL, MSG_SOCKET_OPEN, NULL, 0), -EPROTO);
	sockets_data(pair.host.sockets, 77 << 2, (const uint8_t *)"x", 1);
	sockets_eof(NULL, 4);
	sockets_hang_up(pair.host.sockets);
	assert_int_equal(open_connection(&pair.host, 1, ""), 0);
	close(listener);
	pair_release(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_what_the_guest_connects_to_is_on_the_host),
		TEST_IN_DIR(test_what_the_host_connects_to_is_in_the_guest),
		TEST_IN_DIR(test_where_nobody_listens_the_connection_ends),
		TEST_IN_DIR(test_hostile_messages_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
