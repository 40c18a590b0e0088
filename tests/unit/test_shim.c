/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor with a machine of paper: vm/vm.h is replaced by functions below, the guest is
 * played by the test over the agent's socket, the client is the real one.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "net/client.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/msg_state.h"
#include "proto/pack.h"
#include "shim/client.h"
#include "shim/session.h"
#include "shim/shim.h"
#include "shim/terminal.h"
#include "shim/volume_files.h"
#include "store/networks.h"
#include "vm/saved.h"

/* --- the machine of paper --- */

static int paper_agent = -1; /* the shim's end of the agent's socket */
static bool paper_broken;    /* machines do not start */
static bool paper_full;      /* their state cannot be saved */
static bool paper_checked;   /* the container has a health check */
static uint32_t paper_answer_ms = SHIM_ANSWER_MS;

struct vm {
	bool killed;
};

int vm_spawn(const struct vm_options *options, struct vm **ret_vm, struct err *err)
{
	if (paper_broken)
		return err_set(err, -EIO, "it burnt");
	*ret_vm = xcalloc(1, sizeof(**ret_vm));
	return 0;
}

int vm_run(struct vm *vm, struct err *err)
{
	return 0;
}

int vm_take_agent(struct vm *vm)
{
	return TAKE_FD(paper_agent);
}

void vm_watch(struct vm *vm, struct loop *loop, const struct vm_ops *ops, void *ctx)
{
}

int vm_pause(struct vm *vm, struct err *err)
{
	return 0;
}

int vm_resume(struct vm *vm, struct err *err)
{
	return 0;
}

void vm_kill(struct vm *vm)
{
}

struct vm *vm_free(struct vm *vm)
{
	free(vm);
	return NULL;
}

struct ram_copy {
	int to;
};

int vm_copy_memory(struct vm *vm, int to_fd, struct ram_copy **ret_copy, struct err *err)
{
	*ret_copy = xcalloc(1, sizeof(**ret_copy));
	(*ret_copy)->to = to_fd;
	return 0;
}

int ram_copy_estimate(struct ram_copy *copy, uint64_t *ret_bytes, struct err *err)
{
	*ret_bytes = paper_full ? UINT64_MAX / 2 : 6;
	return 0;
}

int ram_copy_pass(struct ram_copy *copy, struct err *err)
{
	return ftruncate(copy->to, 1 << 20) < 0 || fd_pwrite_all(copy->to, "memory", 6, 8192) < 0
		       ? -EIO
		       : 0;
}

uint64_t ram_copy_changed_pages(const struct ram_copy *copy)
{
	return 1;
}

struct ram_copy *ram_copy_free(struct ram_copy *copy)
{
	free(copy);
	return NULL;
}

int vm_save_devices(struct vm *vm, int fd, struct err *err)
{
	return fd_write_all(fd, "devices", 7);
}

void template_open(const char *directory, uint64_t ram_bytes, struct template *ret_template)
{
	*ret_template = (struct template){ .directory = xstrdup(directory) };
}

void template_release(struct template *template)
{
	free(template->directory);
	free(template->ram_path);
	free(template->state_path);
	*template = (struct template){ 0 };
}

void template_discard(struct template *template)
{
}

/* --- the stage: a store with one container, a shim in a child, the guest's end here --- */

#define UUID "11111111-2222-3333-4444-555555555555"

struct stage {
	char *root, *run;
	int guest;  /* the guest's end */
	int client; /* the first client's end */
	pid_t shim;
};

static void run_shim(struct stage *stage, int client, int agent, int lock, uint32_t attach)
{
	/* Inherited descriptors come first: what is opened later does not get their numbers. */
	int placed = dup2(client, LAUNCH_FD_CLIENT);
	struct shim shim = {
		.lock_fd = lock, .listener = -1, .answer_ms = paper_answer_ms, .loop = loop_new()
	};
	struct err err = { 0 };

	log_init("test-shim", LOG_LEVEL_ERROR);
	paper_agent = agent;
	shim.launch = (struct launch){ .uuid = xstrdup(UUID),
				       .root = xstrdup(stage->root),
				       .run = xstrdup(stage->run),
				       .accel = xstrdup("tcg"),
				       .qemu = xstrdup("/bin/sh"),
				       .vcpus = 2,
				       .memory_bytes = 1 << 20,
				       .devices = machine_devices_base,
				       .scratch_slot = LAUNCH_SCRATCH_FRESH,
				       .root_disk = xstrdup("none"),
				       .netd = xstrdup(str_or(getenv("HULL_NETD"), "hull-netd")),
				       .attach = attach };
	if (placed < 0)
		_exit(90);
	if (clerk_start(stage->root, UUID, NULL, &shim.clerk, &err) < 0 ||
	    clerk_get(shim.clerk, &shim.container, &err) < 0)
		_exit(91);
	AUTO_FREE char *log = path_join(stage->root, "containers/" UUID "/log");

	if (log_writer_open(log, &shim.log, &err) < 0)
		_exit(92);
	_exit(shim_run(&shim, &err) < 0 ? 93 : 0);
}

static void insert_container(struct stage *stage, bool auto_remove)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct container container = { .uuid = UUID };

	assert_int_equal(store_open(stage->root, &store, NULL), 0);
	container_config_init(&container.config);
	container.config.id = xstrdup("c1");
	container.config.auto_remove = auto_remove;
	container.config.process.executable = xstrdup("/bin/sh");
	container.config.process.stdin_open = true;
	container.config.memory_bytes = 1 << 30;
	container.config.cpus = 2;
	if (paper_broken)
		container.config.restart = xstrdup("always");
	if (paper_checked) {
		strv_push(&container.config.health.test, "CMD-SHELL");
		strv_push(&container.config.health.test, "is it well");
		container.config.health.interval_ms = 1;
		container.config.health.retries = 2;
	}
	assert_int_equal(containers_insert(store, &container, NULL), 0);
	container_config_release(&container.config);
}

/* High numbers, so that the shim's fixed ones are free. */
static int high(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	close(fd);
	return moved;
}

static void stage_open(struct stage *stage, const char *dir, bool auto_remove, uint32_t attach)
{
	AUTO_FREE char *container_dir = path_join(dir, "root/containers/" UUID);
	AUTO_FREE char *run_dir = path_join(dir, "run/" UUID);
	AUTO_FREE char *lock_path = path_join(run_dir, "lock");
	int agent[2];
	int client[2];
	int lock;

	stage->root = path_join(dir, "root");
	stage->run = path_join(dir, "run");
	assert_int_equal(path_make_dirs(container_dir, 0700, NULL), 0);
	assert_int_equal(path_make_dirs(run_dir, 0700, NULL), 0);
	insert_container(stage, auto_remove);
	assert_int_equal(sock_pair(agent, NULL), 0);
	assert_int_equal(sock_pair(client, NULL), 0);
	for (int i = 0; i < 2; i++) {
		agent[i] = high(agent[i]);
		client[i] = high(client[i]);
	}
	lock = high(lock_take(lock_path, LOCK_EXCLUSIVE, false, NULL));
	stage->shim = fork();
	assert_true(stage->shim >= 0);
	if (stage->shim == 0) {
		close(agent[1]);
		close(client[1]);
		run_shim(stage, client[0], agent[0], lock, attach);
	}
	close(agent[0]);
	close(client[0]);
	close(lock);
	stage->guest = agent[1];
	stage->client = client[1];
}

static void stage_close(struct stage *stage)
{
	if (stage->guest >= 0)
		close(stage->guest);
	if (stage->client >= 0)
		close(stage->client);
	assert_int_equal(proc_wait(stage->shim), 0);
	free(stage->root);
	free(stage->run);
}

static enum container_state state_in_row(const struct stage *stage, int *ret_exit_code)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(container_freep) struct container *container = NULL;

	assert_int_equal(store_open(stage->root, &store, NULL), 0);
	if (containers_get_uuid(store, UUID, &container, NULL) < 0)
		return CONTAINER_STATE_COUNT;
	*ret_exit_code = container->has_exit_code ? container->exit_code : -1;
	return container->state;
}

static void wait_until_running(const struct stage *stage)
{
	int exit_code;

	for (int i = 0; i < 1000 && state_in_row(stage, &exit_code) != CONTAINER_RUNNING; i++)
		poll(NULL, 0, 10);
	assert_int_equal(state_in_row(stage, &exit_code), CONTAINER_RUNNING);
}

/* --- the guest, played frame by frame --- */

static void guest_send(const struct stage *stage, uint32_t stream, uint16_t type, const void *data,
		       size_t size)
{
	uint8_t header[FRAME_HEADER_SIZE];

	frame_encode(&(struct frame_header){ (uint32_t)size, stream, type }, header);
	assert_int_equal(fd_write_all(stage->guest, header, sizeof(header)), 0);
	assert_int_equal(fd_write_all(stage->guest, data, size), 0);
}

static unsigned passed_resets; /* frames of that type that were passed over */

/* The next frame of any kind; body has room for FRAME_PAYLOAD_MAX. */
static struct frame_header guest_next(const struct stage *stage, uint8_t *body)
{
	uint8_t raw[FRAME_HEADER_SIZE];
	struct frame_header header;

	assert_int_equal(fd_wait(stage->guest, POLLIN, 10000), 1);
	assert_int_equal(fd_read_exact(stage->guest, raw, sizeof(raw)), 0);
	assert_int_equal(frame_decode(raw, &header), 0);
	assert_int_equal(fd_read_exact(stage->guest, body, header.length), 0);
	return header;
}

/* The next frame on the stream (0: a control message), passing over credit and others. */
static size_t guest_receive(const struct stage *stage, uint32_t stream, uint16_t type,
			    uint8_t *payload, size_t max)
{
	for (;;) {
		static uint8_t body[FRAME_PAYLOAD_MAX];
		struct frame_header header = guest_next(stage, body);

		if (header.stream != stream || header.type != type) {
			passed_resets += header.stream && header.type == FRAME_RESET;
			continue;
		}
		assert_true(header.length <= max);
		memcpy(payload, body, header.length);
		return header.length;
	}
}

static uint8_t buffer[FRAME_PAYLOAD_MAX];

static void guest_take_session(const struct stage *stage)
{
	struct msg_session session;
	size_t n = guest_receive(stage, 0, MSG_SESSION, buffer, sizeof(buffer));

	assert_int_equal(msg_session_decode(buffer, n, &session), 0);
	assert_true(session.has_process);
	assert_string_equal(session.process.args[0], "/bin/sh");
	assert_string_equal(session.hostname, "c1");
	assert_true(session.rehearse); /* emulated, with a second CPU */
	msg_session_release(&session);
}

static void guest_started(const struct stage *stage, uint32_t process)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_started_encode(&(struct msg_started){ process, 42 }, &out);
	guest_send(stage, 0, MSG_STARTED, out.text, out.length);
}

static void guest_exited(const struct stage *stage, uint32_t process, uint32_t status)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_exited_encode(&(struct msg_exited){ process, status, false }, &out);
	guest_send(stage, 0, MSG_EXITED, out.text, out.length);
}

static void guest_output(const struct stage *stage, uint32_t process, const char *text)
{
	guest_send(stage, MSG_STREAM(process, MSG_STREAM_STDOUT), FRAME_DATA, text, strlen(text));
}

static void guest_clean(const struct stage *stage)
{
	guest_receive(stage, 0, MSG_SHUTDOWN, buffer, sizeof(buffer));
	guest_send(stage, 0, MSG_SHUTDOWN_DONE, NULL, 0);
}

/* Runs the client of `attach` in a child with its stdout in a file; returns its pid. */
static pid_t start_client(int fd, uint16_t type, const struct sbuf *payload, const char *output)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct attach_options options = { .output = true };
		struct attach_result result = { 0 };
		struct err err = { 0 };
		int out = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		int r;

		for (int other = 100; other < 120;
		     other++) /* the guest's end is the test's alone */
			if (other != fd)
				close(other);
		dup2(out, 1);
		r = client_attach(fd, type, payload, &options, &result, &err);
		dprintf(1, "|%d|%u|%s", r, result.status, err.message);
		_exit(0);
	}
	close(fd);
	return pid;
}

static char *client_output(pid_t pid, const char *output)
{
	char *text = NULL;

	assert_int_equal(proc_wait(pid), 0);
	assert_int_equal(file_read(output, 1 << 20, &text, NULL, NULL), 0);
	return text;
}

static void test_run_to_the_end(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *log = NULL;
	AUTO_FREE char *log_path = path_join(*state, "root/containers/" UUID "/log");
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	stage_open(&stage, *state, false, CTL_ATTACH_OUTPUT);
	client = start_client(TAKE_FD(stage.client), 0, NULL, output);
	guest_take_session(&stage);
	guest_started(&stage, MSG_PROCESS_MAIN);
	guest_output(&stage, MSG_PROCESS_MAIN, "hello\n");
	guest_exited(&stage, MSG_PROCESS_MAIN, 7);
	guest_clean(&stage);
	text = client_output(client, output);
	assert_string_equal(text, "hello\n|0|7|");
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
	assert_int_equal(exit_code, 7);
	assert_int_equal(file_read(log_path, 1000, &log, NULL, NULL), 0);
	assert_non_null(strstr(log, " stdout F hello\n"));
	stage_close(&stage);
}

static void test_auto_remove_leaves_nothing(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *dir = path_join(*state, "root/containers/" UUID);
	AUTO_FREE char *run_dir = path_join(*state, "run/" UUID);
	struct stage stage;
	int exit_code;
	pid_t client;

	stage_open(&stage, *state, true, CTL_ATTACH_OUTPUT);
	client = start_client(TAKE_FD(stage.client), 0, NULL, output);
	guest_take_session(&stage);
	guest_started(&stage, MSG_PROCESS_MAIN);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	text = client_output(client, output);
	assert_string_equal(text, "|0|0|");
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STATE_COUNT);
	stage_close(&stage);
	assert_false(path_exists(run_dir));
	assert_false(path_exists(dir));
}

static void test_a_missing_program_is_told(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_SBUF struct sbuf failed = { 0 };
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	stage_open(&stage, *state, false, CTL_ATTACH_OUTPUT);
	client = start_client(TAKE_FD(stage.client), 0, NULL, output);
	guest_take_session(&stage);
	msg_failed_encode(&(struct msg_failed){ MSG_PROCESS_MAIN, 127, "no such program" },
			  &failed);
	guest_send(&stage, 0, MSG_FAILED, failed.text, failed.length);
	text = client_output(client, output);
	assert_string_equal(text, "|-2|127|no such program");
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
	assert_int_equal(exit_code, 127);
	stage_close(&stage);
}

static void test_a_guest_that_breaks_the_protocol_is_ended(void **state)
{
	static const struct {
		uint16_t type;
		const char *payload;
	} lies[] = {
		{ MSG_EXITED, "short" },
		{ 999, "unknown type" },
		{ MSG_STARTED, "" },
		{ MSG_SESSION, "not for a guest to say" },
		{ MSG_STATS_REPLY, "garbage" },
		{ MSG_CLOCK_REPLY, "nobody" }, /* asked */
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		AUTO_FREE char *dir = path_join(*state, "lie%zu", i);
		AUTO_FREE char *output = path_join(*state, "out%zu", i);
		AUTO_FREE char *text = NULL;
		struct stage stage;
		int exit_code = 0;
		pid_t client;

		assert_int_equal(path_make_dirs(dir, 0700, NULL), 0);
		stage_open(&stage, dir, false, CTL_ATTACH_OUTPUT);
		client = start_client(TAKE_FD(stage.client), 0, NULL, output);
		guest_take_session(&stage);
		guest_send(&stage, 0, lies[i].type, lies[i].payload, strlen(lies[i].payload));
		text = client_output(client, output);
		if (!strstr(text, "the guest broke the protocol"))
			fail_msg("lie %zu was told as %s", i, text);
		assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
		stage_close(&stage);
	}
}

static void test_a_lost_machine_is_told(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	stage_open(&stage, *state, false, CTL_ATTACH_OUTPUT);
	client = start_client(TAKE_FD(stage.client), 0, NULL, output);
	guest_take_session(&stage);
	guest_started(&stage, MSG_PROCESS_MAIN);
	wait_until_running(&stage);
	close(TAKE_FD(stage.guest));
	text = client_output(client, output);
	assert_non_null(strstr(text, "the machine ended unexpectedly"));
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
	assert_int_equal(exit_code, 137);
	stage_close(&stage);
}

/* The client that started it goes away at once (run -d). */
static void start_detached(struct stage *stage, const char *dir)
{
	stage_open(stage, dir, false, 0);
	guest_take_session(stage);
	guest_started(stage, MSG_PROCESS_MAIN);
	wait_until_running(stage);
	close(TAKE_FD(stage->client));
}

static void test_exec_and_stop_over_the_control_socket(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	AUTO_SBUF struct sbuf stop = { 0 };
	char *args[] = { "id", NULL };
	struct msg_shutdown shutdown;
	struct msg_process process;
	struct stage stage;
	int exit_code = 0;
	uint32_t id;
	size_t n;
	pid_t client;

	start_detached(&stage, *state);
	msg_process_encode(&(struct msg_process){ .id = 9, .args = args }, &payload);
	client = start_client(client_connect(stage.root, UUID, NULL), CTL_EXEC, &payload, output);
	n = guest_receive(&stage, 0, MSG_EXEC, buffer, sizeof(buffer));
	assert_int_equal(msg_process_decode(buffer, n, &process), 0);
	assert_string_equal(process.args[0], "id");
	id = process.id;
	msg_process_release(&process);
	assert_true(id > MSG_PROCESS_MAIN);
	guest_started(&stage, id);
	guest_output(&stage, id, "uid=0\n");
	guest_exited(&stage, id, 3);
	text = client_output(client, output);
	assert_string_equal(text, "uid=0\n|0|3|");

	client = fork();
	if (client == 0) {
		ctl_numbers_encode(SIGUSR1, 1500, &stop);
		_exit(client_request(client_connect(stage.root, UUID, NULL), CTL_STOP, &stop, NULL,
				     NULL) == 0
			      ? 0
			      : 1);
	}
	n = guest_receive(&stage, 0, MSG_SHUTDOWN, buffer, sizeof(buffer));
	assert_int_equal(msg_shutdown_decode(buffer, n, &shutdown), 0);
	assert_int_equal(shutdown.signal, SIGUSR1);
	assert_int_equal(shutdown.timeout_ms, 1500);
	guest_exited(&stage, MSG_PROCESS_MAIN, 138);
	guest_send(&stage, 0, MSG_SHUTDOWN_DONE, NULL, 0);
	assert_int_equal(proc_wait(client), 0);
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
	assert_int_equal(exit_code, 138);
	stage_close(&stage);
}

/* Gone before the guest has even started the process, or while it runs: its input ends either way.
 */
static void test_input_of_an_exec_ends_with_its_client(void **state)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	char *args[] = { "cat", NULL };
	struct stage stage;

	start_detached(&stage, *state);
	msg_process_encode(
		&(struct msg_process){ .id = 9, .args = args, .flags = MSG_PROCESS_STDIN },
		&payload);
	for (uint32_t id = MSG_PROCESS_MAIN + 1; id < MSG_PROCESS_MAIN + 3; id++) {
		AUTO_CLOSE int client = client_connect(stage.root, UUID, NULL);
		uint8_t raw[FRAME_HEADER_SIZE];
		bool is_early = id == MSG_PROCESS_MAIN + 1;

		frame_encode(&(struct frame_header){ (uint32_t)payload.length, 0, CTL_EXEC }, raw);
		assert_int_equal(fd_write_all(client, raw, sizeof(raw)), 0);
		assert_int_equal(fd_write_all(client, payload.text, payload.length), 0);
		guest_receive(&stage, 0, MSG_EXEC, buffer, sizeof(buffer));
		if (is_early)
			close(TAKE_FD(client));
		guest_started(&stage, id);
		if (!is_early) {
			assert_int_equal(fd_wait(client, POLLIN, 10000), 1);
			close(TAKE_FD(client));
		}
		guest_receive(&stage, MSG_STREAM(id, MSG_STREAM_STDIN), FRAME_EOF, buffer,
			      sizeof(buffer));
	}
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* A terminal hangs up with its client, unless that said that it leaves it. */
static void test_terminal_of_an_exec_hangs_up_with_its_client(void **state)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	char *args[] = { "sh", NULL };
	struct stage stage;

	start_detached(&stage, *state);
	passed_resets = 0;
	msg_process_encode(&(struct msg_process){ .id = 9,
						  .args = args,
						  .flags = MSG_PROCESS_STDIN | MSG_PROCESS_TTY },
			   &payload);
	for (uint32_t id = MSG_PROCESS_MAIN + 1; id < MSG_PROCESS_MAIN + 4; id++) {
		AUTO_CLOSE int client = client_connect(stage.root, UUID, NULL);
		uint8_t raw[FRAME_HEADER_SIZE];
		bool is_kept = id == MSG_PROCESS_MAIN + 1;
		bool is_early = id == MSG_PROCESS_MAIN + 2;

		frame_encode(&(struct frame_header){ (uint32_t)payload.length, 0, CTL_EXEC }, raw);
		assert_int_equal(fd_write_all(client, raw, sizeof(raw)), 0);
		assert_int_equal(fd_write_all(client, payload.text, payload.length), 0);
		guest_receive(&stage, 0, MSG_EXEC, buffer, sizeof(buffer));
		if (is_kept) {
			frame_encode(&(struct frame_header){ 0, 0, CTL_DETACH }, raw);
			assert_int_equal(fd_write_all(client, raw, sizeof(raw)), 0);
		}
		if (is_early || is_kept)
			close(TAKE_FD(client));
		guest_started(&stage, id);
		if (client >= 0)
			assert_int_equal(fd_wait(client, POLLIN, 10000), 1);
		if (client >= 0)
			close(TAKE_FD(client));
		if (!is_kept)
			guest_receive(&stage, MSG_STREAM(id, MSG_STREAM_STDOUT), FRAME_RESET,
				      buffer, sizeof(buffer));
	}
	assert_int_equal(passed_resets, 0);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

static void test_who_asks_a_silent_guest_is_told(void **state)
{
	static const uint16_t requests[] = { CTL_STATS, CTL_TOP };
	struct stage stage;

	paper_answer_ms = 20;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct client_reply reply = { 0 };
		struct err err = { 0 };

		assert_int_equal(client_request(client_connect(stage.root, UUID, NULL), requests[i],
						NULL, &reply, &err),
				 -ETIMEDOUT);
		assert_string_equal(err.message, "the machine of the container does not answer");
	}
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* What the shim adds to the time of a guest that is so many seconds behind. Asked again, it says
 * the same again: the first answer may have come too late. */
static int64_t shift_of_clock(const struct stage *stage, uint64_t behind_s)
{
	for (;;) {
		struct frame_header header = guest_next(stage, buffer);
		struct msg_clock clock = { .wall_clock_ns =
						   clock_wall_ns() - behind_s * 1000000000 };
		AUTO_SBUF struct sbuf out = { 0 };
		struct msg_clock_shift shift;

		if (header.stream)
			continue;
		if (header.type == MSG_CLOCK) {
			msg_clock_encode(&clock, &out);
			guest_send(stage, 0, MSG_CLOCK_REPLY, out.text, out.length);
		} else if (header.type == MSG_CLOCK_SHIFT) {
			assert_int_equal(msg_clock_shift_decode(buffer, header.length, &shift), 0);
			return shift.ns;
		}
	}
}

static void test_the_clock_of_the_guest_follows(void **state)
{
	struct stage stage;
	int64_t shift;

	start_detached(&stage, *state);
	shift = shift_of_clock(&stage, 3600);
	/* The answer counts only if it came within half a second. */
	assert_in_range(shift, INT64_C(3599) * 1000000000, INT64_C(3601) * 1000000000);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

static pid_t start_exec(const struct stage *stage, const char *output, uint32_t *ret_id)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	char *args[] = { "id", NULL };
	struct msg_process process;
	pid_t client;
	size_t n;

	msg_process_encode(&(struct msg_process){ .id = 9, .args = args }, &payload);
	client = start_client(client_connect(stage->root, UUID, NULL), CTL_EXEC, &payload, output);
	n = guest_receive(stage, 0, MSG_EXEC, buffer, sizeof(buffer));
	assert_int_equal(msg_process_decode(buffer, n, &process), 0);
	*ret_id = process.id;
	msg_process_release(&process);
	return client;
}

#define SILENCE_TOLD "|125|the machine of the container does not answer"

/* Its guest did not start it in time, but does so later: it is killed, nobody waits for it. */
static void test_an_exec_that_does_not_start_is_told_and_killed(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	struct msg_signal signal;
	struct stage stage;
	uint32_t id;
	size_t n;

	paper_answer_ms = 20;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	text = client_output(start_exec(&stage, output, &id), output);
	assert_non_null(strstr(text, SILENCE_TOLD));
	/* Told at once, and again if it has started all the same. */
	for (int i = 0; i < 2; i++) {
		n = guest_receive(&stage, 0, MSG_SIGNAL, buffer, sizeof(buffer));
		assert_int_equal(msg_signal_decode(buffer, n, &signal), 0);
		assert_int_equal(signal.process, id);
		assert_int_equal(signal.signal, SIGKILL);
		if (i == 0)
			guest_started(&stage, id);
	}
	guest_exited(&stage, id, 137);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* Once it runs it may take its time. Where this test is slower than the time for a start, it tries
 * again. */
static void test_an_exec_that_has_started_has_no_deadline(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	bool was_late = true;
	struct stage stage;

	paper_answer_ms = 20;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	for (int i = 0; i < 100 && was_late; i++) {
		AUTO_FREE char *text = NULL;
		uint32_t id;
		pid_t client = start_exec(&stage, output, &id);

		guest_started(&stage, id);
		assert_int_equal(poll(NULL, 0, 20 * SHIM_START_ANSWERS * 3), 0);
		guest_exited(&stage, id, 4);
		text = client_output(client, output);
		was_late = strstr(text, SILENCE_TOLD);
		if (!was_late)
			assert_string_equal(text, "|0|4|");
	}
	assert_false(was_late);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

static pid_t start_copy(const struct stage *stage, const char *output, uint32_t *ret_id)
{
	AUTO_SBUF struct sbuf payload = { 0 };
	struct msg_copy copy;
	pid_t client;
	size_t n;

	msg_copy_encode(&(struct msg_copy){ .id = 9, .op = MSG_COPY_READ, .path = "/f" }, &payload);
	client = start_client(client_connect(stage->root, UUID, NULL), CTL_COPY, &payload, output);
	n = guest_receive(stage, 0, MSG_COPY, buffer, sizeof(buffer));
	assert_int_equal(msg_copy_decode(buffer, n, &copy), 0);
	*ret_id = copy.id;
	return client;
}

/* Whether it has begun does not matter: a guest that says nothing, though it is asked to, has given
 * up the copy. It is killed in case it wakes up. */
static void test_a_copy_of_a_silent_guest_ends(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	struct stage stage;

	paper_answer_ms = 20;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	for (int begun = 0; begun < 2; begun++) {
		AUTO_FREE char *text = NULL;
		struct msg_signal signal;
		uint32_t id;
		pid_t client = start_copy(&stage, output, &id);
		size_t n;

		if (begun)
			guest_started(&stage, id);
		guest_receive(&stage, 0, MSG_PING, buffer, sizeof(buffer));
		text = client_output(client, output);
		assert_non_null(strstr(text, SILENCE_TOLD));
		n = guest_receive(&stage, 0, MSG_SIGNAL, buffer, sizeof(buffer));
		assert_int_equal(msg_signal_decode(buffer, n, &signal), 0);
		assert_int_equal(signal.process, id);
		assert_int_equal(signal.signal, SIGKILL);
	}
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* One that says that it is alive may take as long as it likes. Where this test is slower than the
 * time for an answer, it tries again. */
static void test_a_copy_of_a_guest_that_lives_goes_on(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	bool was_late = true;
	struct stage stage;

	paper_answer_ms = 50;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	for (int i = 0; i < 100 && was_late; i++) {
		AUTO_FREE char *text = NULL;
		uint32_t id;
		pid_t client = start_copy(&stage, output, &id);

		guest_started(&stage, id);
		for (int said = 0; said < 10; said++) {
			guest_send(&stage, 0, MSG_PONG, NULL, 0);
			assert_int_equal(poll(NULL, 0, 30), 0);
		}
		guest_exited(&stage, id, 3);
		text = client_output(client, output);
		was_late = strstr(text, SILENCE_TOLD);
		if (!was_late)
			assert_string_equal(text, "|0|3|");
	}
	assert_false(was_late);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* What `network connect` does to the store. */
static void add_to_network(const struct stage *stage, const char *name)
{
	struct network network = { .name = xstrdup(name),
				   .internal = true,
				   .labels = json_object(),
				   .options = json_object() };
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(container_freep) struct container *container = NULL;
	struct lease lease = { 0 };

	assert_int_equal(subnet_parse("10.77.0.0/24", &network.subnet, NULL), 0);
	assert_int_equal(store_open(stage->root, &store, NULL), 0);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	assert_int_equal(
		leases_take(store, &network, UUID, &(struct lease_wish){ 0 }, &lease, NULL), 0);
	assert_int_equal(containers_get_uuid(store, UUID, &container, NULL), 0);
	VEC_PUSH(&container->config.networks,
		 ((struct network_config){ .network = xstrdup(name) }));
	assert_int_equal(containers_update_config(store, container, NULL), 0);
	lease_release(&lease);
	network_release(&network);
}

static int ask_to_connect(const struct stage *stage, const char *network, struct err *err)
{
	AUTO_SBUF struct sbuf payload = { 0 };

	ctl_string_encode(network, &payload);
	return client_request(client_connect(stage->root, UUID, NULL), CTL_CONNECT, &payload, NULL,
			      err);
}

static void guest_changed(const struct stage *stage, uint32_t nic)
{
	AUTO_SBUF struct sbuf out = { 0 };

	msg_interface_done_encode(&(struct msg_interface_done){ nic, "" }, &out);
	guest_send(stage, 0, MSG_INTERFACE_DONE, out.text, out.length);
}

/* A guest that does not say that it has joined a network is not left in it. */
static void test_a_guest_that_does_not_join_leaves_the_network(void **state)
{
	struct msg_interface_change change;
	struct err err = { 0 };
	struct stage stage;
	pid_t client;
	size_t n;

	paper_answer_ms = 20;
	start_detached(&stage, *state);
	paper_answer_ms = SHIM_ANSWER_MS;
	add_to_network(&stage, "back");
	assert_int_equal(ask_to_connect(&stage, "back", &err), -ETIMEDOUT);
	assert_string_equal(err.message, "the machine of the container does not answer");
	for (int i = 0; i < 1000 && net_is_up(stage.root, "back"); i++)
		poll(NULL, 0, 10); /* its only member has left */
	assert_false(net_is_up(stage.root, "back"));
	/* Until the guest has answered it is told nothing else. */
	err = (struct err){ 0 };
	assert_int_equal(ask_to_connect(&stage, "back", &err), -EBUSY);
	n = guest_receive(&stage, 0, MSG_INTERFACE, buffer, sizeof(buffer));
	assert_int_equal(msg_interface_change_decode(buffer, n, &change), 0);
	assert_true(change.up);
	guest_changed(&stage, change.nic);
	client = fork();
	if (client == 0) {
		int r = -EBUSY;

		/* The answer before may still be on its way. */
		for (int i = 0; i < 1000 && r == -EBUSY; i++)
			r = ask_to_connect(&stage, "back", NULL);
		_exit(r == 0 ? 0 : 1);
	}
	n = guest_receive(&stage, 0, MSG_INTERFACE, buffer, sizeof(buffer));
	assert_int_equal(msg_interface_change_decode(buffer, n, &change), 0);
	guest_changed(&stage, change.nic);
	assert_int_equal(proc_wait(client), 0);
	assert_true(net_is_up(stage.root, "back"));
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

static pid_t ask_to_suspend(const struct stage *stage, int expected)
{
	pid_t client = fork();

	if (client == 0)
		_exit(client_request(client_connect(stage->root, UUID, NULL), CTL_SUSPEND, NULL,
				     NULL, NULL) == expected
			      ? 0
			      : 1);
	return client;
}

/* The guest freezes the container: from there on nothing comes down the channel. */
static void guest_freezes(const struct stage *stage)
{
	struct msg_freeze freeze;
	size_t n = guest_receive(stage, 0, MSG_FREEZE, buffer, sizeof(buffer));

	assert_int_equal(msg_freeze_decode(buffer, n, &freeze), 0);
	assert_false(freeze.sync);
	guest_send(stage, 0, MSG_FROZEN, NULL, 0);
}

static void test_suspend(void **state)
{
	AUTO_FREE char *saved = path_join(*state, "root/containers/" UUID "/saved");
	AUTO_FREE char *saving = path_join(*state, "root/containers/" UUID "/saving");
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	start_detached(&stage, *state);
	client = ask_to_suspend(&stage, 0);
	guest_freezes(&stage);
	assert_int_equal(proc_wait(client), 0);
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_SUSPENDED);
	assert_true(saved_exists(saved));
	assert_false(path_exists(saving));
	stage_close(&stage);
}

static void test_a_suspend_that_fails_leaves_it_running(void **state)
{
	AUTO_FREE char *saving = path_join(*state, "root/containers/" UUID "/saving");
	AUTO_FREE char *saved = path_join(*state, "root/containers/" UUID "/saved");
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	paper_full = true;
	start_detached(&stage, *state);
	paper_full = false;
	assert_int_equal(proc_wait(ask_to_suspend(&stage, -ENOSPC)), 0);
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_RUNNING);
	assert_false(path_exists(saving));
	assert_false(saved_exists(saved));
	/* It answers as before. */
	client = fork();
	if (client == 0) {
		AUTO_SBUF struct sbuf stop = { 0 };

		ctl_numbers_encode(SIGTERM, 1000, &stop);
		_exit(client_request(client_connect(stage.root, UUID, NULL), CTL_STOP, &stop, NULL,
				     NULL) == 0
			      ? 0
			      : 1);
	}
	guest_receive(&stage, 0, MSG_SHUTDOWN, buffer, sizeof(buffer));
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_send(&stage, 0, MSG_SHUTDOWN_DONE, NULL, 0);
	assert_int_equal(proc_wait(client), 0);
	stage_close(&stage);
}

/* A client that reads nothing holds back its process by credit, and nobody else. */
static void test_a_slow_client_slows_only_its_process(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	AUTO_FREE char *chunk = calloc(1, FRAME_DATA_MAX);
	char *args[] = { "id", NULL };
	struct stage stage;
	int slow;
	pid_t client;

	start_detached(&stage, *state);
	ctl_numbers_encode(CTL_ATTACH_OUTPUT, 0, &payload);
	slow = client_connect(stage.root, UUID, NULL);
	assert_true(slow >= 0);
	{
		uint8_t header[FRAME_HEADER_SIZE];

		frame_encode(&(struct frame_header){ (uint32_t)payload.length, 0, CTL_ATTACH },
			     header);
		assert_int_equal(fd_write_all(slow, header, sizeof(header)), 0);
		assert_int_equal(fd_write_all(slow, payload.text, payload.length), 0);
	}
	assert_int_equal(fd_wait(slow, POLLIN, 10000), 1); /* it is attached */
	for (size_t n = 0; n < MUX_WINDOW_DEFAULT / FRAME_DATA_MAX; n++)
		guest_send(&stage, MSG_STREAM(MSG_PROCESS_MAIN, MSG_STREAM_STDOUT), FRAME_DATA,
			   chunk, FRAME_DATA_MAX);
	sbuf_release(&payload);
	msg_process_encode(&(struct msg_process){ .id = 9, .args = args }, &payload);
	client = start_client(client_connect(stage.root, UUID, NULL), CTL_EXEC, &payload, output);
	guest_receive(&stage, 0, MSG_EXEC, buffer, sizeof(buffer));
	guest_started(&stage, MSG_PROCESS_MAIN + 1);
	guest_output(&stage, MSG_PROCESS_MAIN + 1, "quick");
	guest_exited(&stage, MSG_PROCESS_MAIN + 1, 0);
	text = client_output(client, output);
	assert_string_equal(text, "quick|0|0|");
	/* Once the slow one is gone, its process gets its credit back. */
	close(slow);
	guest_receive(&stage, MSG_STREAM(MSG_PROCESS_MAIN, MSG_STREAM_STDOUT), FRAME_CREDIT, buffer,
		      sizeof(buffer));
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* The client of `run IMAGE … | less`: it reads on only long after all is over. */
static void test_a_late_reader_gets_all(void **state)
{
	AUTO_FREE char *chunk = calloc(1, FRAME_DATA_MAX);
	size_t wanted = MUX_WINDOW_DEFAULT / FRAME_DATA_MAX * FRAME_DATA_MAX;
	size_t got = 0;
	struct frame_header header = { 0 };
	struct stage stage;
	int exit_code = 0;
	uint8_t credit[4] = { 0, 0, 64, 0 }; /* 4 MiB at once */
	uint8_t raw[FRAME_HEADER_SIZE];

	stage_open(&stage, *state, false, CTL_ATTACH_OUTPUT);
	frame_encode(&(struct frame_header){ sizeof(credit), CTL_STREAM_STDOUT, FRAME_CREDIT },
		     raw);
	assert_int_equal(fd_write_all(stage.client, raw, sizeof(raw)), 0);
	assert_int_equal(fd_write_all(stage.client, credit, sizeof(credit)), 0);
	guest_take_session(&stage);
	guest_started(&stage, MSG_PROCESS_MAIN);
	for (size_t n = 0; n < wanted; n += FRAME_DATA_MAX)
		guest_send(&stage, MSG_STREAM(MSG_PROCESS_MAIN, MSG_STREAM_STDOUT), FRAME_DATA,
			   chunk, FRAME_DATA_MAX);
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	/* A shim that gives up does so after a while; one that does not has nothing to wait for. */
	for (int i = 0; i < 1000 && state_in_row(&stage, &exit_code) != CONTAINER_STOPPED; i++)
		poll(NULL, 0, 10);
	while (header.stream || header.type != CTL_EXITED) {
		assert_int_equal(fd_wait(stage.client, POLLIN, 10000), 1);
		assert_int_equal(fd_read_exact(stage.client, raw, sizeof(raw)), 0);
		assert_int_equal(frame_decode(raw, &header), 0);
		assert_int_equal(fd_read_exact(stage.client, buffer, header.length), 0);
		if (header.stream == CTL_STREAM_STDOUT && header.type == FRAME_DATA)
			got += header.length;
	}
	assert_int_equal(got, wanted);
	stage_close(&stage);
}

static void test_a_first_start_that_fails_is_not_tried_again(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	struct stage stage;
	int exit_code = 0;
	pid_t client;

	paper_broken = true; /* and the restart policy is "always" */
	stage_open(&stage, *state, false, CTL_ATTACH_OUTPUT);
	paper_broken = false;
	client = start_client(TAKE_FD(stage.client), 0, NULL, output);
	text = client_output(client, output);
	assert_string_equal(text, "|-5|125|it burnt");
	assert_int_equal(state_in_row(&stage, &exit_code), CONTAINER_STOPPED);
	assert_int_equal(exit_code, 125);
	stage_close(&stage);
}

static void test_commands_at_once_are_limited(void **state)
{
	AUTO_FREE char *output = path_join(*state, "out");
	AUTO_FREE char *text = NULL;
	AUTO_SBUF struct sbuf payload = { 0 };
	char *args[] = { "id", NULL };
	struct stage stage;
	uint8_t raw[FRAME_HEADER_SIZE];
	pid_t client;

	start_detached(&stage, *state);
	msg_process_encode(&(struct msg_process){ .id = 9, .args = args }, &payload);
	frame_encode(&(struct frame_header){ (uint32_t)payload.length, 0, CTL_EXEC }, raw);
	/* Clients that go leave their processes running. */
	for (int i = 1; i < SHIM_PROCESSES_MAX; i++) {
		AUTO_CLOSE int fd = client_connect(stage.root, UUID, NULL);

		assert_int_equal(fd_write_all(fd, raw, sizeof(raw)), 0);
		assert_int_equal(fd_write_all(fd, payload.text, payload.length), 0);
		guest_receive(&stage, 0, MSG_EXEC, buffer, sizeof(buffer));
	}
	client = start_client(client_connect(stage.root, UUID, NULL), CTL_EXEC, &payload, output);
	text = client_output(client, output);
	assert_string_equal(text, "|-11|125|too many commands run in the container at once");
	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

/* --- the parts --- */

/* Plays the guest for the check that comes next. */
static void play_check(const struct stage *stage, const char *output, uint32_t status)
{
	struct msg_process process;
	size_t n = guest_receive(stage, 0, MSG_EXEC, buffer, sizeof(buffer));

	assert_int_equal(msg_process_decode(buffer, n, &process), 0);
	assert_string_equal(process.args[2], "is it well");
	assert_int_equal(process.flags & (MSG_PROCESS_TTY | MSG_PROCESS_STDIN), 0);
	guest_started(stage, process.id);
	guest_output(stage, process.id, output);
	guest_exited(stage, process.id, status);
	msg_process_release(&process);
}

static enum container_health health_in_row(const struct stage *stage)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(container_freep) struct container *container = NULL;

	assert_int_equal(store_open(stage->root, &store, NULL), 0);
	assert_int_equal(containers_get_uuid(store, UUID, &container, NULL), 0);
	return container->health;
}

static void wait_for_health(const struct stage *stage, enum container_health wanted)
{
	for (int i = 0; i < 1000 && health_in_row(stage) != wanted; i++)
		poll(NULL, 0, 10);
	assert_int_equal(health_in_row(stage), wanted);
}

static void set_pause(const struct stage *stage, uint32_t pause)
{
	AUTO_SBUF struct sbuf request = { 0 };

	ctl_numbers_encode(pause, 0, &request);
	assert_int_equal(client_request(client_connect(stage->root, UUID, NULL), CTL_PAUSE,
					&request, NULL, NULL),
			 0);
}

static void test_health_is_checked_while_it_runs(void **state)
{
	AUTO_FREE char *file = path_join(*state, "root/containers/" UUID "/health.json");
	AUTO_FREE char *text = NULL;
	struct stage stage;

	paper_checked = true;
	stage_open(&stage, *state, false, 0);
	paper_checked = false;
	guest_take_session(&stage);
	guest_started(&stage, MSG_PROCESS_MAIN);
	wait_for_health(&stage, HEALTH_STARTING);
	play_check(&stage, "not yet\n", 1);
	play_check(&stage, "not\x1b[2Jat all", 1);
	wait_for_health(&stage, HEALTH_UNHEALTHY);
	assert_int_equal(file_read(file, 10000, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "\"failingStreak\":2"));
	assert_non_null(strstr(text, "\"output\":\"not?[2Jat all\""));
	play_check(&stage, "", 0);
	wait_for_health(&stage, HEALTH_HEALTHY);

	/* Goes on where it was on hold. */
	set_pause(&stage, 1);
	set_pause(&stage, 0);
	play_check(&stage, "", 0);
	assert_int_equal(health_in_row(&stage), HEALTH_HEALTHY);

	guest_exited(&stage, MSG_PROCESS_MAIN, 0);
	guest_clean(&stage);
	stage_close(&stage);
}

static void test_log_records_round_trip(void **state)
{
	AUTO_FREE char *path = path_join(*state, "log");
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *big = malloc(LOGS_LINE_MAX + 100);
	struct log_writer *writer = NULL;
	struct log_line line;
	size_t size = 0;
	const char *second;

	memset(big, 'x', LOGS_LINE_MAX + 100);
	assert_int_equal(log_writer_open(path, &writer, NULL), 0);
	log_writer_add(writer, 1, "one ", 4);
	log_writer_add(writer, 2, "error\n", 6);
	log_writer_add(writer, 1, "line\n", 5);
	log_writer_add(writer, 1, big, LOGS_LINE_MAX + 100);
	log_writer_close(writer);
	assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), 0);
	second = strchr(text, '\n') + 1;
	assert_int_equal(log_line_parse(text, (size_t)(second - text) - 1, &line), 0);
	assert_int_equal(line.stream, 2);
	assert_true(line.whole);
	assert_memory_equal(line.data, "error", 5);
	assert_non_null(strstr(second, " stdout F one line\n"));
	assert_non_null(strstr(second, " stdout P xxx"));
	assert_true(line.time_ns > 1700000000000000000);
	assert_int_equal(log_line_parse("garbage", 7, &line), -EBADMSG);
}

static void test_logs_are_rotated(void **state)
{
	AUTO_FREE char *path = path_join(*state, "log");
	AUTO_FREE char *old = path_join(*state, "log.1");
	AUTO_FREE char *big = malloc(LOGS_LINE_MAX);
	struct log_writer *writer = NULL;
	struct stat st;

	memset(big, 'x', LOGS_LINE_MAX);
	assert_int_equal(log_writer_open(path, &writer, NULL), 0);
	for (size_t i = 0; i < 2 * LOGS_ROTATE_BYTES / LOGS_LINE_MAX; i++)
		log_writer_add(writer, 1, big, LOGS_LINE_MAX);
	log_writer_close(writer);
	assert_int_equal(stat(old, &st), 0);
	assert_true(st.st_size <= LOGS_ROTATE_BYTES);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= LOGS_ROTATE_BYTES);
}

static void test_capabilities(void **state)
{
	char *all[] = { "ALL", NULL };
	char *admin[] = { "cap_sys_admin", NULL };
	char *bad[] = { "CAP_FLY", NULL };
	char *chown_only[] = { "CHOWN", NULL };
	uint64_t mask = 0;
	uint64_t defaults = 0;
	struct err err = { 0 };

	assert_int_equal(session_capabilities(false, NULL, NULL, &defaults, &err), 0);
	assert_int_equal(__builtin_popcountll(defaults), 14);
	assert_int_equal(session_capabilities(false, admin, NULL, &mask, &err), 0);
	assert_true(mask == (defaults | 1ull << CAP_SYS_ADMIN));
	assert_int_equal(session_capabilities(false, chown_only, all, &mask, &err), 0);
	assert_true(mask == 1ull << CAP_CHOWN);
	assert_int_equal(session_capabilities(true, NULL, chown_only, &mask, &err), 0);
	assert_true(!(mask & 1) && mask & 1ull << CAP_BPF);
	assert_int_equal(session_capabilities(false, bad, NULL, &mask, &err), -EINVAL);
	assert_string_equal(err.message, "unknown capability 'CAP_FLY'");
}

static void test_detach_keys(void **state)
{
	struct detach_keys keys;
	char out[64];
	size_t n = 0;

	assert_int_equal(detach_keys_parse(NULL, &keys, NULL), 0);
	assert_false(detach_keys_feed(&keys, "a\x10z", 3, out, &n));
	assert_int_equal(n, 3);
	assert_memory_equal(out, "a\x10z", 3);
	assert_false(detach_keys_feed(&keys, "b\x10", 2, out, &n));
	assert_int_equal(n, 1);
	assert_true(detach_keys_feed(&keys, "\x11", 1, out, &n));
	assert_int_equal(detach_keys_parse("", &keys, NULL), 0);
	assert_false(detach_keys_feed(&keys, "\x10\x11", 2, out, &n));
	assert_int_equal(n, 2);
	assert_int_equal(detach_keys_parse("ctrl-1", &keys, NULL), -EINVAL);
}

/* --- the files of volumes --- */

static void add_volume(struct store *store, const char *root, const char *name, bool anonymous)
{
	const struct volume volume = { .name = (char *)name, .anonymous = anonymous };
	AUTO_FREE char *dir = volume_dir(root, name);
	AUTO_FREE char *disk = volume_disk_path(root, name);
	char super[2048] = { 0 };

	assert_int_equal(path_make_dirs(dir, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(disk, super, sizeof(super), 0600, false, NULL), 0);
	assert_int_equal(volumes_insert(store, &volume, NULL), 0);
}

static void test_locks_of_volumes(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_FREE char *dir = volume_dir(*state, "v");
	struct err err = { 0 };

	assert_int_equal(store_open(*state, &store, &err), 0);
	add_volume(store, *state, "v", false);
	int writer = volume_lock(*state, "v", true, &err);
	assert_true(writer >= 0);
	assert_int_equal(volume_lock(*state, "v", true, NULL), -EAGAIN);
	assert_int_equal(volume_lock(*state, "v", false, NULL), -EAGAIN);
	assert_int_equal(volume_remove(store, *state, "v", &err), -EBUSY);
	assert_string_equal(err.message, "volume 'v' is in use");
	/* It lives as long as anybody has the descriptor, and no longer. */
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	close(writer);
	assert_int_equal(volume_lock(*state, "v", false, NULL), -EAGAIN);
	kill(child, SIGKILL);
	assert_int_equal(proc_wait(child), 128 + SIGKILL);
	AUTO_CLOSE int reader = volume_lock(*state, "v", false, &err);
	AUTO_CLOSE int another = volume_lock(*state, "v", false, &err);
	assert_true(reader >= 0 && another >= 0);
	assert_int_equal(volume_lock(*state, "v", true, NULL), -EAGAIN);
	close(TAKE_FD(reader));
	close(TAKE_FD(another));
	assert_int_equal(volume_remove(store, *state, "v", &err), 0);
	assert_false(path_exists(dir));
	assert_int_equal(volume_remove(store, *state, "v", &err), -ENOENT);
}

static void test_a_volume_that_was_left_mounted_is_told(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_FREE char *disk = volume_disk_path(*state, "v");
	char recover = 4;

	assert_int_equal(store_open(*state, &store, NULL), 0);
	add_volume(store, *state, "v", false);
	assert_false(volume_needs_recovery(*state, "v"));
	AUTO_CLOSE int fd = open(disk, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &recover, 1, 1024 + 0x60), 1);
	assert_true(volume_needs_recovery(*state, "v"));
	assert_int_equal(ftruncate(fd, 1100), 0);
	assert_false(volume_needs_recovery(*state, "v"));
	assert_false(volume_needs_recovery(*state, "nosuch"));
}

static void test_anonymous_volumes_go_with_their_container(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(container_config_release) struct container_config config;
	struct container other = { .uuid = UUID };
	static const char *const names[] = { "anon-1", "anon-2", "named" };
	CLEANUP(volume_list_release) struct volume_list list = { 0 };

	assert_int_equal(store_open(*state, &store, NULL), 0);
	container_config_init(&config);
	container_config_init(&other.config);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		add_volume(store, *state, names[i], i < 2);
		VEC_PUSH(&config.mounts,
			 ((struct mount_config){ .type = xstrdup("volume"),
						 .source = xstrdup(names[i]),
						 .destination = xasprintf("/%zu", i) }));
	}
	/* One of them has another user by now. */
	other.config.id = xstrdup("other");
	VEC_PUSH(&other.config.mounts, ((struct mount_config){ .type = xstrdup("volume"),
							       .source = xstrdup("anon-2"),
							       .destination = xstrdup("/x") }));
	assert_int_equal(containers_insert(store, &other, NULL), 0);
	volumes_remove_anonymous(store, *state, &config);
	assert_int_equal(volumes_list(store, &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].name, "anon-2");
	assert_string_equal(list.items[1].name, "named");
	container_config_release(&other.config);
}

static void test_names_of_volumes(void **state)
{
	char longest[VOLUME_NAME_MAX + 2];

	memset(longest, 'a', sizeof(longest));
	longest[VOLUME_NAME_MAX + 1] = '\0';
	assert_int_equal(volume_check_name(longest, NULL), -EINVAL);
	longest[VOLUME_NAME_MAX] = '\0';
	assert_int_equal(volume_check_name(longest, NULL), 0);
	assert_int_equal(volume_check_name("a", NULL), 0);
	assert_int_equal(volume_check_name("0.A_b-c", NULL), 0);
	assert_int_equal(volume_check_name("", NULL), -EINVAL);
	assert_int_equal(volume_check_name(".a", NULL), -EINVAL);
	assert_int_equal(volume_check_name("..", NULL), -EINVAL);
	assert_int_equal(volume_check_name("a/b", NULL), -EINVAL);
	assert_int_equal(volume_check_name("a b", NULL), -EINVAL);
}

static void test_launch_round_trip(void **state)
{
	char uuid[] = "u";
	char path[] = "/p";
	struct launch launch = { .uuid = uuid,
				 .root = path,
				 .run = path,
				 .accel = uuid,
				 .vcpus = 3,
				 .qemu = path,
				 .kernel = path,
				 .init = path,
				 .root_disk = path,
				 .netd = path,
				 .host_ports = uuid,
				 .tap = true,
				 .scratch_slot = LAUNCH_SCRATCH_USED,
				 .attach = 3,
				 .devices = { .disks = 8, .read_only_disks = 2, .nics = 4 },
				 .memory_bytes = 5ull << 30 };
	struct launch_volume volumes[] = {
		{ .mount = 1, .slot = 3, .path = path, .journal = uuid, .lock_fd = 99 },
		{ .mount = 4, .slot = 6, .path = path, .read_only = true, .lock_fd = -1 },
	};
	CLEANUP(launch_release) struct launch read_back = { 0 };
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int empty = open("/dev/null", O_RDONLY | O_CLOEXEC);

	launch.volumes.items = volumes;
	launch.volumes.count = ARRAY_SIZE(volumes);
	assert_int_equal(launch_write(&launch, &fd, NULL), 0);
	assert_int_equal(launch_read(fd, &read_back, NULL), 0);
	assert_int_equal(read_back.volumes.count, 2);
	assert_int_equal(launch_volume_of(&read_back, 1)->lock_fd, LAUNCH_FD_VOLUMES);
	assert_string_equal(launch_volume_of(&read_back, 1)->journal, "u");
	assert_int_equal(launch_volume_of(&read_back, 4)->slot, 6);
	assert_int_equal(launch_volume_of(&read_back, 4)->lock_fd, -1);
	assert_true(launch_volume_of(&read_back, 4)->read_only);
	assert_null(launch_volume_of(&read_back, 0));
	VEC_EACH (&read_back.volumes, it)
		it->lock_fd = -1; /* there is none here */
	assert_string_equal(read_back.kernel, "/p");
	assert_null(read_back.modules);
	assert_true(read_back.memory_bytes == 5ull << 30);
	assert_int_equal(read_back.attach, 3);
	assert_string_equal(read_back.host_ports, "u");
	assert_null(read_back.domain);
	assert_true(read_back.tap);
	assert_memory_equal(&read_back.devices, &launch.devices, sizeof(launch.devices));
	assert_int_equal(launch_read(empty, &read_back, NULL), -EBADMSG);
}

static void test_files_of_names(void **state)
{
	static char *hosts[] = { "db:10.0.0.7", "me:host-gateway", NULL };
	static char *search[] = { "a.example", "b.example", NULL };
	static char *options[] = { "ndots:2", NULL };
	struct container_config config = {
		.add_hosts = hosts,
		.dns = { .search_domains = search, .options = options, .domain = "own" }
	};
	struct session_network network = { .count = 1,
					   .names = { "10.1.2.3" },
					   .gateway = "10.1.2.1",
					   .address = "10.1.2.4",
					   .address6 = "fd12::4" };
	const struct session_network none = { 0 };
	AUTO_FREE char *text = session_hosts(&config, "web", &network);

	assert_string_equal(text, "127.0.0.1\tlocalhost\n"
				  "::1\tlocalhost ip6-localhost ip6-loopback\n"
				  "10.1.2.4\tweb\n"
				  "fd12::4\tweb\n"
				  "10.0.0.7\tdb\n"
				  "10.1.2.1\tme\n");
	free(text);
	text = session_hosts(&config, "web", &none);
	assert_string_equal(text, "127.0.0.1\tlocalhost\n"
				  "::1\tlocalhost ip6-localhost ip6-loopback\n"
				  "127.0.1.1\tweb\n"
				  "10.0.0.7\tdb\n");
	free(text);
	text = session_resolv_conf(&config, &network);
	assert_string_equal(text, "nameserver 10.1.2.3\n"
				  "search own a.example b.example\n"
				  "options ndots:2\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_of_names),
		TEST_IN_DIR(test_run_to_the_end),
		TEST_IN_DIR(test_auto_remove_leaves_nothing),
		TEST_IN_DIR(test_a_missing_program_is_told),
		TEST_IN_DIR(test_a_guest_that_breaks_the_protocol_is_ended),
		TEST_IN_DIR(test_a_lost_machine_is_told),
		TEST_IN_DIR(test_exec_and_stop_over_the_control_socket),
		TEST_IN_DIR(test_input_of_an_exec_ends_with_its_client),
		TEST_IN_DIR(test_terminal_of_an_exec_hangs_up_with_its_client),
		TEST_IN_DIR(test_who_asks_a_silent_guest_is_told),
		TEST_IN_DIR(test_the_clock_of_the_guest_follows),
		TEST_IN_DIR(test_an_exec_that_does_not_start_is_told_and_killed),
		TEST_IN_DIR(test_an_exec_that_has_started_has_no_deadline),
		TEST_IN_DIR(test_a_copy_of_a_silent_guest_ends),
		TEST_IN_DIR(test_a_copy_of_a_guest_that_lives_goes_on),
		TEST_IN_DIR(test_a_guest_that_does_not_join_leaves_the_network),
		TEST_IN_DIR(test_suspend),
		TEST_IN_DIR(test_a_suspend_that_fails_leaves_it_running),
		TEST_IN_DIR(test_a_slow_client_slows_only_its_process),
		TEST_IN_DIR(test_a_late_reader_gets_all),
		TEST_IN_DIR(test_a_first_start_that_fails_is_not_tried_again),
		TEST_IN_DIR(test_commands_at_once_are_limited),
		TEST_IN_DIR(test_health_is_checked_while_it_runs),
		TEST_IN_DIR(test_log_records_round_trip),
		TEST_IN_DIR(test_logs_are_rotated),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_detach_keys),
		TEST_IN_DIR(test_locks_of_volumes),
		TEST_IN_DIR(test_a_volume_that_was_left_mounted_is_told),
		TEST_IN_DIR(test_anonymous_volumes_go_with_their_container),
		cmocka_unit_test(test_names_of_volumes),
		cmocka_unit_test(test_launch_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
