/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/become.h"
#include "guest/bulk.h"
#include "guest/changes.h"
#include "guest/mounts.h"
#include "guest/sys.h"
#include "tar/pack.h"
#include "tar/place.h"
#include "tar/unpack.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define FD_REPORT 3
#define FD_ROOT 4
#define FD_UPPER 5
#define FD_LOWER 6
#define FD_BULK 7
#define FD_FIRST_OTHER 8
#define FD_ABOVE 64

#define PIPE_SIZE (256 * 1024)
#define WARNED_MAX (32 * 1024)

struct copier {
	const struct msg_copy *message;
	const struct msg_session *session;
	bool reported;
	struct bulk_end bulk; /* when the message has a lane */
	struct stat top;      /* READ: of the path */
	struct stat root;
};

/* --- streams --- */

static int write_stdout(void *ctx, const void *data, size_t size)
{
	(void)ctx;
	return fd_write_all(1, data, size);
}

static long read_stdin(void *ctx, void *data, size_t size)
{
	ssize_t n;

	(void)ctx;
	do
		n = read(0, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static tar_write_fn output_of(struct copier *c, void **ret_ctx)
{
	*ret_ctx = &c->bulk;
	return c->message->lane ? bulk_end_write : write_stdout;
}

/* A line of stderr: see proto/copy.h. */
static void say(char kind, const char *text)
{
	char line[ERR_MESSAGE_MAX + 2];
	int n = snprintf(line, sizeof(line) - 1, "%c%s", kind, text);
	size_t length = (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;

	err_sanitize(line);
	line[length] = '\n';
	fd_write_all(2, line, length + 1);
}

/* The host keeps 64 KiB of what is said: the reason for a failure is to be among it. */
static void warn(void *ctx, const char *text)
{
	static size_t warned; /* by this process */

	(void)ctx;
	if (warned + strlen(text) > WARNED_MAX)
		return;
	warned += strlen(text) + 2;
	say('W', text);
}

/* All is well so far: what goes wrong from here on is told on stderr. */
static void started(struct copier *c)
{
	c->reported = true;
	close(FD_REPORT);
}

/* --- out of the container --- */

static bool is_kernels(int dir_fd, const char *name)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	static const unsigned long kinds[] = { PROC_SUPER_MAGIC,    SYSFS_MAGIC,
					       CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC,
					       DEBUGFS_MAGIC,       TRACEFS_MAGIC,
					       SECURITYFS_MAGIC,    BPF_FS_MAGIC,
					       0x19800202 /* mqueue */ };
	struct statfs st;

	if (fd < 0 || fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((unsigned long)st.f_type == kinds[i])
			return true;
	return false;
}

/* What the kernel mounts is left out of a copy of what it is mounted in: it has no end. */
static bool skip_kernel(void *ctx, int dir_fd, const char *name, const char *path,
			const struct stat *st)
{
	const struct copier *c = ctx;
	bool is_root = c->top.st_dev == c->root.st_dev && c->top.st_ino == c->root.st_ino;

	if (!*path || !S_ISDIR(st->st_mode) || st->st_dev == c->top.st_dev)
		return false;
	return (is_root && str_eq(path, "dev")) || is_kernels(dir_fd, name);
}

static int run_pack(struct copier *c, int dir_fd, const char *leaf,
		    const struct pack_options *options, struct err *err)
{
	void *ctx;
	tar_write_fn output = output_of(c, &ctx);
	CLEANUP(tar_writer_freep) struct tar_writer *writer = tar_writer_new(output, ctx);
	int r = pack(writer, dir_fd, leaf, options, err);

	if (r == 0 &&
	    (tar_writer_finish(writer) < 0 || (c->message->lane && bulk_end_flush(&c->bulk) < 0)))
		r = err_set(err, -EPIPE, "cannot write the archive: %m");
	return r;
}

static int copy_read(struct copier *c, struct err *err)
{
	CLEANUP(source_release) struct source source = { .dir_fd = -1 };
	struct pack_options options = {
		.past_cache = true, .skip = skip_kernel, .warn = warn, .ctx = c
	};
	int r = source_find(FD_ROOT, IN_ROOT, c->message->path, c->message->flags & MSG_COPY_FOLLOW,
			    &source, err);

	if (r < 0)
		return r;
	if (fstat(FD_ROOT, &c->root) < 0)
		return err_set(err, -errno, "cannot open the root: %m");
	c->top = source.st;
	options.name = str_or(source.name, ".");
	started(c);
	return run_pack(c, source.dir_fd, source.leaf, &options, err);
}

static int copy_export(struct copier *c, struct err *err)
{
	const struct pack_options options = { .name = ".", .past_cache = true, .warn = warn };

	started(c);
	return run_pack(c, FD_ROOT, "", &options, err);
}

static int copy_layer(struct copier *c, struct err *err)
{
	struct changes changes = { .session = c->session, .lower_fd = FD_LOWER };
	const struct pack_options options = { .name = ".",
					      .upper = true,
					      .past_cache = true,
					      .skip = changes_skip,
					      .warn = warn,
					      .ctx = &changes };

	started(c);
	return run_pack(c, FD_UPPER, "", &options, err);
}

static int copy_diff(struct copier *c, struct err *err)
{
	struct changes changes = { .session = c->session, .lower_fd = FD_LOWER };

	started(c);
	return changes_list(&changes, FD_UPPER, write_stdout, NULL, err);
}

/* --- into the container --- */

/* The directory that the archive's names are below, and what of path stands before them. */
static int find_directory(const char *path, char prefix[TAR_PATH_MAX + 1], int *ret_fd,
			  uint64_t *ret_resolve, struct err *err)
{
	AUTO_CLOSE int fd = place_open(FD_ROOT, *path ? path : ".", O_PATH | O_DIRECTORY, IN_ROOT);

	if (fd < 0)
		return err_set(err, fd, "cannot open the directory '%s': %m", path);
	if (unpack_clean_name(path, prefix) == 0) {
		/* Links in it may be absolute: they mean the container's root. */
		*ret_fd = fcntl(FD_ROOT, F_DUPFD_CLOEXEC, FD_FIRST_OTHER);
		*ret_resolve = IN_ROOT;
	} else {
		prefix[0] = '\0';
		*ret_fd = TAKE_FD(fd);
		*ret_resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
	}
	return 0;
}

static int run_unpack(struct copier *c, struct unpack_options *options, struct err *err)
{
	CLEANUP(tar_reader_freep)
	struct tar_reader *reader =
		tar_reader_new(c->message->lane ? bulk_end_read : read_stdin, &c->bulk);
	int r;

	options->keep_owner = c->message->flags & MSG_COPY_KEEP_OWNER;
	options->all_modes = options->devices = options->all_xattrs = true;
	options->past_cache = true;
	options->warn = warn;
	started(c);
	r = unpack(reader, options, err);
	if (r == 0)
		r = tar_reader_drain(reader);
	return r;
}

static int copy_write(struct copier *c, struct err *err)
{
	const struct msg_copy *message = c->message;
	struct place place = { .dir_fd = -1 };
	struct unpack_options options = { .prefix = "" };
	char prefix[TAR_PATH_MAX + 1];
	int r;

	if (message->flags & MSG_COPY_KEEP_NAMES) {
		options.keep_names = true;
		options.prefix = prefix;
		r = find_directory(message->path, prefix, &options.base_fd, &options.resolve, err);
		return r < 0 ? r : run_unpack(c, &options, err);
	}
	r = place_find(FD_ROOT, IN_ROOT, message->path, *message->name ? message->name : NULL,
		       &place, err);
	if (r < 0)
		return r;
	options.base_fd = place.dir_fd;
	options.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	options.top = place.name;
	options.top_is_directory = place.is_directory;
	r = run_unpack(c, &options, err);
	place_release(&place);
	return r;
}

/* --- the child --- */

/* Descriptors to fixed places, 0 on; all others of hull-init are closed. */
static int take_places(int fds[], int count)
{
	for (int i = 0; i < count; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, FD_ABOVE);
	for (int i = 0; i < count; i++)
		if (fds[i] < 0 || dup2(fds[i], i) < 0)
			return -errno;
	syscall(SYS_close_range, count, ~0u, 0);
	return 0;
}

static int enter(const struct msg_copy *message, const struct copy_scene *scene, const int stdio[3],
		 int report, struct err *err)
{
	const int flags = O_RDONLY | O_DIRECTORY;
	bool inside = message->op == MSG_COPY_READ || message->op == MSG_COPY_WRITE;
	int fds[FD_FIRST_OTHER] = { stdio[0], stdio[1], stdio[2], report };
	bool entered = false;
	int r = 0;

	if (message->lane)
		r = fds[FD_BULK] = bulk_open_disk(err);
	if (r < 0)
		return r;
	fds[FD_UPPER] = open(MOUNTS_UPPER, flags);
	fds[FD_LOWER] = open(MOUNTS_LOWER, flags);
	if (inside && scene->mounts_fd >= 0) {
		entered = setns(scene->mounts_fd, CLONE_NEWNS) == 0;
		if (!entered && errno != ESRCH)
			return err_set(err, -errno, "cannot enter the container: %m");
	}
	/* Without a process of the container, or if it has just ended: what it has mounted, again.
	 */
	if (inside && !entered)
		r = unshare(CLONE_NEWNS) < 0 ? err_set(err, -errno, "cannot unshare: %m")
					     : mounts_attach_devices(scene->session, err);
	if (r < 0)
		return r;
	fds[FD_ROOT] = open(entered ? "/" : MOUNTS_ROOT, flags);
	r = take_places(fds, message->lane ? FD_FIRST_OTHER : FD_BULK);
	if (r < 0)
		return err_set(err, r, "cannot prepare the copy: %m");
	umask(0);
	sys_use_cpu(-1);
	return 0;
}

static void copy_main(const struct msg_copy *message, const struct copy_scene *scene,
		      const int stdio[3], int report)
{
	static int (*const ops[MSG_COPY_OP_COUNT])(struct copier *, struct err *) = {
		[MSG_COPY_READ] = copy_read,     [MSG_COPY_WRITE] = copy_write,
		[MSG_COPY_EXPORT] = copy_export, [MSG_COPY_LAYER] = copy_layer,
		[MSG_COPY_DIFF] = copy_diff,
	};
	struct copier c = { .message = message, .session = scene->session };
	struct err err = { 0 };
	int r = enter(message, scene, stdio, report, &err);

	if (r == 0 && message->lane)
		bulk_end_init(&c.bulk, FD_BULK, message->lane, 0, 1);
	if (r == 0)
		r = ops[message->op](&c, &err);
	if (r < 0 && !c.reported) {
		struct become_failure failure = { .status = BECOME_SETUP_FAILED };

		snprintf(failure.message, sizeof(failure.message), "%s", err.message);
		fd_write_all(FD_REPORT, &failure, sizeof(failure));
	} else if (r < 0) {
		say('E', err.message);
	}
	_exit(r < 0);
}

int copy_spawn(const struct msg_copy *message, const struct copy_scene *scene, const int stdio[3],
	       int *ret_report, struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	for (int i = 0; i < 2; i++)
		fcntl(stdio[i], F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns; as it is otherwise */
	pid = fork();
	if (pid == 0)
		copy_main(message, scene, stdio, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_set(err, -errno, "cannot start the copy: %m");
	}
	*ret_report = fds[0];
	return pid;
}
