/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolv_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sock.h"

#define HELPER_FD 3
#define HELPER_NAME "hull-resolv"
#define HELPER_WAIT_MS 1000

/* Each byte that comes is a wish for the file; a byte without a descriptor: it cannot be opened. */
static _Noreturn void help(int sock)
{
	char wish;

	prctl(PR_SET_NAME, HELPER_NAME, 0, 0, 0);
	if (dup2(sock, HELPER_FD) < 0)
		_exit(1);
	close_range(HELPER_FD + 1, ~0u, 0);
	while (fd_read_exact(HELPER_FD, &wish, 1) == 0) {
		AUTO_CLOSE int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);
		int r = fd < 0 ? fd_write_all(HELPER_FD, "", 1) : sock_send_fd(HELPER_FD, fd);

		if (r < 0)
			break;
	}
	_exit(0);
}

int resolv_conf_start_helper(void)
{
	int socks[2];
	pid_t pid;

	if (geteuid() != 0 || sock_pair(socks, NULL) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		help(socks[1]);
	close(socks[1]);
	if (pid > 0)
		return socks[0];
	close(socks[0]);
	return -1;
}

int resolv_conf_open(int helper)
{
	int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || errno != EACCES || helper < 0)
		return fd < 0 ? -errno : fd;
	if (fd_write_all(helper, "", 1) < 0 || fd_wait(helper, POLLIN, HELPER_WAIT_MS) <= 0)
		return -EIO;
	return sock_receive_fd(helper);
}
