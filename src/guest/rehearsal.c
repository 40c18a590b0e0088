/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sock.h"
#include "guest/become.h"
#include "guest/mounts.h"
#include "guest/stage.h"
#include "guest/sys.h"
#include "guest/timeline.h"

#define PLACE "/run/rehearsal"
#define SHM_BYTES (64u << 20)

/* What the director is told, a byte each. */
enum cue {
	CUE_GO_HOME,
	CUE_PERFORM,
	CUE_MOUNT, /* the root, now: it is answered with the same byte */
};

static int director = -1; /* our end of its socket */

static int copy_file(const char *from, const char *to)
{
	AUTO_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	return in < 0 || out < 0 ? -1 : fd_clone_file(in, out);
}

static int write_text(const char *path, const char *text)
{
	return file_write_atomic(path, text, strlen(text), 0644, false, NULL);
}

/* A root with what a start touches. */
static int set_scene(void)
{
	static const char *const directories[] = { "/lower",     "/lower/etc", "/lower/proc",
						   "/lower/sys", "/lower/dev", "/upper",
						   "/work",      "/root" };

	mkdir(PLACE, 0755);
	if (mount("tmpfs", PLACE, "tmpfs", 0, "mode=755") < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		char path[64] = PLACE;

		strncat(path, directories[i], sizeof(path) - sizeof(PLACE));
		if (mkdir(path, 0755) < 0)
			return -1;
	}
	if (write_text(PLACE "/lower/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n") < 0 ||
	    write_text(PLACE "/lower/etc/group", "root:x:0:\n") < 0 ||
	    write_text(PLACE "/lower/etc/hosts", "") < 0 ||
	    write_text(PLACE "/lower/etc/hostname", "") < 0)
		return -1;
	return copy_file("/proc/self/exe", PLACE "/lower/init");
}

static int mount_root(void)
{
	AUTO_CLOSE int root = -1;

	if (mount("overlay", PLACE "/root", "overlay", 0,
		  "lowerdir=" PLACE "/lower,upperdir=" PLACE "/upper,workdir=" PLACE "/work,"
		  "redirect_dir=off,metacopy=off,index=off,xino=off") < 0)
		return -1;
	root = open(PLACE "/root", O_PATH | O_CLOEXEC);
	return root < 0 ? -1 : sys_clone_tree(root, false);
}

static void perform(struct stage *stage, int tree)
{
	static char *args[] = { "/init", REHEARSAL_ARGUMENT, NULL };
	static char *environment[] = { "PATH=/bin", NULL };
	static struct msg_file files[] = { { "/etc/hostname", "rehearsal\n", 0644 },
					   { "/etc/hosts", "127.0.0.1\tlocalhost\n", 0644 } };
	const struct msg_process process = {
		.id = MSG_PROCESS_MAIN, .args = args, .env = environment, .capabilities = 0xa80425fb
	}; /* the usual set */
	const struct msg_session session = { .version = MSG_VERSION,
					     .hostname = "rehearsal",
					     .shm_bytes = SHM_BYTES,
					     .default_masked = true,
					     .default_read_only = true,
					     .file_count = ARRAY_SIZE(files),
					     .files = files };
	AUTO_SBUF struct sbuf bytes = { 0 };
	AUTO_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct stage_order order = { .process = &process,
				     .stdio = { nothing, nothing, nothing },
				     .root_tree = tree };
	struct become_failure failure;
	struct err err = { 0 };
	int r;

	if (tree < 0 || nothing < 0) {
		log_warning("the rehearsal has no root");
		return;
	}
	msg_session_encode(&session, &bytes);
	order.session = (const uint8_t *)bytes.text;
	order.session_size = bytes.length;
	r = stage_go(stage, &order, &err);
	if (r >= 0 && fd_read_exact(r, &failure, sizeof(failure)) == 0)
		log_warning("the rehearsal failed: %s", failure.message);
	waitpid(stage->pid, NULL, 0);
}

static void direct(int sock)
{
	struct stage stage;
	struct err err = { 0 };
	char byte = 1;
	int tree = -1;

	sys_use_cpu(1);
	timeline_mute();
	if (set_scene() < 0)
		err_set(&err, -errno, "cannot set the scene: %m");
	else
		stage_start(-1, &stage, &err);
	if (err.code < 0) {
		log_warning("no rehearsal: %s", err.message);
		_exit(1);
	}
	if (write(sock, &byte, 1) != 1)
		_exit(1);
	byte = CUE_GO_HOME; /* if no word comes */
	while (read(sock, &byte, 1) == 1 && byte == CUE_MOUNT) {
		tree = mount_root();
		(void)!write(sock, &byte, 1);
	}
	if (byte == CUE_PERFORM)
		perform(&stage, tree < 0 ? mount_root() : tree);
	_exit(0);
}

void rehearsal_start(void)
{
	int fds[2];
	char ready;
	pid_t pid;

	if (sys_cpu_count() < 2 || sock_pair(fds, NULL) < 0)
		return;
	pid = sys_clone(CLONE_NEWNS, -1, NULL);
	if (pid == 0) {
		close(fds[0]);
		direct(fds[1]);
	}
	close(fds[1]);
	if (pid > 0 && read(fds[0], &ready, 1) == 1)
		director = fds[0];
	else
		close(fds[0]);
}

void rehearsal_mount(void)
{
	char byte = CUE_MOUNT;

	if (director >= 0 && write(director, &byte, 1) == 1)
		(void)!read(director, &byte, 1);
}

void rehearsal_go(bool perform_it)
{
	char byte = perform_it ? CUE_PERFORM : CUE_GO_HOME;

	if (director < 0)
		return;
	timeline_point(perform_it ? "guest: rehearsal begins" : "guest: no rehearsal");
	(void)!write(director, &byte, 1);
	close(TAKE_FD(director));
}
