/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/landlock.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "proto/share.h"
#include "share/server.h"
#include "vm/saved.h"

const char *shares_source(const struct launch *launch, const struct container_config *config,
			  size_t i)
{
	const struct mount_config *mount = &config->mounts.items[i];
	const struct launch_volume *volume = launch_volume_of(launch, i);

	if (volume)
		return volume->slot == 0 ? volume->path : NULL;
	return str_eq(mount->type, "bind") ? mount->source : NULL;
}

bool shares_is_read_only(const struct mount_config *mount)
{
	return strv_contains(mount->options, "ro");
}

int shares_locate_file(const char *path, char **ret_name)
{
	AUTO_FREE char *real = realpath(path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;
	struct stat st;
	int fd;

	if (!slash || stat(real, &st) < 0)
		return -ENOENT;
	if (S_ISDIR(st.st_mode))
		return -EINVAL;
	*slash = '\0';
	fd = open(*real ? real : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_name = xstrdup(slash + 1);
	return fd;
}

struct roots {
	int fds[SHARE_COUNT_MAX]; /* owned, O_PATH */
	bool read_only[SHARE_COUNT_MAX];
	char *names[SHARE_COUNT_MAX]; /* owned; of files that follow their names; else NULL */
	int places[SHARE_COUNT_MAX];  /* owned: where these are */
	size_t count;
};

static void roots_release(struct roots *roots)
{
	for (size_t i = 0; i < roots->count; i++) {
		close(roots->fds[i]);
		if (roots->names[i])
			close(roots->places[i]);
		free(roots->names[i]);
	}
}

static int open_roots(const struct launch *launch, const struct container_config *config,
		      bool follow, struct roots *roots, struct err *err)
{
	for (size_t i = 0; i < config->mounts.count; i++) {
		const char *source = shares_source(launch, config, i);
		int fd;

		if (!source)
			continue;
		if (roots->count == SHARE_COUNT_MAX)
			return err_set(err, -E2BIG, "a container has at most %d shared directories",
				       SHARE_COUNT_MAX);
		fd = open(source, O_PATH | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			return err_set(err, -ENOENT, "path '%s' does not exist", source);
		if (fd < 0)
			return err_set(err, -errno, "cannot open '%s': %m", source);
		roots->read_only[roots->count] = shares_is_read_only(&config->mounts.items[i]);
		roots->fds[roots->count] = fd;
		if (follow)
			roots->places[roots->count] =
				shares_locate_file(source, &roots->names[roots->count]);
		roots->count++;
	}
	return 0;
}

/* The server talks with a hostile guest: it reaches its roots and what it is made of. 0: not
 * confined. */
static int confine(const char *program, const struct roots *roots, struct err *err)
{
	struct landlock_path paths[8 + SHARE_COUNT_MAX] = {
		{ .path = program, .execute = true }, { .path = "/usr", .execute = true },
		{ .path = "/lib", .execute = true },  { .path = "/lib64", .execute = true },
		{ .path = "/etc/ld.so.cache" },
	};
	char names[SHARE_COUNT_MAX][32];
	size_t count = 5;
	int fd;

	for (size_t i = 0; i < roots->count; i++) {
		snprintf(names[i], sizeof(names[i]), "/proc/self/fd/%d", roots->fds[i]);
		paths[count++] = (struct landlock_path){ .path = names[i],
							 .write = !roots->read_only[i],
							 .create = !roots->read_only[i] };
	}
	fd = landlock_open(paths, count, err);
	return fd == -ENOSYS ? 0 : fd;
}

static int spawn(const char *program, const struct roots *roots, int channel, int state, int bulk,
		 int opener, const char *log_path, pid_t *ret_pid, struct err *err)
{
	AUTO_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int log =
		open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	AUTO_CLOSE int landlock = confine(program, roots, err);
	const char *argv[SHARE_COUNT_MAX + 2] = { program };
	AUTO_STRV char **words = NULL;
	int next = SHARE_FD_ROOT;
	size_t count = 7;
	char *environment[] = { NULL };
	struct proc_fd fds[7 + 2 * SHARE_COUNT_MAX] = {
		{ nothing, 0 },
		{ nothing, 1 },
		{ log >= 0 ? log : nothing, 2 },
		{ channel, SHARE_FD_CHANNEL },
		{ state, SHARE_FD_STATE },
		{ bulk, SHARE_FD_BULK },
		{ opener > 0 ? opener : nothing, SHARE_FD_OPENER },
	};

	if (landlock < 0)
		return landlock;
	if (landlock == 0)
		landlock = -1; /* not on this kernel */
	for (size_t i = 0; i < roots->count; i++) {
		const char *how = roots->read_only[i] ? "ro" : "rw";
		AUTO_FREE char *word =
			roots->names[i] ? xasprintf("%s:%s", how, roots->names[i]) : xstrdup(how);

		fds[count++] = (struct proc_fd){ roots->fds[i], next++ };
		if (roots->names[i])
			fds[count++] = (struct proc_fd){ roots->places[i], next++ };
		strv_push(&words, word);
		argv[1 + i] = words[i];
	}
	const struct proc_spec spec = {
		.argv = (char *const *)argv,
		.environment = environment,
		.fds = fds,
		.fd_count = count,
		.new_session = true,
		.die_with_parent = true,
		.no_new_privileges = true,
		.landlock_fd = landlock,
	};
	return proc_spawn(&spec, ret_pid, err);
}

/* A memory file for the server's state; filled with what was saved with the machine that goes on.
 */
static int open_state(const char *saved_directory, struct err *err)
{
	AUTO_FREE char *path = saved_directory ? saved_shares_path(saved_directory) : NULL;
	AUTO_CLOSE int from = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	AUTO_CLOSE int fd = memfd_create("hull-shares", MFD_CLOEXEC);
	int r = 0;

	if (path && from < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (fd < 0)
		return err_set(err, -errno, "cannot create a memory file: %m");
	if (path)
		r = fd_clone_file(from, fd);
	return r < 0 ? err_set(err, r, "cannot read '%s': %m", path) : TAKE_FD(fd);
}

int shares_save(int state_fd, const char *directory, struct err *err)
{
	AUTO_FREE char *path = saved_shares_path(directory);
	AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = to < 0 ? -errno : fd_clone_file(state_fd, to);

	return r < 0 ? err_set(err, r, "cannot write '%s': %m", path) : 0;
}

int shares_start(const struct launch *launch, const struct container_config *config, int bulk,
		 int opener, const char *log_path, struct shares *ret_shares, struct err *err)
{
	CLEANUP(roots_release) struct roots roots = { 0 };
	AUTO_CLOSE int state = -1;
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	int pair[2];
	int r = open_roots(launch, config, opener > 0, &roots, err);

	if (r < 0 || roots.count == 0)
		return r;
	r = state = open_state(launch->saved_directory, err);
	if (r >= 0)
		r = sock_pair(pair, err);
	if (r < 0)
		return r;
	ours = pair[0];
	theirs = pair[1];
	r = spawn(launch->share_server, &roots, theirs, state, bulk, opener, log_path,
		  &ret_shares->pid, err);
	if (r < 0)
		return r;
	ret_shares->channel = TAKE_FD(ours);
	ret_shares->state = TAKE_FD(state);
	return 0;
}

void shares_end(struct shares *shares)
{
	if (shares->pid > 0) {
		kill(shares->pid, SIGKILL);
		proc_wait(shares->pid);
	}
	if (shares->channel > 0)
		close(shares->channel);
	if (shares->state > 0)
		close(shares->state);
	*shares = (struct shares){ 0 };
}
