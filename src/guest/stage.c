/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/sock.h"
#include "guest/become.h"
#include "guest/mounts.h"
#include "guest/net.h"
#include "guest/sys.h"
#include "guest/timeline.h"
#include "proto/frame.h"

#define FIXED_FDS 4 /* stdio, root */
#define ORDER_FDS_MAX (FIXED_FDS + MSG_MOUNTS_MAX)

struct order_header {
	uint32_t session_size;
	uint32_t process_size;
	uint32_t tree_count;
	bool has_tree[MSG_MOUNTS_MAX];
};

union fd_space {
	struct cmsghdr header;
	char space[CMSG_SPACE(ORDER_FDS_MAX * sizeof(int))];
};

/* Receives the header with the descriptors; sorts them into fixed and trees. */
static int receive_header(int sock, struct order_header *header, int fixed[FIXED_FDS],
			  int trees[MSG_MOUNTS_MAX])
{
	union fd_space control = { 0 };
	struct iovec iov = { .iov_base = header, .iov_len = sizeof(*header) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };
	const struct cmsghdr *cmsg;
	const int *fds;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) != sizeof(*header))
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&message);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	fds = (const int *)(const void *)CMSG_DATA(cmsg);
	memcpy(fixed, fds, FIXED_FDS * sizeof(int));
	fds += FIXED_FDS;
	for (size_t i = 0; i < header->tree_count; i++)
		trees[i] = header->has_tree[i] ? *fds++ : -1;
	return 0;
}

/* --init: a process 1 that reaps whatever is left to it, and passes signals on. */
static void reap_until_end(pid_t child)
{
	sigset_t all;

	syscall(SYS_close_range, 0, ~0u, 0);
	sigfillset(&all);
	for (;;) {
		siginfo_t info;
		int signal = sigwaitinfo(&all, &info);
		int status;
		pid_t pid;

		if (signal < 0)
			continue;
		if (signal != SIGCHLD) {
			kill(child, signal);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
							  : WEXITSTATUS(status));
	}
}

static uint32_t carry_out(int sock, struct err *err)
{
	int trees[MSG_MOUNTS_MAX];
	int fixed[FIXED_FDS];
	struct order_header header;
	struct msg_session session = { 0 };
	struct msg_process process = { 0 };
	int r = receive_header(sock, &header, fixed, trees);

	if (r < 0)
		_exit(1); /* hull-init is gone */
	uint8_t *bytes = xmalloc((size_t)header.session_size + header.process_size);
	r = fd_read_exact(sock, bytes, (size_t)header.session_size + header.process_size);
	if (r == 0)
		r = msg_session_decode(bytes, header.session_size, &session);
	if (r == 0)
		r = msg_process_decode(bytes + header.session_size, header.process_size, &process);
	if (r < 0) {
		err_set(err, r, "cannot receive the session: %m");
		return BECOME_SETUP_FAILED;
	}
	const char *host = str_or(session.hostname, "");
	const char *domain = str_or(session.domainname, "");
	timeline_point("container: session received");
	if (sethostname(host, strlen(host)) < 0 || setdomainname(domain, strlen(domain)) < 0) {
		err_set(err, -errno, "cannot set the host name '%s': %m", host);
		return BECOME_SETUP_FAILED;
	}
	if (mounts_enter(&session, process.flags & MSG_PROCESS_PRIVILEGED, fixed[3], trees, err) <
	    0)
		return BECOME_SETUP_FAILED;
	timeline_point("container: root entered");
	if (session.interface_count && net_await(err) < 0)
		return BECOME_SETUP_FAILED;
	if (process.flags & MSG_PROCESS_INIT) {
		sigset_t all;
		pid_t pid;

		setsid(); /* signals to its group are for it to pass on */
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		pid = fork();
		if (pid > 0)
			reap_until_end(pid);
	}
	return become(&process, session.hostname, fixed, err);
}

/* The child. */
static void stage_main(int sock)
{
	struct become_failure failure = { .status = BECOME_SETUP_FAILED };
	struct err err = { 0 };
	char ready = 1;

	/* Only here, so that the container's cgroup is the root that it sees. */
	if (unshare(CLONE_NEWCGROUP) < 0)
		err_set(&err, -errno, "cannot make a cgroup namespace: %m");
	else if (mounts_stage(&err) == 0 && write(sock, &ready, 1) == 1)
		failure.status = carry_out(sock, &err);
	snprintf(failure.message, sizeof(failure.message), "%s", err.message);
	fd_write_all(sock, &failure, sizeof(failure));
	_exit(1);
}

static void hold_namespaces(struct stage *stage)
{
	static const char *const names[STAGE_NAMESPACES] = {
		[STAGE_MNT] = "mnt",
		[STAGE_IPC] = "ipc",
		[STAGE_UTS] = "uts",
		[STAGE_CGROUP] = "cgroup",
	};
	char path[64];

	for (size_t i = 0; i < STAGE_NAMESPACES; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)stage->pid, names[i]);
		stage->namespaces[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
}

void stage_dissolve(struct stage *stage)
{
	for (size_t i = 0; i < STAGE_NAMESPACES; i++)
		if (stage->namespaces[i] >= 0)
			close(TAKE_FD(stage->namespaces[i]));
}

int stage_start(int cgroup_fd, struct stage *ret_stage, struct err *err)
{
	struct stage stage = { .pidfd = -1, .sock = -1, .pts_fd = -1 };
	char path[64];
	int fds[2];
	char ready;
	int r = sock_pair(fds, err);

	if (r < 0)
		return r;
	stage.pid = sys_clone(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS, cgroup_fd,
			      &stage.pidfd);
	if (stage.pid == 0) {
		close(fds[0]);
		stage_main(fds[1]);
	}
	close(fds[1]);
	stage.sock = fds[0];
	if (stage.pid < 0)
		return err_set(err, stage.pid, "cannot make the container's process: %m");
	if (fd_read_exact(stage.sock, &ready, 1) < 0 || ready != 1)
		return err_set(err, -ECHILD, "cannot prepare the container's process");
	snprintf(path, sizeof(path), "/proc/%d/root" MOUNTS_STAGE "/dev/pts", (int)stage.pid);
	stage.pts_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (stage.pts_fd < 0)
		return err_set(err, -errno, "cannot open the container's terminals: %m");
	hold_namespaces(&stage);
	*ret_stage = stage;
	return 0;
}

static int send_header(int sock, const struct stage_order *order, size_t process_size)
{
	struct order_header header = { .session_size = (uint32_t)order->session_size,
				       .process_size = (uint32_t)process_size,
				       .tree_count = (uint32_t)order->tree_count };
	struct iovec iov = { .iov_base = &header, .iov_len = sizeof(header) };
	union fd_space control = { 0 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	int *fds = (int *)(void *)CMSG_DATA(&control.header);
	size_t count = FIXED_FDS;

	memcpy(fds, order->stdio, sizeof(order->stdio));
	fds[3] = order->root_tree;
	for (size_t i = 0; i < order->tree_count; i++) {
		header.has_tree[i] = order->trees[i] >= 0;
		if (header.has_tree[i])
			fds[count++] = order->trees[i];
	}
	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof(int)),
					   .cmsg_level = SOL_SOCKET,
					   .cmsg_type = SCM_RIGHTS };
	message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	return sendmsg(sock, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int stage_go(struct stage *stage, const struct stage_order *order, struct err *err)
{
	AUTO_SBUF struct sbuf process = { 0 };
	int r;

	if (stage->sock < 0)
		return err_set(err, -EALREADY, "the container has been started already");
	msg_process_encode(order->process, &process);
	r = send_header(stage->sock, order, process.length);
	if (r == 0)
		r = fd_write_all(stage->sock, order->session, order->session_size);
	if (r == 0)
		r = fd_write_all(stage->sock, process.text, process.length);
	if (r < 0)
		return err_set(err, r, "cannot reach the container's process: %m");
	return TAKE_FD(stage->sock);
}
