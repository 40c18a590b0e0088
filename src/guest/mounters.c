/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/mounters.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sock.h"
#include "guest/sys.h"
#include "proto/msg.h"

#define MOUNTERS_MAX 2

struct request {
	int ticket;
	struct mounter_order order;
};

struct answer {
	int ticket;
	int r;
};

static struct {
	int socks[MOUNTERS_MAX]; /* our ends; [0] is the mounter on the last CPU */
	size_t count;
	int tickets; /* given out */
	bool answered[MSG_MOUNTS_MAX];
	int results[MSG_MOUNTS_MAX];
} mounters;

int mounters_mount(const struct mounter_order *order)
{
	return mount(order->device, order->place, order->type, order->flags, order->data) < 0
		       ? -errno
		       : 0;
}

static void serve(int sock, int cpu)
{
	struct request request;

	sys_use_cpu(cpu);
	while (fd_read_exact(sock, &request, sizeof(request)) == 0) {
		const struct answer answer = { request.ticket, mounters_mount(&request.order) };

		if (fd_write_all(sock, &answer, sizeof(answer)) < 0)
			break;
	}
	_exit(0);
}

void mounters_start(void)
{
	unsigned cpus = sys_cpu_count();

	/* The caller's own CPU has the rest of the start to do: it comes last. */
	for (int cpu = MOUNTERS_MAX - 1; cpu >= 0 && cpus >= MOUNTERS_MAX; cpu--) {
		int fds[2];
		pid_t pid;

		if (sock_pair(fds, NULL) < 0)
			return;
		pid = fork();
		if (pid == 0) {
			close(fds[0]);
			serve(fds[1], cpu);
		}
		close(fds[1]);
		if (pid < 0) {
			close(fds[0]);
			return;
		}
		mounters.socks[mounters.count++] = fds[0];
	}
}

static int sock_of(int ticket)
{
	return mounters.socks[(size_t)ticket % mounters.count];
}

int mounters_order(const struct mounter_order *order)
{
	struct request request = { mounters.tickets, *order };

	if (!mounters.count || mounters.tickets == MSG_MOUNTS_MAX ||
	    fd_write_all(sock_of(request.ticket), &request, sizeof(request)) < 0)
		return -ECHILD;
	return mounters.tickets++;
}

int mounters_wait(int ticket)
{
	while (!mounters.answered[ticket]) {
		struct answer answer;
		int r = fd_read_exact(sock_of(ticket), &answer, sizeof(answer));

		if (r < 0)
			return r;
		mounters.answered[answer.ticket] = true;
		mounters.results[answer.ticket] = answer.r;
	}
	return mounters.results[ticket];
}
