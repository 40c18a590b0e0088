/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/rejoin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "guest/mounts.h"
#include "guest/sys.h"

#define FORK_DIR "/run/hull"
#define FORK_FILE "fork"
#define FORK_TEMPORARY ".fork.new"

/* hull-init has a host name of its own, to which it returns. */
static int set_host_name(const struct stage *stage, const char *host, const char *domain)
{
	AUTO_CLOSE int own = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (own < 0 || setns(stage->namespaces[STAGE_UTS], CLONE_NEWUTS) < 0)
		return -errno;
	if (sethostname(host, strlen(host)) < 0 || setdomainname(domain, strlen(domain)) < 0)
		r = -errno;
	return setns(own, CLONE_NEWUTS) < 0 ? -errno : r;
}

/* Files that were bound over their places are memory of ours; where the container has put something
 * else there, it stays. */
static void rewrite_file(int root_fd, const struct msg_file *file)
{
	AUTO_CLOSE int fd = sys_open_in_root(root_fd, file->path, O_WRONLY | O_NONBLOCK, 0);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return;
	if (ftruncate(fd, 0) < 0 || fd_write_all(fd, file->content, file->size) < 0)
		log_warning("cannot write '%s'", file->path);
}

static int open_root(const struct stage *stage)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root", (int)stage->pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void rejoin_write_file(const struct stage *stage, const struct msg_file *file)
{
	AUTO_CLOSE int root_fd = open_root(stage);

	if (root_fd >= 0)
		rewrite_file(root_fd, file);
}

/* Best effort: a read-only root may have no place for it. */
static void tell_programs(int root_fd, const struct msg_rejoin *rejoin)
{
	AUTO_CLOSE int dir = mounts_make_dirs(root_fd, FORK_DIR, 0755);
	AUTO_CLOSE int fd = -1;
	char text[1024];
	int size;

	if (dir < 0)
		return;
	unlinkat(dir, FORK_TEMPORARY, 0);
	fd = openat(dir, FORK_TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0644);
	if (fd < 0)
		return;
	size = snprintf(text, sizeof(text),
			"HULL_FORK_ID=%s\nHULL_FORK_INDEX=%u\nHULL_FORK_COUNT=%u\n"
			"HULL_FORK_GENERATION=%u\nHULL_FORK_ORIGIN=%s\n",
			rejoin->id, rejoin->index, rejoin->count, rejoin->generation,
			rejoin->origin);
	if (size > 0 && (size_t)size < sizeof(text) && fchmod(fd, 0644) == 0 &&
	    fd_write_all(fd, text, (size_t)size) == 0)
		renameat(dir, FORK_TEMPORARY, dir, FORK_FILE);
	else
		unlinkat(dir, FORK_TEMPORARY, 0);
}

int rejoin_identity(const struct stage *stage, const struct msg_rejoin *rejoin,
		    const struct msg_session *session, struct err *err)
{
	AUTO_CLOSE int root_fd = open_root(stage);
	int r = set_host_name(stage, session->hostname, session->domainname);

	if (r < 0)
		return err_set(err, r, "cannot set the host name '%s': %m", session->hostname);
	if (root_fd < 0)
		return err_set(err, -errno, "cannot reach the container's root: %m");
	for (size_t i = 0; i < session->file_count; i++)
		rewrite_file(root_fd, &session->files[i]);
	tell_programs(root_fd, rejoin);
	return 0;
}
