/* SPDX-License-Identifier: Apache-2.0 */
#include "share/server.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "proto/bulk.h"
#include "share/internal.h"

#define FRAME_MAX ((size_t)SHARE_HEADER_SIZE + SHARE_PAYLOAD_MAX)
#define IN_SIZE (2 * FRAME_MAX)
#define BLOCKS_SIZE ((size_t)SHARE_BLOCKS * SHARE_BLOCK_SIZE)
static_assert(BULK_SHARES + BLOCKS_SIZE <= BULK_BYTES, "the blocks are in the memory");
#define UNSENT_SIZE ((size_t)64 * 1024)

struct share_server *share_server_new(int channel)
{
	struct share_server *server = xcalloc(1, sizeof(*server));

	server->channel = channel;
	server->state_fd = server->places = server->opener = -1;
	server->nodes.max = NODE_COUNT_MAX;
	server->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	server->own_uid = geteuid();
	server->own_gid = getegid();
	server->maps = server->own_uid != 0;
	server->in = xmalloc(IN_SIZE);
	server->out = xmalloc(FRAME_MAX);
	server->unsent = xmalloc(UNSENT_SIZE);
	return server;
}

struct share_server *share_server_free(struct share_server *server)
{
	watch_drop_notes(server);
	VEC_EACH (&server->handles, it)
		if (it->share && it->fd >= 0)
			close(it->fd);
	VEC_FREE(&server->handles);
	for (size_t i = 0; i < server->share_count; i++) {
		node_table_release(&server->shares[i].nodes);
		close(server->shares[i].root_fd);
		free(server->shares[i].place_name);
	}
	close(server->channel);
	if (server->state_fd >= 0)
		close(server->state_fd);
	if (server->places >= 0)
		close(server->places);
	if (server->opener >= 0)
		close(server->opener);
	if (server->events >= 0)
		close(server->events);
	free(server->in);
	free(server->out);
	free(server->unsent);
	if (server->blocks)
		munmap(server->blocks, BLOCKS_SIZE);
	free(server);
	return NULL;
}

void share_server_limit(struct share_server *server, size_t names)
{
	server->nodes.max = names;
}

int share_server_set_bulk(struct share_server *server, int fd, struct err *err)
{
	void *at =
		mmap(NULL, BLOCKS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)BULK_SHARES);
	struct stat st;

	if (at == MAP_FAILED)
		return err_set(err, -errno, "cannot map the memory of copies: %m");
	server->blocks = at;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < BULK_BYTES)
		return err_set(err, -EINVAL, "the memory of copies is too small");
	return 0;
}

int share_server_add(struct share_server *server, int root_fd, bool read_only, struct err *err)
{
	struct share *share = &server->shares[server->share_count];
	struct stat st;

	if (server->share_count == SHARE_COUNT_MAX || fstat(root_fd, &st) < 0) {
		int code = server->share_count == SHARE_COUNT_MAX ? -E2BIG : -errno;

		close(root_fd);
		return err_set(err, code, "cannot share a directory: %m");
	}
	*share = (struct share){ .server = server,
				 .index = (uint16_t)server->share_count,
				 .root_fd = root_fd,
				 .read_only = read_only };
	node_table_init(&share->nodes, &st, &server->nodes);
	server->share_count++;
	watch_add(share, node_find(&share->nodes, NODE_ROOT), root_fd);
	return 0;
}

int share_server_set_state(struct share_server *server, int fd, struct err *err)
{
	struct stat st;
	int r;

	server->state_fd = fd;
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot look at the state of shares: %m");
	if (!st.st_size)
		return 0;
	r = state_read(server);
	if (r < 0)
		return err_set(err, r, "the state of shares cannot be used: %m");
	server->has_hello = server->restored = server->quiet = server->still = true;
	return 0;
}

int server_send(struct share_server *server, uint16_t share, uint16_t type, size_t size)
{
	struct share_header header = { (uint32_t)size, share, type };

	int r = 0;

	share_header_encode(&header, server->out);
	size += SHARE_HEADER_SIZE;
	if (server->unsent_size + size > UNSENT_SIZE)
		r = server_flush(server);
	if (r == 0 && size > UNSENT_SIZE)
		return fd_write_all(server->channel, server->out, size);
	if (r == 0) {
		memcpy(server->unsent + server->unsent_size, server->out, size);
		server->unsent_size += size;
	}
	return r;
}

int server_flush(struct share_server *server)
{
	size_t size = server->unsent_size;

	server->unsent_size = 0;
	return size ? fd_write_all(server->channel, server->unsent, size) : 0;
}

static int take_hello(struct share_server *server, const uint8_t *data, size_t size)
{
	if (size != 3 * sizeof(uint32_t))
		return -EPROTO;
	server->guest_uid = le_get32(data);
	server->guest_gid = le_get32(data + 4);
	server->echo_task = le_get32(data + 8);
	server->has_hello = true;
	return 0;
}

/* --- standing still --- */

static int take_quiet(struct share_server *server)
{
	if (!server->has_hello || server->quiet)
		return -EPROTO;
	server->quiet = server->quiet_asked = true;
	return 0;
}

static int answer_quiet(struct share_server *server)
{
	if (!server->quiet_asked || server->note_sent)
		return 0;
	server->quiet_asked = false;
	return server_send(server, 0, SHARE_QUIET, 0);
}

static int take_last(struct share_server *server)
{
	int r = server->quiet && !server->quiet_asked && !server->still ? state_write(server)
									: -EPROTO;

	server->still = true;
	return r < 0 ? r : server_send(server, 0, SHARE_LAST, 0);
}

static int take_go(struct share_server *server)
{
	if (!server->quiet)
		return -EPROTO;
	server->quiet = server->quiet_asked = server->still = false;
	if (server->restored)
		watch_forget_all(server);
	server->restored = false;
	return server_send(server, 0, SHARE_GO, 0);
}

static int take_block(struct share *share, const uint8_t *payload, size_t size)
{
	const struct share_server *server = share->server;
	struct share_block block;

	if (!server->has_hello || server->still || !server->blocks || size < SHARE_BLOCK_FIXED ||
	    !share_block_decode(payload, &block))
		return -EPROTO;
	return fs_request(share, payload + SHARE_BLOCK_FIXED, size - SHARE_BLOCK_FIXED, &block);
}

static int take_frame(struct share_server *server, const struct share_header *header,
		      const uint8_t *payload)
{
	if (header->share >= server->share_count)
		return -EPROTO;
	switch (header->type) {
	case SHARE_HELLO:
		return take_hello(server, payload, header->length);
	case SHARE_QUIET:
		return take_quiet(server);
	case SHARE_LAST:
		return take_last(server);
	case SHARE_GO:
		return take_go(server);
	case SHARE_FUSE:
		if (!server->has_hello || server->still)
			return -EPROTO;
		return fs_request(&server->shares[header->share], payload, header->length, NULL);
	case SHARE_BLOCK:
		return take_block(&server->shares[header->share], payload, header->length);
	case SHARE_DONE:
		if (header->length != sizeof(uint32_t))
			return -EPROTO;
		return watch_done(server, le_get32(payload));
	default:
		return -EPROTO;
	}
}

static int parse(struct share_server *server)
{
	while (server->in_end - server->in_start >= SHARE_HEADER_SIZE) {
		const uint8_t *at = server->in + server->in_start;
		struct share_header header;
		int r;

		if (!share_header_decode(at, &header))
			return -EPROTO;
		if (server->in_end - server->in_start - SHARE_HEADER_SIZE < header.length)
			break;
		server->in_start += SHARE_HEADER_SIZE + header.length;
		r = take_frame(server, &header, at + SHARE_HEADER_SIZE);
		if (r == 0) /* what comes next may take long */
			r = server_flush(server);
		if (r < 0)
			return r;
	}
	if (server->in_start == server->in_end)
		server->in_start = server->in_end = 0;
	if (IN_SIZE - server->in_start < FRAME_MAX) {
		memmove(server->in, server->in + server->in_start,
			server->in_end - server->in_start);
		server->in_end -= server->in_start;
		server->in_start = 0;
	}
	return 1;
}

static int take_input(struct share_server *server)
{
	ssize_t n;

	do
		n = read(server->channel, server->in + server->in_end, IN_SIZE - server->in_end);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? (errno == EAGAIN ? 1 : -errno) : 0;
	server->in_end += (size_t)n;
	return parse(server);
}

int share_server_turn(struct share_server *server, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = server->channel, .events = POLLIN },
		{ .fd = server->still ? -1 : server->events, .events = POLLIN },
		{ .fd = server->still ? -1 : server->places, .events = POLLIN },
	};
	int r = poll(fds, ARRAY_SIZE(fds), timeout_ms);

	if (r < 0)
		return errno == EINTR ? 1 : -errno;
	r = 1;
	if (fds[1].revents || fds[2].revents)
		watch_drain(server, NULL);
	if (fds[0].revents)
		r = take_input(server);
	watch_send_notes(server);
	if (r > 0) {
		int sent = answer_quiet(server);

		if (sent == 0)
			sent = server_flush(server);
		r = sent < 0 ? sent : r;
	}
	return r;
}
