/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"

int lock_take(const char *path, enum lock_mode mode, bool wait, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int operation = (mode == LOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot open lock '%s': %m", path);
	do
		r = flock(fd, operation);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_set(err, -errno, "cannot lock '%s': %m", path);
	return TAKE_FD(fd);
}

bool lock_is_held(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
