/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/path.h"

int sock_pair(int ret_fds[2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return err_set(err, -errno, "cannot create a socket pair: %m");
	return 0;
}

/* Fills the address of path; *ret_dir stays open while the address is used, when it goes through
 * it. */
static int address_of(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
	AUTO_FREE char *copy = xstrdup(path);
	const char *base = path_base(path);
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) < sizeof(ret->sun_path)) {
		memcpy(ret->sun_path, path, strlen(path) + 1);
		return 0;
	}
	copy[base - path - 1] = '\0';
	*ret_dir = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return -errno;
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_dir, base);
	return (size_t)n < sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

static int listen_on(const char *path, int type, struct err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	AUTO_CLOSE int dir = -1;
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create a socket: %m");
	r = address_of(path, &address, &dir);
	if (r < 0)
		return err_set(err, r, "cannot listen on '%s': %m", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, 64) < 0)
		return err_set(err, -errno, "cannot listen on '%s': %m", path);
	return TAKE_FD(fd);
}

int sock_listen(const char *path, struct err *err)
{
	return listen_on(path, SOCK_STREAM, err);
}

int sock_listen_packets(const char *path, struct err *err)
{
	return listen_on(path, SOCK_SEQPACKET, err);
}

static int connect_to(const char *path, int type, struct err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int dir = -1;
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create a socket: %m");
	r = address_of(path, &address, &dir);
	if (r < 0)
		return err_set(err, r, "cannot connect to '%s': %m", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(err, -errno, "cannot connect to '%s': %m", path);
	return TAKE_FD(fd);
}

int sock_connect(const char *path, struct err *err)
{
	return connect_to(path, SOCK_STREAM, err);
}

int sock_connect_now(const char *path, struct err *err)
{
	return connect_to(path, SOCK_STREAM | SOCK_NONBLOCK, err);
}

int sock_connect_packets(const char *path, struct err *err)
{
	return connect_to(path, SOCK_SEQPACKET, err);
}

/* What gives way to the connection that is to be closed: any descriptor will do, and a socket may
 * be made by those who may open nothing. */
static int make_spare(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int sock_accept_any(int listener, int flags)
{
	static int spare = -1;
	int fd;
	int code;

	if (spare < 0)
		spare = make_spare();
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | flags);
	if (fd >= 0)
		return fd;
	code = errno;
	if ((code != EMFILE && code != ENFILE) || spare < 0)
		return -code;
	close(spare);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	spare = make_spare();
	return -code;
}

int sock_accept(int listener)
{
	AUTO_CLOSE int fd = sock_accept_any(listener, 0);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	if (peer.uid != geteuid() && peer.uid != 0)
		return -EPERM;
	return TAKE_FD(fd);
}

int sock_send_with_fd(int sock, const void *data, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec all = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &all, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
		control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
						   .cmsg_level = SOL_SOCKET,
						   .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	do
		n = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EAGAIN;
}

long sock_receive_with_fd(int sock, void *data, size_t size, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };
	const struct cmsghdr *header;
	ssize_t n;

	do
		n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	*ret_fd = -1;
	if (n > 0 && header && header->cmsg_level == SOL_SOCKET &&
	    header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
	return n;
}

int sock_send_fd(int sock, int fd)
{
	return sock_send_with_fd(sock, "", 1, fd);
}

int sock_receive_fd(int sock)
{
	char byte;
	int fd = -1;
	long n = sock_receive_with_fd(sock, &byte, 1, &fd);

	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	return fd < 0 ? -EPROTO : fd;
}
