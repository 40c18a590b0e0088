/* SPDX-License-Identifier: Apache-2.0 */
/* hull-init in a real guest. A boot costs seconds under emulation: each test function is one guest.
 */
#include "../unit/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "guest.h"

static const char *kernel; /* its folder */
static const char *files;  /* made by make-disks */

static void assert_contains(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("no '%s' in '%s'", part, text ? text : "nothing");
}

static void start(struct guest *guest, const char *image, struct msg_session *session,
		  struct msg_process *process)
{
	guest_boot(guest, kernel, files, image);
	session->has_process = process != NULL;
	if (process)
		session->process = *process;
	guest_send_session(guest, session);
}

static void run(struct guest *guest, uint32_t id, char **args)
{
	struct msg_process process = guest_command(id, args);

	guest_exec(guest, &process);
	guest_wait(guest, &guest->processes[id].exited, 30000);
}

static void check_statuses(struct guest *guest)
{
	static const struct {
		char *name;
		uint32_t status;
		const char *message;
	} cases[] = {
		{ "true", 0, NULL },
		{ "false", 1, NULL },
		{ "nosuch", 127, "executable 'nosuch' not found in PATH" },
		{ "/no/such", 127, "exec '/no/such': No such file or directory" },
		{ "/bin/garbage", 126, "exec '/bin/garbage': Exec format error" },
		{ "/bin/notexec", 126, "exec '/bin/notexec': Permission denied" },
		{ "notexec", 126, "exec 'notexec': Permission denied" },
		{ "/bin/folder", 126, "exec '/bin/folder': Is a directory" },
		{ "folder", 127, "executable 'folder' not found in PATH" },
		{ "orphan", 127, "No such file or directory" },
		{ "", 127, "executable '' not found in PATH" },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t id = 10 + i;

		run(guest, id, (char *[]){ cases[i].name, NULL });
		assert_int_equal(guest->processes[id].status, cases[i].status);
		assert_int_equal(guest->processes[id].failed, cases[i].message != NULL);
		if (cases[i].message)
			assert_contains(guest->processes[id].message, cases[i].message);
	}
}

static void check_streams(struct guest *guest)
{
	static char data[10 << 20];
	static char *cat[] = { "cat", NULL };
	struct msg_process process = guest_command(32, cat);

	guest_sh(guest, 30, "echo out; echo err >&2; exit 3");
	assert_string_equal(guest->processes[30].out.text, "out\n");
	assert_string_equal(guest->processes[30].err.text, "err\n");
	assert_int_equal(guest->processes[30].status, 3);
	assert_true(guest->processes[30].out_eof && guest->processes[30].err_eof);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 2654435761u >> 13);
	process.flags = MSG_PROCESS_STDIN;
	guest_exec(guest, &process);
	guest_input(guest, 32, data, sizeof(data), true);
	guest_wait(guest, &guest->processes[32].exited, 60000);
	assert_int_equal(guest->processes[32].out.length, sizeof(data));
	assert_memory_equal(guest->processes[32].out.text, data, sizeof(data));

	/* A reader that does not read stops its writer, nobody else. */
	guest->processes[33].hold = true;
	process = guest_command(33, (char *[]){ "seq", "100000", NULL });
	guest_exec(guest, &process);
	while (guest->processes[33].out.length < 4096)
		assert_true(loop_run_once(guest->loop, 10000) >= 0);
	assert_string_equal(guest_sh(guest, 34, "echo alive"), "alive\n");
	assert_int_equal(guest->processes[33].out.length, 4096);
	assert_false(guest->processes[33].exited);
	guest->processes[33].hold = false;
	mux_consumed(guest->mux, MSG_STREAM(33, MSG_STREAM_STDOUT), 4096);
	guest_wait(guest, &guest->processes[33].exited, 30000);
	assert_int_equal(guest->processes[33].out.length, 588895);

	/* A child that keeps the pipe does not keep its parent's end from being told. */
	guest_sh(guest, 35, "sleep 1000 & echo gone");
	assert_string_equal(guest->processes[35].out.text, "gone\n");
}

static void check_terminal(struct guest *guest)
{
	static char *args[] = { "sh", "-c",
				"trap 'echo caught' INT; tty; stty size; read x; echo got $x; "
				"stty size; read y; exit 5",
				NULL };
	struct msg_process process = guest_command(40, args);

	process.flags = MSG_PROCESS_TTY | MSG_PROCESS_STDIN;
	process.rows = 33;
	process.columns = 77;
	guest_exec(guest, &process);
	guest_wait_output(guest, 40, "33 77");
	guest_resize(guest, 40, 44, 99);
	guest_input(guest, 40, "word\n", 5, false);
	guest_wait_output(guest, 40, "44 99");
	guest_input(guest, 40, "\003", 1, false);
	guest_wait_output(guest, 40, "caught");
	guest_input(guest, 40, "\n", 1, false);
	guest_wait(guest, &guest->processes[40].exited, 10000);
	assert_int_equal(guest->processes[40].status, 5);
	assert_contains(guest->processes[40].out.text, "/dev/pts/");
}

static void check_identity(struct guest *guest)
{
	static char *args[] = { "sh", "-c",
				"id; echo $HOME; pwd; ulimit -n; grep Cap /proc/self/status; "
				"grep NoNew /proc/self/status",
				NULL };
	static char *groups[] = { "extra", "4242", NULL };
	struct msg_process process = guest_command(50, args);
	const char *out;

	out = guest_sh(guest, 51, "id -u; hostname; echo $HOSTNAME; grep Cap /proc/self/status");
	assert_contains(out, "0\ntestbox\ntestbox\n");
	assert_contains(out, "CapInh:\t0000000000000000");
	assert_contains(out, "CapPrm:\t00000000a80425fb");
	assert_contains(out, "CapEff:\t00000000a80425fb");
	assert_contains(out, "CapBnd:\t00000000a80425fb");

	process.user = "web";
	process.groups = groups;
	process.cwd = "/made/here";
	process.flags = MSG_PROCESS_NO_NEW_PRIVILEGES;
	process.rlimit_count = 1;
	process.rlimits[0] = (struct msg_rlimit){ 7, 100, 200 };
	guest_exec(guest, &process);
	guest_wait(guest, &guest->processes[50].exited, 10000);
	out = str_or(guest->processes[50].out.text, "");
	assert_contains(out, "uid=1000(web) gid=100(users) groups=10(wheel),77(extra),4242");
	assert_contains(out, "/home/web\n/made/here\n100\n");
	assert_contains(out, "CapEff:\t0000000000000000");
	assert_contains(out, "CapBnd:\t00000000a80425fb");
	assert_contains(out, "NoNewPrivs:\t1");

	process = guest_command(52, args);
	process.user = "bob";
	guest_exec(guest, &process);
	guest_wait(guest, &guest->processes[52].exited, 10000);
	assert_int_equal(guest->processes[52].status, 125);
	assert_string_equal(guest->processes[52].message,
			    "user 'bob' not found: no such entry in /etc/passwd");
}

static void check_isolation(struct guest *guest)
{
	const char *out = guest_sh(guest, 45,
				   "cat /proc/kcore | wc -c; ls /sys/firmware | wc -l;"
				   "echo 1 >/proc/sys/kernel/panic || echo kept;"
				   "echo b >/proc/sysrq-trigger || echo kept2;"
				   "touch /sys/x || echo kept3; ls /; cat /etc/hosts;"
				   "cat /dev/shm/x; dd if=/dev/zero of=/dev/shm/x bs=1M count=2;"
				   "wc -c </dev/shm/x; ls /sys/fs/cgroup/cgroup.procs");

	assert_contains(out, "0\n0\nkept\nkept2\nkept3\n");
	assert_contains(out, "127.0.0.1 localhost");
	assert_contains(out, "1048576\n/sys/fs/cgroup/cgroup.procs");
	assert_null(strstr(out, "stage"));
	/* hull-init and its mounts cannot be seen. */
	out = guest_sh(guest, 46, "ps; cat /proc/mounts; ls /proc/1/root/");
	assert_null(strstr(out, "init"));
	assert_null(strstr(out, " /run"));
	assert_null(strstr(out, "/stage"));
	assert_contains(out, "overlay / overlay");
	assert_contains(guest_sh(guest, 47, "umount /proc || echo denied"), "denied");
}

static uint64_t clock_of(struct guest *guest)
{
	guest->clock_received = false;
	mux_send_control(guest->mux, MSG_CLOCK, "", 0);
	guest_wait(guest, &guest->clock_received, 10000);
	return guest->clock.wall_clock_ns;
}

/* Its clock goes forward by what it is told, at once, and back by little only slowly. */
static void check_clock(struct guest *guest)
{
	static const int64_t shifts[] = { INT64_C(3600500000000), INT64_C(-1800250000000) };
	uint64_t before = clock_of(guest);
	int64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		AUTO_SBUF struct sbuf out = { 0 };

		sum += shifts[i];
		msg_clock_shift_encode(&(struct msg_clock_shift){ shifts[i] }, &out);
		mux_send_control(guest->mux, MSG_CLOCK_SHIFT, out.text, out.length);
		assert_in_range(clock_of(guest) - before, sum, sum + INT64_C(60000000000));
	}
	for (int i = 0; i < 5; i++) {
		AUTO_SBUF struct sbuf out = { 0 };
		uint64_t last = clock_of(guest);

		msg_clock_shift_encode(&(struct msg_clock_shift){ INT64_C(-900000000) }, &out);
		mux_send_control(guest->mux, MSG_CLOCK_SHIFT, out.text, out.length);
		assert_true(clock_of(guest) > last);
	}
}

static void check_control(struct guest *guest)
{
	static char *sleeper[] = { "sleep", "1000", NULL };
	struct msg_process process = guest_command(55, sleeper);

	guest_exec(guest, &process);
	guest_wait(guest, &guest->processes[55].started, 10000);
	guest_signal(guest, 55, 15, true);
	guest_wait(guest, &guest->processes[55].exited, 10000);
	assert_int_equal(guest->processes[55].status, 128 + 15);
	mux_send_control(guest->mux, MSG_PING, "", 0);
	guest_wait(guest, &guest->pong, 10000);
	mux_send_control(guest->mux, MSG_STATS, "", 0);
	guest_wait(guest, &guest->stats_received, 10000);
	assert_true(guest->stats.memory_usage_bytes > 0);
	assert_int_equal(guest->stats.memory_limit_bytes, 100 << 20);
	assert_true(guest->stats.cpu_usage_usec > 0);
	assert_true(guest->stats.processes >= 1);
	/* The memory limit. */
	guest_sh(guest, 56, "dd if=/dev/zero of=/dev/null bs=150M count=1");
	guest_wait(guest, &guest->oom, 10000);
	assert_string_equal(guest_sh(guest, 57, "echo still here"), "still here\n");
}

/* Everything of one container, in one guest. */
static void test_container(void **state)
{
	static char *args[] = { "sh", "-c",
				"trap 'echo bye; exit 7' TERM; echo $$; while :; do sleep "
				"1000 & wait $!; done",
				NULL };
	static char *sysctls[] = { "kernel.msgmax=4096", NULL };
	struct msg_file file = { "/etc/hosts", "127.0.0.1 localhost\n", 0644 };
	struct msg_mount mounts[] = { { MSG_MOUNT_TMPFS, false, "", "/scratch/deep", "size=1m" },
				      { MSG_MOUNT_BIND, true, "/srv", "/srv2", "" } };
	struct msg_session session = guest_session();
	struct msg_process process = guest_command(MSG_PROCESS_MAIN, args);
	struct guest guest;
	uint64_t before;

	session.limits.memory_bytes = 100 << 20;
	session.files = &file;
	session.file_count = 1;
	session.mounts = mounts;
	session.mount_count = 2;
	session.sysctls = sysctls;
	start(&guest, "root.erofs", &session, &process);
	guest_wait_output(&guest, 1, "1\n"); /* it is process 1 */
	check_statuses(&guest);
	check_streams(&guest);
	check_terminal(&guest);
	check_identity(&guest);
	check_isolation(&guest);
	check_control(&guest);
	check_clock(&guest);
	before = clock_monotonic_ms();
	guest_sh(&guest, 60, "true");
	print_message("exec: %d ms\n", (int)(clock_monotonic_ms() - before));
	assert_string_equal(guest_sh(&guest, 61,
				     "cat /proc/sys/kernel/msgmax; touch /srv2/x || "
				     "echo ro; touch /scratch/deep/x && echo rw"),
			    "4096\nro\nrw\n");
	guest_sh(&guest, 62, "echo kept >/kept");
	guest_shutdown(&guest, 15, 5000);
	assert_int_equal(guest.processes[1].status, 7);
	assert_contains(guest.processes[1].out.text, "bye");
	guest_release(&guest);
}

static void assert_scratch_clean(void)
{
	AUTO_FREE char *scratch = xasprintf("%s/scratch.ext4", files);
	char *argv[] = { "e2fsck", "-fn", scratch, NULL };
	AUTO_FREE char *text = NULL;
	int status = proc_output(argv, true, 65536, &text, NULL);

	if (status != 0 || strstr(text, "recover"))
		fail_msg("e2fsck: %d %s", status, text);
}

/* The next start finds what the last one wrote; a read-only root; the end of the main process. */
static void test_second_start(void **state)
{
	static char *args[] = { "sh", "-c",
				"cat /kept; touch /x || echo read-only; sleep 1 & exit 4", NULL };
	struct msg_session session = guest_session();
	struct msg_process process = guest_command(MSG_PROCESS_MAIN, args);
	struct guest guest;

	assert_scratch_clean();
	session.root_read_only = true;
	process.flags = MSG_PROCESS_INIT;
	start(&guest, "root.erofs", &session, &process);
	guest_wait(&guest, &guest.processes[1].exited, 10000);
	assert_string_equal(guest.processes[1].out.text, "kept\nread-only\n");
	assert_int_equal(guest.processes[1].status, 4);
	run(&guest, 2, (char *[]){ "true", NULL });
	assert_int_equal(guest.processes[2].status, 125);
	assert_string_equal(guest.processes[2].message, "the container does not run");
	guest_shutdown(&guest, 15, 1000);
	guest_release(&guest);
	assert_scratch_clean();
}

static void test_killed(void **state)
{
	static char *args[] = { "sleep", "1000", NULL };
	struct msg_session session = guest_session();
	struct msg_process process = guest_command(MSG_PROCESS_MAIN, args);
	struct guest guest;
	uint64_t before;

	session.scratch_serial = "";
	guest_boot(&guest, kernel, files, "root.erofs");
	session.has_process = true;
	session.process = process;
	before = clock_monotonic_ms();
	guest_send_session(&guest, &session);
	guest_wait(&guest, &guest.processes[1].started, 10000);
	print_message("session to started: %d ms\n", (int)(clock_monotonic_ms() - before));
	guest_sh(&guest, 2, "true");
	guest_signal(&guest, 1, 9, false);
	guest_wait(&guest, &guest.processes[1].exited, 10000);
	assert_int_equal(guest.processes[1].status, 137);
	assert_false(guest.processes[1].oom_killed);
	guest_shutdown(&guest, 15, 1000);
	guest_release(&guest);
}

/* An image whose links point out of it, and whose account files are traps. */
static void test_hostile_root(void **state)
{
	static char *args[] = { "sh", "-c", "ls -d /made/by/link; cat /hosts; id", NULL };
	struct msg_file file = { "/etc/hosts", "mine\n", 0644 };
	struct msg_mount mounts[] = { { MSG_MOUNT_TMPFS, false, "", "/dangling", "" },
				      { MSG_MOUNT_TMPFS, false, "", "/up/new", "" } };
	struct msg_session session = guest_session();
	struct msg_process process = guest_command(MSG_PROCESS_MAIN, args);
	struct guest guest;

	session.scratch_serial = "";
	session.files = &file;
	session.file_count = 1;
	session.mounts = mounts;
	session.mount_count = 2;
	start(&guest, "hostile.erofs", &session, &process);
	guest_wait(&guest, &guest.processes[1].exited, 10000);
	assert_int_equal(guest.processes[1].status, 125);
	assert_contains(guest.processes[1].message, "'/etc/passwd': not a regular file");
	guest_shutdown(&guest, 0, 0);
	guest_release(&guest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_second_start),
		cmocka_unit_test(test_hostile_root),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: test_agent KERNEL-FOLDER FILES-FOLDER\n");
		return 64;
	}
	kernel = argv[1];
	files = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
