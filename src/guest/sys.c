/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int open_how(int root_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = resolve,
	};

	return result(syscall(SYS_openat2, root_fd, path, &how, sizeof(how)));
}

int sys_open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	return open_how(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int sys_open_no_links(int root_fd, const char *path, int flags)
{
	return open_how(root_fd, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
}

int sys_clone_tree(int fd, int recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;

	return result(syscall(SYS_open_tree, fd, "", recursive ? flags | AT_RECURSIVE : flags));
}

int sys_move_mount(int fd, int target_fd)
{
	return result(syscall(SYS_move_mount, fd, "", target_fd, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int sys_set_read_only(int mount_fd, int recursive)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	return result(syscall(SYS_mount_setattr, mount_fd, "",
			      AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof(attr)));
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
	return result(syscall(SYS_pivot_root, new_root, put_old));
}

unsigned sys_cpu_count(void)
{
	char text[64] = "";
	unsigned last = 0;

	/* "0" or "0-3": sysconf() counts what this process may use. */
	if (sys_read_file("/sys/devices/system/cpu/online", text, sizeof(text)) > 0)
		sscanf(text, "0-%u", &last);
	return last + 1;
}

void sys_use_cpu(int cpu)
{
	cpu_set_t set;

	memset(&set, cpu >= 0 ? 0 : 0xff, sizeof(set));
	if (cpu >= 0)
		CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int sys_finit_module(int fd)
{
	return result(syscall(SYS_finit_module, fd, "", 0));
}

pid_t sys_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = flags | (ret_pidfd ? CLONE_PIDFD : 0) |
			 (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)(cgroup_fd >= 0 ? cgroup_fd : 0),
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return -errno;
	if (ret_pidfd && pid > 0)
		*ret_pidfd = pidfd;
	return (pid_t)pid;
}

int sys_write_file_at(int dir_fd, const char *name, const char *text)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

int sys_write_file(const char *path, const char *text)
{
	return sys_write_file_at(AT_FDCWD, path, text);
}

ssize_t sys_read_file_at(int dir_fd, const char *name, char *text, size_t size)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	if (fd < 0)
		return -errno;
	while (length < size - 1) {
		ssize_t n = read(fd, text + length, size - 1 - length);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		length += (size_t)n;
	}
	text[length] = '\0';
	return (ssize_t)length;
}

ssize_t sys_read_file(const char *path, char *text, size_t size)
{
	return sys_read_file_at(AT_FDCWD, path, text, size);
}
