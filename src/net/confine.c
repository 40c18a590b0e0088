/* SPDX-License-Identifier: Apache-2.0 */
#include "net/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/landlock.h"
#include "net/resolv_conf.h"

static const int allowed_calls[] = {
	/* Sockets and their data. */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(socketpair),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(fcntl),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	/* Waiting. */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(restart_syscall),
	/* resolv.conf; what may be opened is Landlock's to say. */
	SCMP_SYS(openat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(lseek),
	SCMP_SYS(readlink),
	SCMP_SYS(getdents64),
	/* Memory, the C library, the end. */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(sched_yield),
	SCMP_SYS(tgkill), /* abort */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static const int socket_families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	const uint32_t kept = 1u << CAP_NET_BIND_SERVICE;

	if (syscall(SYS_capget, &header, data) < 0)
		return err_set(err, -errno, "cannot read capabilities: %m");
	for (int capability = 0; capability < 64; capability++)
		if (capability != CAP_NET_BIND_SERVICE)
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* only root may, or need */
	data[0].permitted &= kept;
	data[0].effective = data[0].permitted;
	data[1].permitted = data[1].effective = 0;
	data[0].inheritable = data[1].inheritable = 0;
	if (syscall(SYS_capset, &header, data) < 0)
		return err_set(err, -errno, "cannot drop capabilities: %m");
	return 0;
}

/* The directory of the file that resolv.conf links to, where it is replaced: NULL if that is /etc
 * and this is root, who could read secrets there (net/resolv_conf.h). */
static char *resolver_directory(void)
{
	AUTO_FREE char *path = realpath(RESOLV_CONF, NULL);
	char *slash = path ? strrchr(path, '/') : NULL;

	if (!slash || slash == path)
		return NULL;
	*slash = '\0';
	return strcmp(path, "/etc") == 0 && geteuid() == 0 ? NULL : TAKE_PTR(path);
}

static int restrict_files(struct err *err)
{
	AUTO_FREE char *directory = resolver_directory();
	const struct landlock_path paths[] = {
		{ .path = RESOLV_CONF },
		{ .path = directory },
		{ .path = geteuid() == 0 ? NULL : "/etc" },
		{ .path = "/run/systemd/resolve" },
		{ .path = "/run/NetworkManager" },
		{ .path = "/run/resolvconf" },
		{ .path = "/run/connman" },
	};
	AUTO_CLOSE int rules = landlock_open_networked(paths, ARRAY_SIZE(paths), err);

	if (rules == -ENOSYS)
		return 0;
	if (rules < 0)
		return rules;
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_set(err, -errno, "cannot confine itself: %m");
	return 0;
}

static int fill_filter(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed_calls); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(socket_families); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)socket_families[i]));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0) /* how many bytes wait, and the names of interfaces in addresses */
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_LT, 0x10000));
	return r;
}

static int restrict_calls(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? fill_filter(filter) : -ENOMEM;

	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_set(err, r, "cannot restrict its system calls: %m") : 0;
}

int confine(struct err *err)
{
	int r = drop_capabilities(err);

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "cannot confine itself: %m");
	r = restrict_files(err);
	return r < 0 ? r : restrict_calls(err);
}
