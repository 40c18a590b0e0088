/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/template_make.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "vm/initramfs.h"
#include "vm/launch.h"
#include "vm/qmp.h"
#include "vm/template_ram.h"

#define BOOT_TIMEOUT_MS 180000 /* seconds at most, but the host may be busy */
#define COMMAND_TIMEOUT_MS 20000
#define QUIET_SAMPLE_MS 50
#define QUIET_SAMPLES 40
/* Linux looks after its dirty pages 200 ms after it wrote some (BANDWIDTH_INTERVAL). */
#define QUIET_MS 300
#define STATE_MAX (64ll << 20)
#define MESSAGE_MAX 1024

/* The machine that will be the template. Its memory and state are memfds, so that a full disk shows
 * where we write the files, not as a SIGBUS in the emulator. */
struct maker {
	const char *directory;             /* borrowed */
	const struct machine_shape *shape; /* borrowed */
	const struct template *base;       /* borrowed; NULL: it boots */
	int ram_fd;                        /* owned */
	int state_fd;                      /* owned */
	pid_t pid;                         /* 0: does not run */
	int agent_fd;                      /* owned */
	struct qmp *qmp;                   /* owned */
	char *log_path;                    /* owned */
	int64_t log_offset;
};

static void maker_stop(struct maker *maker)
{
	if (maker->pid == 0)
		return;
	kill(maker->pid, SIGKILL);
	proc_wait(maker->pid);
	maker->pid = 0;
}

static void maker_release(struct maker *maker)
{
	maker_stop(maker);
	qmp_free(maker->qmp);
	cleanup_closep(&maker->ram_fd);
	cleanup_closep(&maker->state_fd);
	cleanup_closep(&maker->agent_fd);
	free(maker->log_path);
}

/* The copy of the scratch disk that the guest mounts. */
static int copy_scratch(const struct maker *maker, const char *path, struct err *err)
{
	const char *source = maker->base ? maker->base->scratch_path : maker->shape->scratch;
	AUTO_CLOSE int from = open(source, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = from < 0 || to < 0 ? -errno : fd_clone_file(from, to);

	return r < 0 ? err_set(err, r, "cannot copy the scratch disk '%s': %m", source) : 0;
}

/* What it is restored from; it goes on to change both. */
static int copy_base(const struct maker *maker, struct err *err)
{
	const struct template *base = maker->base;
	AUTO_CLOSE int ram = open(base->ram_path, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int state = open(base->state_path, O_RDONLY | O_CLOEXEC);
	uint32_t crc;
	int r = ram < 0 || state < 0 ? -errno : 0;

	if (r == 0)
		r = template_ram_copy(ram, maker->ram_fd, base->ram_bytes, &crc);
	if (r == 0)
		r = fd_clone_file(state, maker->state_fd);
	if (r == 0 && lseek(maker->state_fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "cannot read the template '%s': %m", base->directory) : 0;
}

/* What is in the directory before the machine starts. */
static int maker_prepare(const struct maker *maker, const char *scratch, const char *initramfs,
			 struct err *err)
{
	int r = maker->base ? copy_base(maker, err) : initramfs_write(maker->shape, initramfs, err);

	if (r == 0 && maker->shape->scratch)
		r = copy_scratch(maker, scratch, err);
	return r;
}

static int maker_start(struct maker *maker, struct err *err)
{
	AUTO_FREE char *scratch = path_join(maker->directory, "scratch.img");
	AUTO_FREE char *initramfs = path_join(maker->directory, "initramfs");
	AUTO_FREE char *console = path_join(maker->directory, "console.log");
	const struct machine_image *image = maker->shape->image;
	const struct vm_disk disks[MACHINE_DISKS_MAX] = {
		[0] = { .path = image ? image->disk : NULL, .format = VM_DISK_VMDK },
		[1] = { .path = maker->shape->scratch ? scratch : NULL, .format = VM_DISK_RAW },
	};
	const struct launch launch = {
		.use = maker->base ? LAUNCH_DERIVE : LAUNCH_TEMPLATE,
		.shape = maker->shape,
		.initramfs = initramfs,
		/* Under an image's guest nothing grows that nobody bounds. */
		.console_path = image ? NULL : console,
		.disks = disks,
		.extent_dirs = image ? image->extent_dirs : NULL,
		.tsc_khz = maker->base ? 0 : launch_measure_tsc_khz(),
	};
	struct launch_files files = { .console = -1, .files = -1, .bulk = -1 };
	struct launch_process process = { 0 };
	int r;

	maker->ram_fd = memfd_create("hull-ram", MFD_CLOEXEC);
	maker->state_fd = memfd_create("hull-state", MFD_CLOEXEC);
	if (maker->ram_fd < 0 || maker->state_fd < 0 ||
	    ftruncate(maker->ram_fd, (off_t)maker->shape->memory_bytes) < 0)
		return err_set(err, -errno, "cannot allocate the template's memory: %m");
	files.ram = maker->ram_fd;
	files.state = maker->base ? maker->state_fd : -1;
	files.save = maker->state_fd;
	r = maker_prepare(maker, scratch, initramfs, err);
	if (r == 0)
		r = launch_start(&launch, &files, maker->log_path, &process, err);
	if (r < 0)
		return r;
	maker->pid = process.pid;
	maker->agent_fd = process.agent_fd;
	maker->log_offset = process.log_offset;
	maker->qmp = qmp_new(process.qmp_fd);
	return 0;
}

/* Why the emulator or its guest gave up: the last of what they said. */
static int report_death(struct maker *maker, struct err *err)
{
	AUTO_FREE char *console = path_join(maker->directory, "console.log");
	AUTO_FREE char *words = NULL;

	maker_stop(maker);
	words = launch_last_words(maker->log_path, maker->log_offset);
	if (!words[0]) {
		free(words);
		words = launch_last_words(console, 0);
	}
	return err_set(err, -EIO, "the template machine ended before its agent was ready%s%s",
		       words[0] ? ": " : "", words);
}

static int read_agent(struct maker *maker, void *data, size_t size, uint64_t deadline_ms,
		      struct err *err)
{
	uint8_t *p = data;

	while (size > 0) {
		uint64_t now = clock_monotonic_ms();
		int r = fd_wait(maker->agent_fd, POLLIN,
				now < deadline_ms ? (int)(deadline_ms - now) : 0);
		ssize_t n;

		if (r == 0)
			return err_set(err, -ETIMEDOUT,
				       "the template machine's agent did not answer within %d s",
				       BOOT_TIMEOUT_MS / 1000);
		n = r < 0 ? -1 : read(maker->agent_fd, p, size);
		if (n <= 0)
			return report_death(maker, err);
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The one message that is due now, read to its end, so that nobody who restores the template gets
 * half of it. */
static int read_message(struct maker *maker, uint16_t *ret_type, uint8_t *payload, size_t max,
			size_t *ret_size, struct err *err)
{
	uint64_t deadline_ms = clock_monotonic_ms() + BOOT_TIMEOUT_MS;
	uint8_t encoded[FRAME_HEADER_SIZE];
	struct frame_header header;
	int r;

	r = read_agent(maker, encoded, sizeof(encoded), deadline_ms, err);
	if (r < 0)
		return r;
	if (frame_decode(encoded, &header) < 0 || header.length > max ||
	    header.stream != FRAME_STREAM_CONTROL)
		return err_set(err, -EPROTO,
			       "the template machine's agent does not speak our protocol");
	*ret_type = header.type;
	*ret_size = header.length;
	return read_agent(maker, payload, header.length, deadline_ms, err);
}

/* MSG_HELLO is the only thing the guest says by itself. Its content is the session's to judge. */
static int wait_hello(struct maker *maker, struct err *err)
{
	uint8_t payload[MESSAGE_MAX];
	uint16_t type;
	size_t size;
	int r = read_message(maker, &type, payload, sizeof(payload), &size, err);

	if (r == 0 && type != MSG_HELLO)
		return err_set(err, -EPROTO,
			       "the template machine's agent does not speak our protocol");
	return r;
}

static int send_prepare(struct maker *maker, struct err *err)
{
	const struct msg_prepare message = { "slot0", maker->shape->scratch ? "slot1" : "" };
	AUTO_SBUF struct sbuf bytes = { 0 };
	uint8_t encoded[FRAME_HEADER_SIZE];
	int r;

	msg_prepare_encode(&message, &bytes);
	frame_encode(
		&(struct frame_header){ (uint32_t)bytes.length, FRAME_STREAM_CONTROL, MSG_PREPARE },
		encoded);
	r = fd_write_all(maker->agent_fd, encoded, sizeof(encoded));
	if (r == 0)
		r = fd_write_all(maker->agent_fd, bytes.text, bytes.length);
	return r < 0 ? err_set(err, r, "cannot reach the template machine's agent: %m") : 0;
}

/* Has the guest mount the image. Sent before it runs: it waits in the socket. */
static int prepare_image(struct maker *maker, struct err *err)
{
	uint8_t payload[MESSAGE_MAX];
	struct msg_failed failed;
	uint16_t type;
	size_t size;
	int r = send_prepare(maker, err);

	if (r == 0)
		r = read_message(maker, &type, payload, sizeof(payload), &size, err);
	if (r < 0 || type == MSG_PREPARED)
		return r;
	if (type != MSG_FAILED || msg_failed_decode(payload, size, &failed) < 0)
		return err_set(err, -EPROTO,
			       "the template machine's agent does not speak our protocol");
	return err_set(err, -EINVAL, "the template machine cannot use the image: %s",
		       failed.message);
}

/* CPU time that the emulator has used, in clock ticks. */
static uint64_t cpu_ticks(pid_t pid)
{
	char path[64];
	AUTO_FREE char *text = NULL;
	unsigned long long user = 0;
	unsigned long long system_time = 0;
	const char *rest;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, 4096, &text, NULL, NULL) < 0)
		return 0;
	rest = strrchr(text, ')');
	/* proc(5): fields 14 and 15; the name ends field 2. */
	if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			    &user, &system_time) != 2)
		return 0;
	return user + system_time;
}

/* Lets the guest finish what it still does after HELLO (freeing its initramfs, parking threads),
 * or after it mounted something, which every restored machine would have to do again: until it has
 * done nothing for quiet_ms. There is no event for "idle": the emulator's CPU time is sampled,
 * once per template. */
static void wait_quiet(const struct maker *maker, int quiet_ms)
{
	uint64_t before = cpu_ticks(maker->pid);
	int quiet = 0;

	for (int i = 0; i < QUIET_SAMPLES; i++) {
		uint64_t now;

		if (fd_wait(maker->agent_fd, POLLIN, QUIET_SAMPLE_MS) != 0)
			return;
		now = cpu_ticks(maker->pid);
		quiet = now == before ? quiet + QUIET_SAMPLE_MS : 0;
		if (quiet >= quiet_ms)
			return;
		before = now;
	}
}

static int save_state(struct maker *maker, struct err *err)
{
	uint64_t deadline_ms = clock_monotonic_ms() + COMMAND_TIMEOUT_MS;
	char path[64];
	int r;

	r = qmp_execute(maker->qmp, "stop", NULL, deadline_ms, NULL, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", LAUNCH_FD_SAVE);
	/* The state of all devices without RAM, which stays where it is. */
	return qmp_execute(maker->qmp, "xen-save-devices-state",
			   json_pack("{s:s,s:b}", "filename", path, "live", 1), deadline_ms, NULL,
			   err);
}

static int create(const struct maker *maker, const char *name, struct err *err)
{
	AUTO_FREE char *path = path_join(maker->directory, "%s", name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? err_set(err, -errno, "cannot create '%s': %m", path) : fd;
}

static int write_state(const struct maker *maker, struct template_image *image, struct err *err)
{
	AUTO_CLOSE int fd = create(maker, "state", err);
	off_t size = lseek(maker->state_fd, 0, SEEK_END);
	uint8_t *data;
	int r;

	if (fd < 0)
		return fd;
	if (size <= 0 || size > STATE_MAX)
		return err_set(err, -EPROTO, "the emulator saved a state of %lld bytes",
			       (long long)size);
	data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, maker->state_fd, 0);
	if (data == MAP_FAILED)
		return err_set(err, -errno, "cannot read the machine's state: %m");
	image->state_bytes = (uint64_t)size;
	image->state_crc = ~hash_crc32c(~0u, data, (size_t)size);
	r = fd_write_all(fd, data, (size_t)size);
	munmap(data, (size_t)size);
	if (r < 0)
		return err_set(err, r, "cannot write the template's state: %m");
	return 0;
}

static int write_ram(const struct maker *maker, struct template_image *image, struct err *err)
{
	AUTO_CLOSE int fd = create(maker, "ram", err);
	int r;

	if (fd < 0)
		return fd;
	r = template_ram_copy(maker->ram_fd, fd, maker->shape->memory_bytes, &image->ram_crc);
	if (r < 0)
		return err_set(err, r, "cannot write the template's memory: %m");
	return 0;
}

static int sum_scratch(const struct maker *maker, struct template_image *image, struct err *err)
{
	AUTO_FREE char *path = path_join(maker->directory, "scratch.img");
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	int r = size < 0 ? -errno : template_ram_copy(fd, -1, (uint64_t)size, &image->scratch_crc);

	return r < 0 ? err_set(err, r, "cannot read '%s': %m", path) : 0;
}

int template_make(const char *directory, const struct machine_shape *shape,
		  const struct template *base, const struct template_progress *progress,
		  struct template_image *ret_image, struct err *err)
{
	CLEANUP(maker_release)
	struct maker maker = {
		.directory = directory,
		.shape = shape,
		.base = base,
		.ram_fd = -1,
		.state_fd = -1,
		.agent_fd = -1,
		.log_path = path_join(directory, "emulator.log"),
	};
	struct template_image image = { 0 };
	int r;

	if (progress)
		progress->step(progress->ctx, base ? "preparing the image's template"
						   : "booting the template machine");
	r = maker_start(&maker, err);
	if (r == 0)
		r = base ? prepare_image(&maker, err) : wait_hello(&maker, err);
	if (r < 0)
		return r;
	if (progress)
		progress->step(progress->ctx, "saving the template");
	/* Nobody waits for an image's. */
	wait_quiet(&maker, base ? QUIET_MS : QUIET_SAMPLE_MS);
	r = save_state(&maker, err);
	if (r < 0)
		return r;
	maker_stop(&maker);
	r = write_state(&maker, &image, err);
	if (r == 0)
		r = write_ram(&maker, &image, err);
	if (r == 0 && shape->scratch)
		r = sum_scratch(&maker, &image, err);
	if (r == 0)
		*ret_image = image;
	return r;
}
