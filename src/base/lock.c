/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"

int lock_take(const char *path, enum lock_mode mode, bool wait, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct flock lock = { .l_type = mode == LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK,
			      .l_whence = SEEK_SET };
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot open lock '%s': %m", path);
	do
		r = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_set(err, errno == EACCES ? -EAGAIN : -errno, "cannot lock '%s': %m",
			       path);
	return TAKE_FD(fd);
}

int lock_share(int fd)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

bool lock_is_held(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}
