/* SPDX-License-Identifier: Apache-2.0 */
#include "base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of headers newer than Debian 12's. */
#define ACCESS_FS_TRUNCATE (1ull << 14)
#define ACCESS_NET_ALL 3ull
#define SCOPE_ALL 3ull

struct rules {
	uint64_t fs, net, scoped;
};

#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define READ (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define CREATE                                                            \
	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |      \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |    \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)
#define EVERYTHING (LANDLOCK_ACCESS_FS_REFER | (LANDLOCK_ACCESS_FS_REFER - 1)) /* of version 2 */

static int allow(int fd, const struct landlock_path *item, bool truncate, struct err *err)
{
	AUTO_CLOSE int path_fd = item->path ? open(item->path, O_PATH | O_CLOEXEC) : -1;
	struct landlock_path_beneath_attr rule = { .parent_fd = path_fd };
	uint64_t file = READ_FILE;
	struct stat st;

	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return 0;
	if (item->write)
		file |= LANDLOCK_ACCESS_FS_WRITE_FILE | (truncate ? ACCESS_FS_TRUNCATE : 0ull);
	if (item->execute)
		file |= LANDLOCK_ACCESS_FS_EXECUTE;
	rule.allowed_access = file;
	if (S_ISDIR(st.st_mode))
		rule.allowed_access |= READ | (item->create ? CREATE : 0ull);
	if (item->sockets)
		rule.allowed_access = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
	if (item->remove_dirs)
		rule.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_DIR;
	if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_set(err, -errno, "cannot confine a process to '%s': %m", item->path);
	return 0;
}

static int open_rules(const struct landlock_path *paths, size_t count, bool networked,
		      struct err *err)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct rules rules = { EVERYTHING, networked ? 0 : ACCESS_NET_ALL, SCOPE_ALL };
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
	AUTO_CLOSE int fd = -1;

	if (version < 2)
		return err_set(err, -ENOSYS, "this kernel has no Landlock");
	if (version >= 3)
		rules.fs |= ACCESS_FS_TRUNCATE;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot confine a process: %m");
	for (size_t i = 0; i < count; i++) {
		int r = allow(fd, &paths[i], version >= 3, err);

		if (r < 0)
			return r;
	}
	return TAKE_FD(fd);
}

int landlock_open(const struct landlock_path *paths, size_t count, struct err *err)
{
	return open_rules(paths, count, false, err);
}

int landlock_open_networked(const struct landlock_path *paths, size_t count, struct err *err)
{
	return open_rules(paths, count, true, err);
}
