/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/socket_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "base/str.h"
#include "guest/mounts.h"
#include "guest/sys.h"

int socket_mounts_listen(struct sockets *sockets, const struct msg_mount *mount, size_t index,
			 struct err *err)
{
	AUTO_CLOSE int listener = -1;
	uint32_t relay;
	char path[32];

	if (str_parse_u32(mount->source, &relay) < 0 || relay >= SOCKETS_RELAYS_MAX)
		return err_set(err, -EINVAL, "there is no socket '%s'", mount->source);
	snprintf(path, sizeof(path), "/run/socket%zu", index);
	listener = sock_listen(path, err);
	if (listener < 0)
		return listener;
	/* Who is in the container may use what was given to it. */
	if (chmod(path, 0666) < 0)
		return err_set(err, -errno, "cannot make '%s': %m", mount->target);
	sockets_listen(sockets, TAKE_FD(listener), relay, "");
	return mounts_clone(path, err);
}

int socket_mounts_connect(pid_t pid, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char root_path[32];
	struct stat st;

	snprintf(root_path, sizeof(root_path), "/proc/%d/root", (int)pid);
	AUTO_CLOSE int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int file = root < 0 ? -errno : sys_open_in_root(root, path, O_PATH, 0);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (file < 0 || fd < 0)
		return file < 0 ? file : -errno;
	if (fstat(file, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -ECONNREFUSED;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}
