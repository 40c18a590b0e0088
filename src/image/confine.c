/* SPDX-License-Identifier: Apache-2.0 */
#include "image/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define WRITE_RIGHTS                                                     \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |     \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

static int allow_writes(int ruleset, const char *path, uint64_t rights, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };

	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_set(err, -errno, "cannot confine the image worker to '%s': %m", path);
	return 0;
}

/* The directory that a file is written in. Owned by the caller. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int confine(const struct task *task, struct err *err)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = WRITE_RIGHTS };
	const char *output = str_eq(json_get_string(task->request, "verb"), "save")
				     ? json_get_string(task->request, "path")
				     : NULL;
	AUTO_CLOSE int ruleset = -1;
	int r;

	/* Version 1 (before Linux 5.19) knows no renames from one directory to another. */
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		return 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return err_set(err, -errno, "cannot confine the image worker: %m");
	r = allow_writes(ruleset, task->root, WRITE_RIGHTS, err);
	if (r == 0)
		r = allow_writes(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE, err);
	if (r == 0 && output && !str_eq(output, "-")) {
		AUTO_FREE char *directory = directory_of(output);

		r = allow_writes(ruleset, directory, WRITE_RIGHTS, err);
	}
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = err_set(err, -errno, "cannot confine the image worker: %m");
	return r;
}
