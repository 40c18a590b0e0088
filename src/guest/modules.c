/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "guest/sys.h"

static int is_module(const struct dirent *entry)
{
	return str_ends(entry->d_name, ".ko");
}

static void load_one(int dir_fd, const char *name)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : sys_finit_module(fd);

	if (r < 0 && r != -EEXIST) {
		errno = -r;
		log_warning("module=%s cannot be loaded: %m", name);
	}
	unlinkat(dir_fd, name, 0);
}

void modules_load(const char *directory)
{
	AUTO_CLOSE int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	int count;

	if (dir_fd < 0)
		return; /* all is built in */
	count = scandir(directory, &entries, is_module, alphasort);
	for (int i = 0; i < count; i++) {
		load_one(dir_fd, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	rmdir(directory);
}
