/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hull-init: process 1 of the guest. Everything that does not depend on the container is done
 * before the hello, since it is then part of the template: kernel modules, mounts, cgroup, the
 * container's first process in its namespaces.
 *
 * The first file system cannot be left by pivot_root, so a tmpfs is moved over it; what the
 * initramfs held is deleted once it is used. A container that got out of its root would find an
 * empty directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/agent.h"
#include "guest/cgroup.h"
#include "guest/disks.h"
#include "guest/modules.h"
#include "guest/mounters.h"
#include "guest/mounts.h"
#include "guest/net.h"
#include "guest/port.h"
#include "guest/power.h"
#include "guest/rehearsal.h"
#include "guest/sys.h"
#include "guest/timeline.h"

#define BASE "/base"
#define PORT_NAME "agent"
#define PORT_WAIT_MS 10000

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	for (int i = 0; i < 3 && fd >= 0; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static int mount_base(struct err *err)
{
	static const struct {
		const char *type, *target, *data;
		unsigned long flags;
	} mounts[] = {
		{ "tmpfs", BASE, "mode=755", MS_NOSUID | MS_NODEV },
		{ "devtmpfs", BASE "/dev", "mode=755", MS_NOSUID | MS_NOEXEC },
		{ "proc", BASE "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", BASE "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "cgroup2", BASE "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].target, 0755); /* some are there */
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
			  mounts[i].data) < 0)
			return err_set(err, -errno, "cannot mount '%s': %m", mounts[i].target);
	}
	return 0;
}

static int enter_base(struct err *err)
{
	unlink("/init");
	if (chdir(BASE) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return err_set(err, -errno, "cannot leave the initramfs: %m");
	return 0;
}

/* Housekeeping that wakes an idle kernel again and again: each time in all the machines of a host,
 * and right after a restore, when every path through the kernel is dear under emulation. */
static void calm_kernel(void)
{
	sys_write_file("/proc/sys/vm/compaction_proactiveness", "0"); /* kcompactd, 2 a second */
	sys_write_file("/proc/sys/vm/stat_interval", "30");           /* else every second */
}

/* Ports come with a delay: each kernel event is a reason to look again. */
static int wait_for_port(int uevent_fd)
{
	for (;;) {
		char event[4096];
		int fd = port_open(PORT_NAME);

		if (fd != -ENOENT)
			return fd;
		if (fd_wait(uevent_fd, POLLIN, PORT_WAIT_MS) <= 0)
			return -ETIMEDOUT;
		while (recv(uevent_fd, event, sizeof(event), MSG_DONTWAIT) > 0)
			;
	}
}

static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0)
		(void)!bind(fd, (struct sockaddr *)&address, sizeof(address));
	return fd;
}

static int boot(struct err *err)
{
	AUTO_CLOSE int uevent_fd = -1;
	AUTO_CLOSE int cgroup_fd = -1;
	struct stage stage;
	int port;
	int r;

	/* What happens between a restore and the program's start is one chain: a second CPU only
	 * adds wake-ups, which are dear under emulation. The container's processes get all CPUs. */
	sys_use_cpu(0);
	modules_load("/modules");
	r = mount_base(err);
	if (r == 0)
		r = enter_base(err);
	if (r < 0)
		return r;
	calm_kernel();
	open_console();
	uevent_fd = open_uevents();
	/* What a child of ours is before it executes something is nobody's business. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	disks_scan();
	disks_forget();
	r = mounts_prepare(err);
	if (r < 0)
		return r;
	timeline_init();
	net_prepare();
	cgroup_fd = cgroup_create(err);
	if (cgroup_fd < 0)
		return cgroup_fd;
	mounters_start();
	r = stage_start(cgroup_fd, &stage, err);
	if (r < 0)
		return r;
	rehearsal_start();
	/* After the container's process has its namespace, which therefore has no part in it. */
	r = mounts_scratch_early(err);
	if (r < 0)
		return r;
	port = wait_for_port(uevent_fd);
	if (port < 0)
		return err_set(err, port,
			       "no port '%s' appeared (%m): does the kernel have virtio_mmio and "
			       "virtio_console, or their modules?",
			       PORT_NAME);
	agent_run(port, cgroup_fd, &stage);
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = { 0 };

	if (argc == 2 && str_eq(argv[1], REHEARSAL_ARGUMENT))
		return 0;

	log_init("hull-init", LOG_LEVEL_INFO);
	if (getpid() != 1) {
		log_error("hull-init is process 1 of a hull guest, nothing else");
		return 64;
	}
	if (boot(&err) < 0)
		log_error("%s", err.message);
	power_off();
}
