/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"

#define BOOT_TIMEOUT_MS 60000
#define WAIT_TIMEOUT_MS 30000
#define DEFAULT_CAPS 0xa80425fbu

static void die(const struct guest *guest, const char *what)
{
	fprintf(stderr, "guest test: %s\n", what);
	if (guest && guest->pid > 0)
		kill(guest->pid, SIGKILL);
	abort();
}

static struct guest_process *process_of(struct guest *guest, uint32_t id)
{
	if (id >= GUEST_PROCESSES_MAX)
		die(guest, "a process that was never started");
	return &guest->processes[id];
}

static int on_failed(struct guest *guest, const uint8_t *payload, size_t size)
{
	struct msg_failed failed;
	int r = msg_failed_decode(payload, size, &failed);

	if (r < 0)
		return r;
	if (failed.process == 0) {
		guest->session_failed = guest->session_done = true;
		snprintf(guest->message, sizeof(guest->message), "%s", failed.message);
		return 0;
	}
	struct guest_process *process = process_of(guest, failed.process);
	process->failed = process->exited = true;
	process->status = failed.status;
	snprintf(process->message, sizeof(process->message), "%s", failed.message);
	return 0;
}

static int on_control(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
	struct guest *guest = ctx;
	struct msg_hello hello;
	struct msg_started started;
	struct msg_exited exited;
	int r = 0;

	switch (type) {
	case MSG_HELLO:
		r = msg_hello_decode(payload, size, &hello);
		guest->hello = true;
		break;
	case MSG_SESSION_DONE:
		guest->session_done = true;
		break;
	case MSG_STARTED:
		r = msg_started_decode(payload, size, &started);
		if (r == 0)
			process_of(guest, started.process)->started = true;
		break;
	case MSG_FAILED:
		return on_failed(guest, payload, size);
	case MSG_EXITED:
		r = msg_exited_decode(payload, size, &exited);
		if (r < 0)
			break;
		process_of(guest, exited.process)->status = exited.status;
		process_of(guest, exited.process)->oom_killed = exited.oom_killed;
		process_of(guest, exited.process)->exited = true;
		break;
	case MSG_SHUTDOWN_DONE:
		guest->shutdown_done = true;
		break;
	case MSG_STATS_REPLY:
		r = msg_stats_decode(payload, size, &guest->stats);
		guest->stats_received = true;
		break;
	case MSG_CLOCK_REPLY:
		r = msg_clock_decode(payload, size, &guest->clock);
		guest->clock_received = true;
		break;
	case MSG_PONG:
		guest->pong = true;
		break;
	case MSG_OOM:
		guest->oom = true;
		break;
	default:
		r = -EPROTO;
	}
	return r;
}

static void on_data(void *ctx, uint32_t stream, const uint8_t *data, size_t size)
{
	struct guest *guest = ctx;
	struct guest_process *process = process_of(guest, stream >> 2);

	sbuf_add_bytes((stream & 3) == MSG_STREAM_STDERR ? &process->err : &process->out, data,
		       size);
	if (!process->hold)
		mux_consumed(guest->mux, stream, size);
}

static void on_eof(void *ctx, uint32_t stream)
{
	struct guest_process *process = process_of(ctx, stream >> 2);

	*((stream & 3) == MSG_STREAM_STDERR ? &process->err_eof : &process->out_eof) = true;
}

static void send_input(struct guest *guest)
{
	uint32_t stream = MSG_STREAM(guest->input_process, MSG_STREAM_STDIN);
	ssize_t n = mux_send(guest->mux, stream, guest->input + guest->input_offset,
			     guest->input_size - guest->input_offset);

	if (n > 0)
		guest->input_offset += (size_t)n;
}

static void on_reset(void *ctx, uint32_t stream)
{
	(void)ctx;
	(void)stream;
}

static void on_writable(void *ctx, uint32_t stream)
{
	struct guest *guest = ctx;

	if (stream >> 2 == guest->input_process)
		send_input(guest);
}

static void on_closed(void *ctx, int error)
{
	struct guest *guest = ctx;

	(void)error;
	guest->closed = true;
}

static pid_t start_machine(const char *kernel, const char *files, const char *image, int channel)
{
	AUTO_FREE char *vmlinux = xasprintf("%s/vmlinux", kernel);
	AUTO_FREE char *initrd = xasprintf("%s/initrd", files);
	AUTO_FREE char *root =
		xasprintf("driver=file,node-name=s0,read-only=on,filename=%s/%s", files, image);
	AUTO_FREE char *scratch =
		xasprintf("driver=file,node-name=s1,discard=unmap,filename=%s/scratch.ext4", files);
	AUTO_FREE char *serial = xasprintf("file:%s/console.log", files);
	char *append = "console=ttyS0 panic=-1 quiet reboot=t tsc_early_khz=2000000 tsc=reliable "
		       "random.trust_cpu=on";
	char *argv[] = { "qemu-system-x86_64",
			 "-accel",
			 "tcg",
			 "-cpu",
			 "max",
			 "-M",
			 "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on",
			 "-global",
			 "virtio-mmio.force-legacy=false",
			 "-m",
			 "512",
			 "-smp",
			 "2",
			 "-nodefaults",
			 "-no-user-config",
			 "-display",
			 "none",
			 "-no-reboot",
			 "-kernel",
			 vmlinux,
			 "-initrd",
			 initrd,
			 "-append",
			 append,
			 "-chardev",
			 "socket,id=agent,fd=9",
			 "-device",
			 "virtio-serial-device,id=vser",
			 "-device",
			 "virtserialport,chardev=agent,name=agent,bus=vser.0",
			 "-serial",
			 serial,
			 "-blockdev",
			 root,
			 "-device",
			 "virtio-blk-device,drive=s0,serial=slot0",
			 "-blockdev",
			 scratch,
			 "-device",
			 "virtio-blk-device,drive=s1,serial=slot1",
			 NULL };
	struct proc_fd fds[] = { { channel, 9 } };
	struct proc_spec spec = {
		.argv = argv, .fds = fds, .fd_count = 1, .die_with_parent = true
	};
	struct err err = { 0 };
	pid_t pid;

	if (proc_spawn(&spec, &pid, &err) < 0)
		die(NULL, err.message);
	return pid;
}

void guest_boot(struct guest *guest, const char *kernel, const char *files, const char *image)
{
	static const struct mux_ops ops = {
		.control = on_control,
		.data = on_data,
		.eof = on_eof,
		.reset = on_reset,
		.writable = on_writable,
		.closed = on_closed,
	};
	int fds[2];

	*guest = (struct guest){ 0 };
	if (sock_pair(fds, NULL) < 0)
		die(guest, "no socket pair");
	guest->pid = start_machine(kernel, files, image, fds[1]);
	close(fds[1]);
	guest->loop = loop_new();
	guest->mux = mux_new(guest->loop, fds[0], false, &ops, guest);
	guest_wait(guest, &guest->hello, BOOT_TIMEOUT_MS);
}

void guest_release(struct guest *guest)
{
	if (guest->pid > 0) {
		kill(guest->pid, SIGKILL);
		proc_wait(guest->pid);
	}
	mux_free(guest->mux);
	loop_free(guest->loop);
	for (size_t i = 0; i < GUEST_PROCESSES_MAX; i++) {
		sbuf_release(&guest->processes[i].out);
		sbuf_release(&guest->processes[i].err);
	}
	*guest = (struct guest){ 0 };
}

struct msg_session guest_session(void)
{
	static char *masked[] = { "/no/such/path", NULL };
	struct msg_session session = {
		.version = MSG_VERSION,
		.wall_clock_ns = clock_wall_ns(),
		.hostname = "testbox",
		.root_serial = "slot0",
		.scratch_serial = "slot1",
		.shm_bytes = 1 << 20,
		.default_masked = true,
		.default_read_only = true,
		.masked_paths = masked,
	};

	hash_random(session.entropy, sizeof(session.entropy));
	return session;
}

struct msg_process guest_command(uint32_t id, char **args)
{
	return (struct msg_process){ .id = id, .args = args, .capabilities = DEFAULT_CAPS };
}

static void open_streams(struct guest *guest, uint32_t id)
{
	uint32_t window = guest->processes[id].hold ? 4096 : MUX_WINDOW_DEFAULT;

	mux_open(guest->mux, MSG_STREAM(id, MSG_STREAM_STDIN), 0);
	mux_open(guest->mux, MSG_STREAM(id, MSG_STREAM_STDOUT), window);
	mux_open(guest->mux, MSG_STREAM(id, MSG_STREAM_STDERR), window);
}

void guest_send_session(struct guest *guest, const struct msg_session *session)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	if (session->has_process)
		open_streams(guest, MSG_PROCESS_MAIN);
	msg_session_encode(session, &bytes);
	mux_send_control(guest->mux, MSG_SESSION, bytes.text, bytes.length);
	guest_wait(guest, &guest->session_done, WAIT_TIMEOUT_MS);
}

void guest_exec(struct guest *guest, const struct msg_process *process)
{
	AUTO_SBUF struct sbuf bytes = { 0 };

	open_streams(guest, process->id);
	msg_process_encode(process, &bytes);
	mux_send_control(guest->mux, MSG_EXEC, bytes.text, bytes.length);
}

const char *guest_sh(struct guest *guest, uint32_t id, const char *script)
{
	char *args[] = { "sh", "-c", (char *)script, NULL };
	struct msg_process process = guest_command(id, args);

	guest_exec(guest, &process);
	guest_wait(guest, &guest->processes[id].exited, WAIT_TIMEOUT_MS);
	return str_or(guest->processes[id].out.text, "");
}

void guest_input(struct guest *guest, uint32_t id, const char *data, size_t size, bool eof)
{
	guest->input_process = id;
	guest->input = data;
	guest->input_size = size;
	guest->input_offset = 0;
	for (int i = 0; i < 100000 && guest->input_offset < size; i++) {
		send_input(guest);
		if (guest->input_offset < size)
			loop_run_once(guest->loop, 100);
	}
	if (eof)
		mux_send_eof(guest->mux, MSG_STREAM(id, MSG_STREAM_STDIN));
}

void guest_signal(struct guest *guest, uint32_t id, uint32_t signal, bool whole_group)
{
	struct msg_signal message = { id, signal, whole_group };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_signal_encode(&message, &bytes);
	mux_send_control(guest->mux, MSG_SIGNAL, bytes.text, bytes.length);
}

void guest_resize(struct guest *guest, uint32_t id, uint16_t rows, uint16_t columns)
{
	struct msg_resize message = { id, rows, columns };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_resize_encode(&message, &bytes);
	mux_send_control(guest->mux, MSG_RESIZE, bytes.text, bytes.length);
}

static void print_processes(const struct guest *guest)
{
	for (uint32_t id = 1; id < GUEST_PROCESSES_MAX; id++) {
		const struct guest_process *process = &guest->processes[id];

		if (process->started && !process->exited)
			fprintf(stderr, "process %u runs: %zu bytes out%s, %zu bytes err%s\n", id,
				process->out.length, process->out_eof ? " to the end" : "",
				process->err.length, process->err_eof ? " to the end" : "");
	}
}

void guest_wait(struct guest *guest, const bool *flag, int timeout_ms)
{
	uint64_t deadline = clock_monotonic_ms() + (uint64_t)timeout_ms;

	while (!*flag) {
		uint64_t now = clock_monotonic_ms();

		if (now >= deadline) {
			print_processes(guest);
			die(guest, "the guest does not answer");
		}
		if (guest->closed)
			die(guest, "the guest is gone");
		loop_run_once(guest->loop, (int)(deadline - now));
	}
}

void guest_wait_output(struct guest *guest, uint32_t id, const char *text)
{
	uint64_t deadline = clock_monotonic_ms() + WAIT_TIMEOUT_MS;
	const struct sbuf *out = &guest->processes[id].out;

	while (!out->text || !strstr(out->text, text)) {
		uint64_t now = clock_monotonic_ms();

		if (now >= deadline || guest->closed || guest->processes[id].exited) {
			fprintf(stderr, "output of process %u so far: %s\n", id,
				str_or(out->text, ""));
			die(guest, "an output that was waited for did not come");
		}
		loop_run_once(guest->loop, (int)(deadline - now));
	}
}

void guest_shutdown(struct guest *guest, uint32_t signal, uint32_t timeout_ms)
{
	struct msg_shutdown message = { signal, timeout_ms };
	AUTO_SBUF struct sbuf bytes = { 0 };

	msg_shutdown_encode(&message, &bytes);
	mux_send_control(guest->mux, MSG_SHUTDOWN, bytes.text, bytes.length);
	guest_wait(guest, &guest->shutdown_done, WAIT_TIMEOUT_MS);
	while (!guest->closed)
		loop_run_once(guest->loop, 1000);
	proc_wait(guest->pid);
	guest->pid = 0;
}
