/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "base/clock.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "proto/bulk.h"

/* An empty slot is larger than any disk: a slot's size is frozen in the template, but what lies
 * beyond the end of the real disk just fails to read, so that no resize is needed after a restore.
 */
#define EMPTY_SLOT_BYTES "17592186044416"

/* What never differs. No balloon: on a file mapping it punches holes into the template, and a
 * hostile guest can ask for that at any time. No random device: the agent is seeded by the host. */
static const char *const fixed_args[] = {
	"-no-user-config",
	"-nodefaults",
	"-display",
	"none",
	"-no-reboot",
	"-sandbox",
	"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	"-global",
	"virtio-mmio.force-legacy=false",
	/* The device state is what xen-save-devices-state writes: it has neither the machine's name
	 * nor its run state, so that a restored machine runs as soon as it is loaded, without a
	 * command. */
	"-global",
	"migration.send-configuration=off",
	"-global",
	"migration.store-global-state=off",
	/* Ports 1 and 2; 0 would be a console. The guest makes two queues for each that there may
	 * be, and each restore reads the state of each of them in the guest's memory. */
	"-device",
	"virtio-serial-device,id=vser,max_ports=3",
	"-device",
	"virtserialport,chardev=agent,name=agent,bus=vser.0",
	"-device",
	"virtserialport,chardev=files,name=files,bus=vser.0",
};

static void add(char ***argv, const char *option, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add(char ***argv, const char *option, const char *format, ...)
{
	AUTO_FREE char *value = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		abort();
	va_end(args);
	strv_push(argv, option);
	strv_push(argv, value);
}

/* A path as a value inside an option: commas are doubled. */
static char *escaped(const char *path)
{
	AUTO_SBUF struct sbuf text = { 0 };

	for (; *path; path++)
		sbuf_add_bytes(&text, *path == ',' ? ",," : path, *path == ',' ? 2 : 1);
	return sbuf_take(&text);
}

static void add_accelerator(char ***argv, const struct launch *launch)
{
	if (launch->shape->accel == ACCEL_KVM) {
		add(argv, "-accel", "kvm");
		add(argv, "-cpu", "host");
	} else {
		add(argv, "-accel", "tcg,tb-size=64");
		/* "rep movsb" is translated into a loop over bytes: told that it is fast, the
		 * kernel and C libraries copy with it, at an eighth of the speed of "rep movsq". */
		add(argv, "-cpu", "max,erms=off");
	}
	add(argv, "-smp", "%u", launch->shape->vcpus);
}

static void add_memory(char ***argv, const struct launch *launch)
{
	unsigned long long bytes = launch->shape->memory_bytes;
	AUTO_FREE char *path = NULL;

	add(argv, "-m", "%lluB", bytes);
	switch (launch->use) {
	case LAUNCH_TEMPLATE:
	case LAUNCH_DERIVE:
		add(argv, "-object",
		    "memory-backend-file,id=mem0,size=%llu,mem-path=/proc/self/fd/%d,share=on",
		    bytes, LAUNCH_FD_RAM);
		break;
	case LAUNCH_RESTORE:
		path = escaped(launch->ram_path);
		add(argv, "-object", "memory-backend-file,id=mem0,size=%llu,mem-path=%s,share=off",
		    bytes, path);
		break;
	default:
		/* A file as well: what has been changed in it is told the same way as in a
		 * template's. */
		add(argv, "-object",
		    "memory-backend-file,id=mem0,size=%llu,mem-path=/proc/self/fd/%d,share=off",
		    bytes, LAUNCH_FD_RAM);
	}
}

/* A restored machine needs no kernel: it is in its memory. */
static void add_boot(char ***argv, const struct launch *launch)
{
	if (launch->use == LAUNCH_RESTORE || launch->use == LAUNCH_DERIVE) {
		add(argv, "-incoming", "fd:%d", LAUNCH_FD_STATE);
		return;
	}
	add(argv, "-kernel", "%s", launch->shape->kernel);
	add(argv, "-initrd", "%s", launch->initramfs);
	/* Without tsc_early_khz the kernel hangs on this machine under emulation: it has no timer
	 * that the counter could be calibrated against. An emulated processor does not
	 * speculate, so there is nothing to mitigate; and pressure (psi) is measured at each switch
	 * of processes, which an emulator has to pay for. */
	add(argv, "-append",
	    "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable random.trust_cpu=on "
	    "init_on_alloc=0 "
	    "tsc_early_khz=%u%s",
	    launch->tsc_khz, launch->shape->accel == ACCEL_TCG ? " mitigations=off psi=0" : "");
}

static void add_channels(char ***argv, const struct launch *launch)
{
	AUTO_FREE char *console = launch->console_path ? escaped(launch->console_path) : NULL;

	add(argv, "-chardev", "socket,id=qmp,fd=%d", LAUNCH_FD_QMP);
	add(argv, "-mon", "chardev=qmp,mode=control");
	add(argv, "-chardev", "socket,id=agent,fd=%d", LAUNCH_FD_AGENT);
	if (console)
		add(argv, "-chardev", "file,id=console,path=%s,append=on", console);
	else if (launch->has_console)
		add(argv, "-chardev", "socket,id=console,fd=%d", LAUNCH_FD_CONSOLE);
	else
		add(argv, "-chardev", "null,id=console");
	add(argv, "-serial", "chardev:console");
	if (launch->has_files)
		add(argv, "-chardev", "socket,id=files,fd=%d", LAUNCH_FD_FILES);
	else
		add(argv, "-chardev", "null,id=files");
}

static bool is_read_only(const struct machine_devices *devices, unsigned int slot)
{
	return slot == 0 || slot >= machine_first_read_only(devices);
}

static void add_disk(char ***argv, const struct machine_devices *devices, unsigned int slot,
		     const struct vm_disk *disk)
{
	const char *read_only = is_read_only(devices, slot) ? "on" : "off";
	AUTO_FREE char *path = disk && disk->path ? escaped(disk->path) : NULL;

	if (!path)
		add(argv, "-blockdev",
		    "driver=null-co,node-name=s%u,size=" EMPTY_SLOT_BYTES
		    ",read-zeroes=on,read-only=%s",
		    slot, read_only);
	else
		add(argv, "-blockdev",
		    "driver=%s,node-name=s%u,read-only=%s,discard=unmap,"
		    "file.driver=file,file.filename=%s,file.discard=unmap",
		    disk->format == VM_DISK_VMDK ? "vmdk" : "raw", slot, read_only, path);
	add(argv, "-device", "virtio-blk-device,drive=s%u,serial=slot%u", slot, slot);
}

/* The MTU stands in for offloads, which these links do not have. No control queue: the guest
 * changes its address and joins groups without asking the device, which passes on all it gets
 * anyway. */
#define NIC_OPTIONS                                                               \
	"host_mtu=65520,ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,ctrl_vlan=off," \
	"ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off"

static void add_nic(char ***argv, unsigned int slot, const struct vm_nic *nic)
{
	if (nic && nic->fd)
		add(argv, "-netdev", "dgram,id=n%u,local.type=fd,local.str=%u", slot,
		    LAUNCH_FD_NIC + slot);
	else
		add(argv, "-netdev", "hubport,id=n%u,hubid=%u", slot, slot);
	add(argv, "-device", "virtio-net-device,netdev=n%u,mac=52:54:00:00:00:%02x," NIC_OPTIONS,
	    slot, slot + 1);
}

/* What much data passes through (proto/bulk.h): a file in memory, which the shim has too. */
static void add_bulk(char ***argv, const struct launch *launch)
{
	if (launch->has_bulk)
		add(argv, "-blockdev",
		    "driver=raw,node-name=bulk,file.driver=file,"
		    "file.filename=/proc/self/fd/%d",
		    LAUNCH_FD_BULK);
	else
		add(argv, "-blockdev",
		    "driver=null-co,node-name=bulk,size=" EMPTY_SLOT_BYTES ",read-zeroes=on");
	add(argv, "-device", "virtio-blk-device,drive=bulk,serial=" BULK_SERIAL);
}

static void add_devices(char ***argv, const struct launch *launch)
{
	const struct machine_devices *devices = &launch->shape->devices;

	for (unsigned int i = 0; i < devices->nics; i++)
		add_nic(argv, i, launch->nics ? &launch->nics[i] : NULL);
	for (unsigned int i = 0; i < devices->disks; i++)
		add_disk(argv, devices, i, launch->disks ? &launch->disks[i] : NULL);
	add_bulk(argv, launch);
}

char **launch_argv(const struct launch *launch)
{
	char **argv = NULL;

	strv_push(&argv, launch->shape->qemu);
	add(&argv, "-M",
	    "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on,suppress-vmdesc=on,"
	    "mem-merge=off,memory-backend=mem0");
	add_accelerator(&argv, launch);
	add_memory(&argv, launch);
	add_boot(&argv, launch);
	add_channels(&argv, launch);
	for (size_t i = 0; i < ARRAY_SIZE(fixed_args); i++)
		strv_push(&argv, fixed_args[i]);
	add_devices(&argv, launch);
	return argv;
}

char *const *launch_environment(void)
{
	static char *const environment[] = {
		(char *)"PATH=/usr/bin:/bin",
		(char *)"HOME=/",
		/* One heap, given back early: QEMU's threads allocate little at the same time. */
		(char *)"MALLOC_ARENA_MAX=1",
		NULL,
	};

	return environment;
}

uint32_t launch_measure_tsc_khz(void)
{
#ifdef __x86_64__
	uint64_t t0 = clock_ns(CLOCK_MONOTONIC_RAW);
	uint64_t c0 = __rdtsc();
	uint64_t t1 = t0;
	uint64_t c1 = c0;

	/* Two readings that are 10 ms apart are right to a few millionths. */
	while (t1 - t0 < 10000000) {
		t1 = clock_ns(CLOCK_MONOTONIC_RAW);
		c1 = __rdtsc();
	}
	return (uint32_t)((c1 - c0) * 1000000 / (t1 - t0));
#else
	return 1000000; /* QEMU counts nanoseconds there */
#endif
}

static int open_log(const char *path, int64_t *ret_offset, struct err *err)
{
	AUTO_CLOSE int fd = open(path ? path : "/dev/null",
				 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open the emulator's log '%s': %m", path);
	*ret_offset = st.st_size;
	return TAKE_FD(fd);
}

/* A machine whose guest is hostile may take over its emulator: that reaches then its program, its
 * disks, and no more. The maker of a template runs nothing of anybody's. 0: not confined. */
static int confine(const struct launch *launch, struct err *err)
{
	const struct machine_devices *devices = &launch->shape->devices;
	struct landlock_path paths[16 + MACHINE_DISKS_MAX] = {
		{ .path = launch->shape->qemu, .execute = true },
		{ .path = "/usr", .execute = true },
		{ .path = "/lib", .execute = true },
		{ .path = "/lib64", .execute = true },
		{ .path = "/etc/ld.so.cache" },
		{ .path = "/dev/null", .write = true },
		{ .path = "/dev/urandom" },
		{ .path = "/dev/kvm", .write = true },
		{ .path = launch->ram_path, .write = true },
		{ .path = launch->initramfs },
		{ .path = launch->use == LAUNCH_COLD ? launch->shape->kernel : NULL },
	};
	size_t count = 11;
	int fd;

	if (launch->use == LAUNCH_TEMPLATE)
		return 0;
	for (unsigned int i = 0; launch->disks && i < devices->disks; i++)
		paths[count++] = (struct landlock_path){ .path = launch->disks[i].path,
							 .write = !is_read_only(devices, i) };
	for (size_t i = 0; launch->extent_dirs && i < 2; i++)
		paths[count++] = (struct landlock_path){ .path = launch->extent_dirs[i] };
	fd = landlock_open(paths, count, err);
	return fd == -ENOSYS ? 0 : fd;
}

int launch_start(const struct launch *launch, const struct launch_files *files,
		 const char *log_path, struct launch_process *ret_process, struct err *err)
{
	AUTO_STRV char **argv = launch_argv(launch);
	AUTO_CLOSE int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int log = -1;
	AUTO_CLOSE int qmp = -1, qmp_peer = -1, agent = -1, agent_peer = -1;
	AUTO_CLOSE int landlock = -1;
	struct launch_process process = { 0 };
	int pair[2];
	int r;

	if (nothing < 0)
		return err_set(err, -errno, "cannot open /dev/null: %m");
	log = open_log(log_path, &process.log_offset, err);
	if (log < 0)
		return log;
	r = sock_pair(pair, err);
	if (r < 0)
		return r;
	qmp = pair[0];
	qmp_peer = pair[1];
	r = sock_pair(pair, err);
	if (r < 0)
		return r;
	agent = pair[0];
	agent_peer = pair[1];
	const struct proc_fd optional[] = {
		{ files->state, LAUNCH_FD_STATE },     { files->ram, LAUNCH_FD_RAM },
		{ files->console, LAUNCH_FD_CONSOLE }, { files->save, LAUNCH_FD_SAVE },
		{ files->files, LAUNCH_FD_FILES },     { files->bulk, LAUNCH_FD_BULK },
	};
	struct proc_fd fds[5 + ARRAY_SIZE(optional) + MACHINE_NICS_MAX] = {
		{ nothing, 0 },
		{ log, 1 },
		{ log, 2 },
		{ qmp_peer, LAUNCH_FD_QMP },
		{ agent_peer, LAUNCH_FD_AGENT },
	};
	size_t fd_count = 5;

	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		if (optional[i].from >= 0)
			fds[fd_count++] = optional[i];
	for (unsigned int i = 0; launch->nics && i < launch->shape->devices.nics; i++)
		if (launch->nics[i].fd)
			fds[fd_count++] =
				(struct proc_fd){ launch->nics[i].fd, (int)(LAUNCH_FD_NIC + i) };

	landlock = confine(launch, err);
	if (landlock < 0)
		return landlock;
	if (landlock == 0)
		landlock = -1;

	const struct proc_spec spec = {
		.argv = argv,
		.landlock_fd = landlock,
		.environment = launch_environment(),
		.fds = fds,
		.fd_count = fd_count,
		.new_session = true,
		.die_with_parent = true,
		.no_new_privileges = true,
		/* QEMU asks for huge pages for the code it translates into: 4 MB more for an idle
		 * container, and nothing runs measurably faster. */
		.no_huge_pages = launch->shape->accel == ACCEL_TCG,
	};
	r = proc_spawn(&spec, &process.pid, err);
	if (r < 0)
		return r;
	process.qmp_fd = TAKE_FD(qmp);
	process.agent_fd = TAKE_FD(agent);
	*ret_process = process;
	return 0;
}

/* What an emulator or a kernel says whether all is well or not. */
static bool is_telling(const char *line)
{
	return !strstr(line, ": warning: ") && !strstr(line, "reboot: Power down");
}

char *launch_last_words(const char *log_path, int64_t log_offset)
{
	AUTO_CLOSE int fd = log_path ? open(log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char text[4096];
	struct stat st;
	char *line;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return xstrdup("");
	if (st.st_size - log_offset > (int64_t)sizeof(text) - 1)
		log_offset = st.st_size - (int64_t)sizeof(text) + 1;
	n = pread(fd, text, sizeof(text) - 1, log_offset);
	if (n <= 0)
		return xstrdup("");
	text[n] = '\0';
	do {
		n = (ssize_t)strlen(text);
		while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
			n--;
		text[n] = '\0';
		line = memrchr(text, '\n', (size_t)n);
		line = line ? line + 1 : text;
		if (is_telling(line))
			break;
		*line = '\0';
	} while (text[0]);
	err_sanitize(line);
	return xstrdup(line);
}
