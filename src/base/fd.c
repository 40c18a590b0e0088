/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"

int fd_wait(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int fd_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			fd_wait(fd, POLLOUT, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_pwrite_all(int fd, const void *data, size_t size, off_t offset)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_read_exact(int fd, void *data, size_t size)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			fd_wait(fd, POLLIN, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_pread_exact(int fd, void *data, size_t size, off_t offset)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = pread(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

/* Copies [offset, end), which holds data, between two files at the same place. */
static int copy_extent(int from, int to, off_t offset, off_t end)
{
	char buffer[65536];

	while (offset < end) {
		off_t in = offset;
		off_t out = offset;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - offset), 0);

		if (n <= 0) {
			size_t want = sizeof(buffer);
			int r;

			if ((off_t)want > end - offset)
				want = (size_t)(end - offset);
			n = pread(from, buffer, want, offset);
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
			r = fd_pwrite_all(to, buffer, (size_t)n, offset);
			if (r < 0)
				return r;
		}
		offset += n;
	}
	return 0;
}

int fd_clone_file(int from, int to)
{
	struct stat st;
	off_t offset = 0;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return -errno;
	while (offset < st.st_size) {
		off_t data = lseek(from, offset, SEEK_DATA);
		off_t hole;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
		if (data < 0 || hole < 0)
			return -errno;
		r = copy_extent(from, to, data, hole);
		if (r < 0)
			return r;
		offset = hole;
	}
	return 0;
}

int fd_read_text(int fd, size_t max, char **ret_text, size_t *ret_size)
{
	size_t capacity = 4096;
	size_t size = 0;
	AUTO_FREE char *text = malloc(capacity);

	for (;;) {
		ssize_t n;

		if (!text)
			return -ENOMEM;
		n = read(fd, text + size, capacity - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max)
			return -EFBIG;
		if (capacity - size < 2) {
			char *larger = realloc(text, capacity * 2);

			if (!larger)
				return -ENOMEM;
			text = larger;
			capacity *= 2;
		}
	}
	text[size] = '\0';
	if (ret_size)
		*ret_size = size;
	*ret_text = TAKE_PTR(text);
	return 0;
}

int file_read(const char *path, size_t max, char **ret_text, size_t *ret_size, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	r = fd_read_text(fd, max, ret_text, ret_size);
	if (r < 0)
		return err_set(err, r, "cannot read '%s': %m", path);
	return 0;
}

int file_sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = slash == path ? xstrdup("/")
			      : slash       ? xstrndup(path, (size_t)(slash - path))
					    : xstrdup(".");
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int write_new(const char *path, const void *data, size_t size, mode_t mode, bool durable)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, size);
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	return r;
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode, bool durable,
		      struct err *err)
{
	static unsigned counter;
	AUTO_FREE char *temporary = xasprintf("%s.tmp.%d.%u", path, (int)getpid(),
					      __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
	int r = write_new(temporary, data, size, mode, durable);

	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r == 0 && durable)
		r = file_sync_parent(path);
	if (r < 0) {
		unlink(temporary);
		return err_set(err, r, "cannot write '%s': %m", path);
	}
	return 0;
}
