/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "guest/sys.h"

int port_open(const char *name)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	int fd = -ENOENT;

	while (dir && fd == -ENOENT && (entry = readdir(dir))) {
		char path[300];
		char found[64];

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		if (sys_read_file(path, found, sizeof(found)) <= 0)
			continue;
		found[strcspn(found, "\n")] = '\0';
		if (!str_eq(found, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			fd = -errno;
	}
	if (dir)
		closedir(dir);
	return fd;
}
