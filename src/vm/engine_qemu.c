/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU as the engine.
 *
 * A restore needs no command: the device state is a file that QEMU gets as a descriptor, and it
 * runs the machine as soon as that is loaded. The two commands that are sent (capabilities, status)
 * are written before QEMU has even been linked; their answers and the RESUME event only tell when
 * it ran. All the work of a start can therefore overlap with it, and the first message to the agent
 * can wait in its socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "vm/engine.h"
#include "vm/initramfs.h"
#include "vm/launch.h"
#include "vm/qmp.h"

#define RUN_TIMEOUT_MS 20000
#define COMMAND_TIMEOUT_MS 5000
#define DEVICES_MAX (64ll << 20) /* bytes of the state of all devices */

struct qemu {
	struct vm vm;
	pid_t pid;  /* 0 once it has been waited for */
	int status; /* as of proc_wait, then */
	bool restoring;
	char *log_path;  /* owned; may be NULL */
	char *initramfs; /* owned; a cold boot's, removed when it runs no more */
	int64_t log_offset;
	int ram_fd;  /* owned: the file that it maps as its memory */
	int save_fd; /* owned: what it writes the state of its devices to */
	uint64_t ram_bytes;
	int agent_fd;    /* owned until taken */
	struct qmp *qmp; /* owned */
	int64_t status_id;

	struct loop *loop; /* borrowed; NULL until watched */
	const struct vm_ops *ops;
	void *ctx;
	int console_fd;        /* owned; the emulator's console, -1: none or ended */
	int console_file;      /* owned; -1: none */
	uint64_t console_room; /* bytes that may still be written to it */
	struct loop_source *console_source;
	int pid_fd;                      /* owned */
	struct loop_source *qmp_source;  /* owned; NULL when the channel has ended */
	struct loop_source *pid_source;  /* owned */
	struct loop_source *event_timer; /* owned; fires when events wait outside the channel */
};

static struct qemu *of_vm(struct vm *vm)
{
	return (struct qemu *)vm;
}

/* --- the console --- */

static int open_console(struct qemu *qemu, const char *path, int *ret_peer, struct err *err)
{
	AUTO_CLOSE int file = -1;
	struct stat st;
	int pair[2];
	int r;

	if (!path)
		return 0;
	file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0 || fstat(file, &st) < 0)
		return err_set(err, -errno, "cannot open the console's log '%s': %m", path);
	if (st.st_size >= VM_CONSOLE_MAX && ftruncate(file, 0) == 0)
		st.st_size = 0;
	r = sock_pair(pair, err);
	if (r < 0)
		return r;
	qemu->console_room =
		st.st_size < VM_CONSOLE_MAX ? VM_CONSOLE_MAX - (uint64_t)st.st_size : 0;
	qemu->console_file = TAKE_FD(file);
	qemu->console_fd = pair[0];
	*ret_peer = pair[1];
	fd_set_nonblock(qemu->console_fd, true);
	return 0;
}

/* Writes down what has come. False when there is no more to come. */
static bool read_console(struct qemu *qemu)
{
	char text[4096];
	ssize_t n;

	if (qemu->console_fd < 0)
		return false;
	/* A chunk at a time: a guest that never falls silent does not keep the loop. */
	n = read(qemu->console_fd, text, sizeof(text));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if ((uint64_t)n > qemu->console_room)
		n = (ssize_t)qemu->console_room;
	qemu->console_room -= (uint64_t)n;
	fd_write_all(qemu->console_file, text,
		     (size_t)n); /* a full disk costs the messages alone */
	return true;
}

static void on_console(void *ctx, int fd, uint32_t events)
{
	struct qemu *qemu = ctx;

	if (!read_console(qemu))
		qemu->console_source = loop_remove(qemu->console_source);
}

/* What the emulator wrote before it ended. */
static void finish_console(struct qemu *qemu)
{
	qemu->console_source = loop_remove(qemu->console_source);
	if (qemu->console_fd < 0)
		return;
	fd_set_nonblock(qemu->console_fd, false); /* it has ended: there is an end to be read */
	while (read_console(qemu))
		;
	close(TAKE_FD(qemu->console_fd));
}

static void reap(struct qemu *qemu)
{
	if (qemu->pid == 0)
		return;
	qemu->status = proc_wait(qemu->pid);
	qemu->pid = 0;
	finish_console(qemu);
	if (qemu->initramfs)
		unlink(qemu->initramfs);
}

static void qemu_kill(struct vm *vm)
{
	struct qemu *qemu = of_vm(vm);

	if (qemu->pid == 0)
		return;
	kill(qemu->pid, SIGKILL);
	reap(qemu);
}

static void qemu_free(struct vm *vm)
{
	struct qemu *qemu = of_vm(vm);

	qemu_kill(vm);
	loop_remove(qemu->qmp_source);
	loop_remove(qemu->pid_source);
	loop_remove(qemu->event_timer);
	qmp_free(qemu->qmp);
	if (qemu->agent_fd >= 0)
		close(qemu->agent_fd);
	if (qemu->ram_fd >= 0)
		close(qemu->ram_fd);
	if (qemu->save_fd >= 0)
		close(qemu->save_fd);
	if (qemu->pid_fd >= 0)
		close(qemu->pid_fd);
	finish_console(qemu);
	if (qemu->console_file >= 0)
		close(qemu->console_file);
	free(qemu->log_path);
	free(qemu->initramfs);
	free(qemu);
}

static void freep(struct qemu **qemu)
{
	if (*qemu)
		qemu_free(&(*qemu)->vm);
}

/* The files of memory and saved state: they stay open, so that it does not matter whether they
 * still have a name when they are needed. */
static int open_files(const struct vm_options *options, struct qemu *qemu, struct err *err)
{
	const struct template *template = options->template;

	qemu->save_fd = memfd_create("hull-state", MFD_CLOEXEC);
	qemu->ram_fd = template ? open(template->ram_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
				: memfd_create("hull-ram", MFD_CLOEXEC);
	if (template && qemu->ram_fd < 0)
		return err_set(err, errno == ENOENT ? -ESTALE : -errno, "cannot open '%s': %m",
			       template->ram_path);
	if (qemu->save_fd < 0 || qemu->ram_fd < 0 ||
	    (!template && ftruncate(qemu->ram_fd, (off_t)qemu->ram_bytes) < 0))
		return err_set(err, -errno, "cannot allocate the machine's memory: %m");
	return 0;
}

/* Starts the process for the options; *ret_process and qemu->initramfs are set. */
static int start(const struct vm_options *options, struct qemu *qemu,
		 struct launch_process *ret_process, struct err *err)
{
	const struct template *template = options->template;
	AUTO_CLOSE int state = -1;
	AUTO_CLOSE int console = -1;
	struct launch launch = {
		.use = template ? LAUNCH_RESTORE : LAUNCH_COLD,
		.shape = &options->shape,
		.disks = options->disks,
		.nics = options->nics,
		.extent_dirs = options->extent_dirs,
		.has_console = options->console_path,
		.has_files = options->files_fd > 0,
		.has_bulk = options->bulk_fd > 0,
	};
	struct launch_files files = { .state = -1, .ram = -1, .files = -1, .bulk = -1 };
	int r = open_console(qemu, options->console_path, &console, err);

	if (r == 0)
		r = open_files(options, qemu, err);
	if (r < 0)
		return r;
	if (template) {
		state = open(template->state_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (state < 0)
			return err_set(err, errno == ENOENT ? -ESTALE : -errno,
				       "cannot open '%s': %m", template->state_path);
		launch.ram_path = template->ram_path;
		files.state = state;
	} else {
		qemu->initramfs = path_join(options->work_dir, "initramfs");
		r = initramfs_write(&options->shape, qemu->initramfs, err);
		if (r < 0)
			return r;
		launch.initramfs = qemu->initramfs;
		launch.tsc_khz = launch_measure_tsc_khz();
		files.ram = qemu->ram_fd;
	}
	files.files = options->files_fd > 0 ? options->files_fd : -1;
	files.bulk = options->bulk_fd > 0 ? options->bulk_fd : -1;
	files.console = console;
	files.save = qemu->save_fd;
	return launch_start(&launch, &files, options->log_path, ret_process, err);
}

static int qemu_spawn(const struct vm_options *options, struct vm **ret_vm, struct err *err)
{
	CLEANUP(freep) struct qemu *qemu = xcalloc(1, sizeof(*qemu));
	struct launch_process process = { 0 };
	int r;

	*qemu = (struct qemu){
		.vm.engine = &engine_qemu,
		.restoring = options->template,
		.log_path = xstrdup(options->log_path),
		.ram_fd = -1,
		.save_fd = -1,
		.ram_bytes = options->shape.memory_bytes,
		.agent_fd = -1,
		.console_fd = -1,
		.console_file = -1,
		.pid_fd = -1,
	};
	r = start(options, qemu, &process, err);
	if (r < 0)
		return r;
	qemu->pid = process.pid;
	qemu->agent_fd = process.agent_fd;
	qemu->log_offset = process.log_offset;
	qemu->qmp = qmp_new(process.qmp_fd);
	qemu->status_id = qmp_send(qemu->qmp, "query-status", NULL, NULL);
	log_timeline("emulator started");
	*ret_vm = &TAKE_PTR(qemu)->vm;
	return 0;
}

/* The emulator ended, or did something odd, before the machine ran: says why. */
static int report_death(struct qemu *qemu, int r, struct err *err)
{
	AUTO_FREE char *words = NULL;
	int code = qemu->restoring ? -ESTALE : -EIO;

	if (r == -ETIMEDOUT)
		code = r;
	qemu_kill(&qemu->vm);
	words = launch_last_words(qemu->log_path, qemu->log_offset);
	if (words[0])
		return err_set(err, code, "the emulator could not start the machine: %s", words);
	return err_set(err, code, "the emulator could not start the machine (status %d)",
		       qemu->status);
}

static int wait_running(struct qemu *qemu, uint64_t deadline_ms, struct err *err)
{
	AUTO_JSON json_t *status = NULL;
	int r;

	r = qmp_wait(qemu->qmp, qemu->status_id, deadline_ms, &status, err);
	if (r < 0)
		return r;
	if (str_eq(json_get_string(status, "status"), "running"))
		return 0;
	if (!str_eq(json_get_string(status, "status"), "inmigrate"))
		return err_set(err, -EPROTO, "the machine is in state '%s'",
			       str_or(json_get_string(status, "status"), ""));
	/* Events are sent from here on: RESUME cannot be missed. */
	for (;;) {
		AUTO_QMP_EVENT struct qmp_event event = { 0 };

		r = qmp_wait_event(qemu->qmp, deadline_ms, &event, err);
		if (r < 0)
			return r;
		if (str_eq(event.name, "RESUME"))
			return 0;
	}
}

static int qemu_run(struct vm *vm, struct err *err)
{
	struct qemu *qemu = of_vm(vm);
	int r;

	if (qemu->status_id < 0)
		return report_death(qemu, (int)qemu->status_id, err);
	r = wait_running(qemu, clock_monotonic_ms() + RUN_TIMEOUT_MS, err);
	if (r < 0)
		return report_death(qemu, r, err);
	log_timeline("machine runs");
	return 0;
}

static int qemu_take_agent(struct vm *vm)
{
	return TAKE_FD(of_vm(vm)->agent_fd);
}

/* What an event means for the owner of the machine; NULL: nothing. */
static const char *event_meaning(const struct qmp_event *event)
{
	if (str_eq(event->name, "GUEST_PANICKED"))
		return "panic";
	if (str_eq(event->name, "BLOCK_IO_ERROR") &&
	    str_eq(json_get_string(event->data, "action"), "stop"))
		return "disk-full"; /* the only error that QEMU stops for by default */
	if (!str_eq(event->name, "SHUTDOWN"))
		return NULL;
	if (!json_get_bool(event->data, "guest", false))
		return NULL; /* we or a signal ended it */
	return str_eq(json_get_string(event->data, "reason"), "guest-reset") ? "reset" : "shutdown";
}

static void deliver_events(struct qemu *qemu)
{
	for (;;) {
		AUTO_QMP_EVENT struct qmp_event event = { 0 };
		const char *meaning;

		if (!qmp_take_event(qemu->qmp, &event))
			return;
		meaning = event_meaning(&event);
		if (meaning && qemu->ops->event)
			qemu->ops->event(qemu->ctx, meaning);
	}
}

static void on_qmp(void *ctx, int fd, uint32_t events)
{
	struct qemu *qemu = ctx;

	/* A channel that ended or broke is given up; the process's own end says the rest. */
	if (qmp_receive(qemu->qmp, NULL) < 0)
		qemu->qmp_source = loop_remove(qemu->qmp_source);
	deliver_events(qemu);
}

static void on_exit_of_qemu(void *ctx, int fd, uint32_t events)
{
	struct qemu *qemu = ctx;

	qemu->pid_source = loop_remove(qemu->pid_source);
	qemu->qmp_source = loop_remove(qemu->qmp_source);
	reap(qemu);
	qmp_receive(qemu->qmp, NULL);
	deliver_events(qemu);
	qemu->ops->exited(qemu->ctx, qemu->status);
}

static void on_event_timer(void *ctx)
{
	deliver_events(ctx);
}

static void qemu_watch(struct vm *vm, struct loop *loop, const struct vm_ops *ops, void *ctx)
{
	struct qemu *qemu = of_vm(vm);

	qemu->loop = loop;
	qemu->ops = ops;
	qemu->ctx = ctx;
	qemu->pid_fd = proc_pidfd(qemu->pid);
	qemu->qmp_source = loop_add_fd(loop, qmp_fd(qemu->qmp), EPOLLIN, on_qmp, qemu);
	qemu->pid_source = loop_add_fd(loop, qemu->pid_fd, EPOLLIN, on_exit_of_qemu, qemu);
	if (qemu->console_fd >= 0)
		qemu->console_source =
			loop_add_fd(loop, qemu->console_fd, EPOLLIN, on_console, qemu);
	qemu->event_timer = loop_add_timer(loop, on_event_timer, qemu);
	loop_arm(qemu->event_timer, 0);
}

static int command(struct vm *vm, const char *name, json_t *arguments, struct err *err)
{
	struct qemu *qemu = of_vm(vm);
	int r;

	r = qmp_execute(qemu->qmp, name, arguments, clock_monotonic_ms() + COMMAND_TIMEOUT_MS, NULL,
			err);
	if (qemu->event_timer)
		loop_arm(qemu->event_timer, 0); /* for events that came before the reply */
	return r;
}

static int qemu_pause(struct vm *vm, struct err *err)
{
	return command(vm, "stop", NULL, err);
}

static int qemu_resume(struct vm *vm, struct err *err)
{
	return command(vm, "cont", NULL, err);
}

static int qemu_copy_memory(struct vm *vm, int to_fd, struct ram_copy **ret_copy, struct err *err)
{
	const struct qemu *qemu = of_vm(vm);

	return ram_copy_new(qemu->pid, qemu->ram_fd, qemu->ram_bytes, to_fd, ret_copy, err);
}

/* The emulator cannot create files; it opens the one that it was given when it started. */
static int qemu_save_devices(struct vm *vm, int fd, struct err *err)
{
	const struct qemu *qemu = of_vm(vm);
	struct stat st;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", LAUNCH_FD_SAVE);
	/* Not "live": its disks stay its own. */
	r = command(vm, "xen-save-devices-state",
		    json_pack("{s:s,s:b}", "filename", path, "live", 0), err);
	if (r < 0)
		return r;
	if (fstat(qemu->save_fd, &st) < 0 || st.st_size <= 0 || st.st_size > DEVICES_MAX)
		return err_set(err, -EPROTO, "the emulator saved a state of %lld bytes",
			       (long long)st.st_size);
	r = fd_clone_file(qemu->save_fd, fd);
	/* Its memory is not needed until it is saved again. */
	(void)!ftruncate(qemu->save_fd, 0);
	return r < 0 ? err_set(err, r, "cannot write the machine's state: %m") : 0;
}

static pid_t qemu_pid(const struct vm *vm)
{
	return ((const struct qemu *)vm)->pid;
}

const struct vm_engine engine_qemu = {
	.name = "qemu",
	.spawn = qemu_spawn,
	.run = qemu_run,
	.take_agent = qemu_take_agent,
	.watch = qemu_watch,
	.copy_memory = qemu_copy_memory,
	.save_devices = qemu_save_devices,
	.pause = qemu_pause,
	.resume = qemu_resume,
	.kill = qemu_kill,
	.pid = qemu_pid,
	.free = qemu_free,
};
