/* SPDX-License-Identifier: Apache-2.0 */
#include "share/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sock.h"
#include "proto/le.h"

#define MESSAGE_SIZE 6
#define ANSWER_MS 5000
#define FLAGS (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* A FIFO or a device is not opened at all: that may do something. */
static int open_name(const struct shared_name *name)
{
	AUTO_CLOSE int path_fd = openat(name->dir_fd, name->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[64];
	struct stat st;
	int fd;

	if (path_fd < 0 || fstat(path_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = name->read_only ? -1 : open(path, O_RDWR | FLAGS);
	if (fd < 0)
		fd = open(path, O_RDONLY | FLAGS);
	return fd < 0 ? -errno : fd;
}

void opener_serve(int sock, const struct shared_name *names, size_t count)
{
	uint8_t message[MESSAGE_SIZE];

	while (fd_read_exact(sock, message, sizeof(message)) == 0) {
		AUTO_CLOSE int fd = -1;

		for (size_t i = 0; i < count; i++)
			if (names[i].share == le_get16(message))
				fd = open_name(&names[i]);
		if (sock_send_with_fd(sock, message, sizeof(message), fd < 0 ? -1 : fd) < 0)
			return;
	}
}

int opener_ask(int sock, uint16_t share)
{
	static uint32_t number;
	uint8_t message[MESSAGE_SIZE];
	uint8_t answer[MESSAGE_SIZE];
	int r;

	/* The one that used the socket before may not have waited for its answer. */
	if (!number)
		number = (uint32_t)getpid() << 8;
	le_put16(message, share);
	le_put32(message + 2, ++number);
	r = sock_send_with_fd(sock, message, sizeof(message), -1);
	while (r == 0) {
		AUTO_CLOSE int fd = -1;
		long n;

		r = fd_wait(sock, POLLIN, ANSWER_MS);
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		n = sock_receive_with_fd(sock, answer, sizeof(answer), &fd);
		if (n != (long)sizeof(answer))
			return n == 0 ? -EPIPE : n < 0 ? (int)n : -EPROTO;
		if (memcmp(answer, message, sizeof(answer)) == 0)
			return fd < 0 ? -ENOENT : TAKE_FD(fd);
		r = 0;
	}
	return r;
}
