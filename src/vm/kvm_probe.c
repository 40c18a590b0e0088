/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child makes a VM with one page of code: flat 32-bit protected mode, paging off, a loop that
 * reads CR0 (as kernels do; emulated where ring 0 is interpreted) and counts down in memory. The
 * parent shares the counter's page, watches the clock and kills the child when time is up, so that
 * neither a hanging ioctl nor a slow machine holds anybody up; what was counted until then is the
 * result.
 */
#include "vm/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/proc.h"

#ifdef __x86_64__

#include <linux/kvm.h>

#define PROBE_TIMEOUT_MS 300
#define LOOP_COUNT 3000000u
#define LOOP_INSTRUCTIONS 3
#define CODE_OFFSET 0u
#define COUNTER_OFFSET 0x1000u /* a page of its own: code is not in it */
#define GUEST_BASE 0x1000u
#define GUEST_SIZE 0x2000u

static const uint8_t code[] = {
	0x0f, 0x20, 0xc0,                   /* 1: mov %cr0, %eax */
	0xff, 0x0d, 0x00, 0x20, 0x00, 0x00, /* decl GUEST_BASE + COUNTER_OFFSET */
	0x75, 0xf5,                         /* jnz 1b */
	0xf4,                               /* hlt */
};

/* Shared with the child. */
struct shared {
	uint8_t guest[GUEST_SIZE];
	struct kvm_probe probe;
	uint64_t started_ns; /* of the child's CPU time: a busy host must not look slow */
	uint64_t ended_ns;
};

static int fail(struct shared *shared, const char *what)
{
	shared->probe.error = -errno;
	snprintf(shared->probe.failed, sizeof(shared->probe.failed), "%s", what);
	return -1;
}

static int set_registers(int vcpu)
{
	const struct kvm_segment flat = { .limit = 0xffffffff,
					  .selector = 8,
					  .type = 11,
					  .present = 1,
					  .db = 1,
					  .s = 1,
					  .g = 1 };
	struct kvm_regs regs = { .rip = GUEST_BASE + CODE_OFFSET, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs = flat;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.ds.type = sregs.es.type = sregs.fs.type = sregs.gs.type = sregs.ss.type = 3;
	sregs.cr0 |= 1; /* protected mode */
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

static int run_loop(int vcpu, struct kvm_run *run, struct shared *shared)
{
	shared->started_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return fail(shared, "run the machine");
	shared->ended_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	errno = EIO;
	return run->exit_reason == KVM_EXIT_HLT ? 0 : fail(shared, "run guest code");
}

static int run_machine(int kvm, struct shared *shared)
{
	const struct kvm_userspace_memory_region region = {
		.guest_phys_addr = GUEST_BASE,
		.memory_size = GUEST_SIZE,
		.userspace_addr = (uintptr_t)shared->guest,
	};
	AUTO_CLOSE int vm = -1;
	AUTO_CLOSE int vcpu = -1;
	struct kvm_run *run;
	int size;

	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return fail(shared, "use this version of KVM");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return fail(shared, "create a machine");
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* older Intel CPUs want it; else ignored */
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail(shared, "give the machine memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return fail(shared, "create a CPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = size > 0 ? mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0)
		       : MAP_FAILED;
	if (run == MAP_FAILED || set_registers(vcpu) < 0)
		return fail(shared, "set up a CPU");
	return run_loop(vcpu, run, shared);
}

static void child_main(struct shared *shared)
{
	int kvm;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		fail(shared, "open /dev/kvm");
	else
		run_machine(kvm, shared);
	_exit(0);
}

static void wait_child(pid_t pid, struct shared *shared)
{
	AUTO_CLOSE int pidfd = proc_pidfd(pid);
	clockid_t clock;

	if ((pidfd < 0 || fd_wait(pidfd, POLLIN, PROBE_TIMEOUT_MS) != 1) && !shared->ended_ns &&
	    clock_getcpuclockid(pid, &clock) == 0)
		shared->ended_ns = clock_ns(clock);
	kill(pid, SIGKILL);
	proc_wait(pid);
}

static void judge(const struct shared *shared, struct kvm_probe *ret)
{
	uint32_t left;

	*ret = shared->probe;
	if (ret->error < 0 || !shared->started_ns || shared->ended_ns <= shared->started_ns)
		return;
	memcpy(&left, shared->guest + COUNTER_OFFSET, sizeof(left));
	ret->guest_mips = (double)(LOOP_COUNT - left) * LOOP_INSTRUCTIONS * 1e3 /
			  (double)(shared->ended_ns - shared->started_ns);
}

void kvm_probe_run(struct kvm_probe *ret_probe)
{
	const uint32_t count = LOOP_COUNT;
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	*ret_probe = (struct kvm_probe){ .error = -errno, .failed = "start a process" };
	if (shared == MAP_FAILED)
		return;
	memcpy(shared->guest + CODE_OFFSET, code, sizeof(code));
	memcpy(shared->guest + COUNTER_OFFSET, &count, sizeof(count));
	pid = fork();
	if (pid == 0)
		child_main(shared);
	if (pid > 0) {
		wait_child(pid, shared);
		judge(shared, ret_probe);
	}
	munmap(shared, sizeof(*shared));
}

#else

void kvm_probe_run(struct kvm_probe *ret_probe)
{
	*ret_probe = (struct kvm_probe){ .error = -ENOTSUP, .failed = "probe this architecture" };
}

#endif
