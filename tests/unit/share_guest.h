/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of hull-share, as hostile as the test wants it: frames and FUSE requests over a socket
 * pair. */
#ifndef TESTS_SHARE_GUEST_H
#define TESTS_SHARE_GUEST_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/sock.h"
#include "proto/share.h"
#include "share/server.h"

#define ECHO_TASK 77
#define TASK 5
#define GUEST_UID 1000
#define GUEST_GID 1001

struct guest {
	struct share_server *server;
	int sock;
	uint64_t unique;
	uint16_t share;
	uint32_t task, uid, gid;
	/* the last answer */
	struct fuse_out_header out;
	uint8_t data[SHARE_PAYLOAD_MAX];
	/* notes that came before it */
	struct {
		uint8_t op;
		char path[256];
	} echoes[64];
	size_t echo_count;
	size_t forgotten; /* notifications */
	size_t stored;    /* content that came before it was asked for; the last of it: */
	size_t stored_size;
	uint8_t stored_data[64];
	uint32_t undone; /* notes */
};

static inline void send_bytes(struct guest *guest, const void *data, size_t size)
{
	assert_int_equal(fd_write_all(guest->sock, data, size), 0);
}

static inline void send_frame(struct guest *guest, uint16_t share, uint16_t type, const void *data,
			      size_t size)
{
	struct share_header header = { (uint32_t)size, share, type };
	uint8_t bytes[SHARE_HEADER_SIZE];

	share_header_encode(&header, bytes);
	send_bytes(guest, bytes, sizeof(bytes));
	send_bytes(guest, data, size);
}

static inline void hello(struct guest *guest)
{
	uint8_t data[12];

	le_put32(data, GUEST_UID);
	le_put32(data + 4, GUEST_GID);
	le_put32(data + 8, ECHO_TASK);
	send_frame(guest, 0, SHARE_HELLO, data, sizeof(data));
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
}

static inline struct guest *guest_new_silent(const char *path, bool read_only)
{
	struct guest *guest = xcalloc(1, sizeof(*guest));
	struct err err = { 0 };
	int pair[2];

	guest->task = TASK;
	assert_int_equal(sock_pair(pair, &err), 0);
	guest->sock = pair[1];
	guest->server = share_server_new(pair[0]);
	assert_int_equal(
		share_server_add(guest->server, open(path, O_PATH | O_CLOEXEC), read_only, &err),
		0);
	return guest;
}

static inline struct guest *guest_new(const char *path, bool read_only)
{
	struct guest *guest = guest_new_silent(path, read_only);

	hello(guest);
	return guest;
}

static inline void guest_free(struct guest *guest)
{
	share_server_free(guest->server);
	close(guest->sock);
	free(guest);
}

static inline bool take_frame(struct guest *guest, struct share_header *header)
{
	uint8_t bytes[SHARE_HEADER_SIZE];

	if (recv(guest->sock, bytes, sizeof(bytes), MSG_DONTWAIT) != sizeof(bytes))
		return false;
	assert_true(share_header_decode(bytes, header));
	assert_int_equal(fd_read_exact(guest->sock, guest->data, header->length), 0);
	return true;
}

/* Everything that has come; true once the answer to `unique` was among it. */
static inline bool drain(struct guest *guest, uint64_t unique)
{
	struct share_header header;

	while (take_frame(guest, &header)) {
		guest->undone += header.type == SHARE_ECHO || header.type == SHARE_NOTIFY;
		if (header.type == SHARE_ECHO && guest->echo_count == ARRAY_SIZE(guest->echoes))
			continue;
		if (header.type == SHARE_ECHO) {
			guest->echoes[guest->echo_count].op = guest->data[0];
			snprintf(guest->echoes[guest->echo_count++].path, 256, "%s",
				 (const char *)guest->data + SHARE_ECHO_FIXED);
			continue;
		}
		memcpy(&guest->out, guest->data, sizeof(guest->out));
		assert_int_equal(guest->out.len, header.length);
		if (guest->out.unique == 0 && guest->out.error == FUSE_NOTIFY_STORE) {
			guest->stored++;
			guest->stored_size = header.length;
			memcpy(guest->stored_data, guest->data, sizeof(guest->stored_data));
			continue;
		}
		if (guest->out.unique == 0) {
			guest->forgotten++;
			continue;
		}
		memmove(guest->data, guest->data + sizeof(guest->out),
			header.length - sizeof(guest->out));
		assert_int_equal(guest->out.unique, unique);
		return true;
	}
	return false;
}

/* fixed, then names and data; returns the answer's error. */
static inline int request(struct guest *guest, uint32_t opcode, uint64_t node, const void *fixed,
			  size_t fixed_size, const void *rest, size_t rest_size)
{
	size_t size = sizeof(struct fuse_in_header) + fixed_size + rest_size;
	AUTO_FREE uint8_t *bytes = xcalloc(1, size);
	struct fuse_in_header in = { .len = (uint32_t)size,
				     .opcode = opcode,
				     .unique = ++guest->unique,
				     .nodeid = node,
				     .uid = guest->uid,
				     .gid = guest->gid,
				     .pid = guest->task };

	memcpy(bytes, &in, sizeof(in));
	if (fixed_size)
		memcpy(bytes + sizeof(in), fixed, fixed_size);
	if (rest_size)
		memcpy(bytes + sizeof(in) + fixed_size, rest, rest_size);
	send_frame(guest, guest->share, SHARE_FUSE, bytes, size);
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	while (!drain(guest, guest->unique))
		assert_int_equal(share_server_turn(guest->server, 1000), 1);
	return guest->out.error;
}

static inline int named(struct guest *guest, uint32_t opcode, uint64_t node, const char *name)
{
	return request(guest, opcode, node, NULL, 0, name, strlen(name) + 1);
}

static inline struct fuse_entry_out entry_of(const struct guest *guest)
{
	struct fuse_entry_out entry;

	memcpy(&entry, guest->data, sizeof(entry));
	return entry;
}

static inline uint64_t lookup(struct guest *guest, uint64_t node, const char *name)
{
	assert_int_equal(named(guest, FUSE_LOOKUP, node, name), 0);
	return entry_of(guest).nodeid;
}

static inline int open_node(struct guest *guest, uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_open_in in = { .flags = flags };
	int r = request(guest, FUSE_OPEN, node, &in, sizeof(in), NULL, 0);

	if (r == 0)
		*ret_fh = ((struct fuse_open_out *)(void *)guest->data)->fh;
	return r;
}

static inline int create(struct guest *guest, uint64_t dir, const char *name, uint32_t mode,
			 uint64_t *ret_node, uint64_t *ret_fh)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | mode };
	struct fuse_open_out out;
	int r = request(guest, FUSE_CREATE, dir, &in, sizeof(in), name, strlen(name) + 1);

	if (r < 0)
		return r;
	memcpy(&out, guest->data + sizeof(struct fuse_entry_out), sizeof(out));
	*ret_node = entry_of(guest).nodeid;
	*ret_fh = out.fh;
	return 0;
}

static inline int write_at(struct guest *guest, uint64_t node, uint64_t fh, const char *text)
{
	struct fuse_write_in in = { .fh = fh, .size = (uint32_t)strlen(text) };

	return request(guest, FUSE_WRITE, node, &in, sizeof(in), text, strlen(text));
}

static inline int read_at(struct guest *guest, uint64_t node, uint64_t fh)
{
	struct fuse_read_in in = { .fh = fh, .size = 4096 };

	return request(guest, FUSE_READ, node, &in, sizeof(in), NULL, 0);
}

/* Which nobody answers. */
static inline void release(struct guest *guest, uint64_t node, uint64_t fh)
{
	struct fuse_release_in arg = { .fh = fh };
	struct fuse_in_header in = { .len = sizeof(in) + sizeof(arg),
				     .opcode = FUSE_RELEASE,
				     .unique = ++guest->unique,
				     .nodeid = node,
				     .pid = guest->task };
	uint8_t bytes[sizeof(in) + sizeof(arg)];

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), &arg, sizeof(arg));
	send_frame(guest, guest->share, SHARE_FUSE, bytes, sizeof(bytes));
	assert_int_equal(share_server_turn(guest->server, 1000), 1);
	assert_false(drain(guest, guest->unique));
}

static inline void put_file(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, false, NULL), 0);
}

static inline void assert_file(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = path_join(dir, "%s", name);
	AUTO_FREE char *found = NULL;

	assert_int_equal(file_read(path, 4096, &found, NULL, NULL), 0);
	assert_string_equal(found, text);
}

static inline bool has_echo(const struct guest *guest, uint8_t op, const char *path)
{
	for (size_t i = 0; i < guest->echo_count; i++)
		if (guest->echoes[i].op == op && strcmp(guest->echoes[i].path, path) == 0)
			return true;
	return false;
}

#endif
