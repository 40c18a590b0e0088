/* SPDX-License-Identifier: Apache-2.0 */
/* What is in directories. */
#include "share/call.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static void put_dirent(uint8_t *at, const struct dirent *entry, size_t length)
{
	struct fuse_dirent dirent = { .ino = entry->d_ino,
				      .off = (uint64_t)entry->d_off,
				      .namelen = (uint32_t)length,
				      .type = entry->d_type };
	size_t fixed = offsetof(struct fuse_dirent, name);

	memset(at, 0, aligned(fixed + length));
	memcpy(at, &dirent, fixed);
	memcpy(at + fixed, entry->d_name, length);
}

/* One entry behind what is there; 0 when it does not fit. */
static size_t put_entry(struct call *call, int dir_fd, const struct dirent *entry, bool plus,
			size_t room)
{
	size_t length = strlen(entry->d_name);
	size_t fixed =
		(plus ? sizeof(struct fuse_entry_out) : 0) + offsetof(struct fuse_dirent, name);
	struct fuse_entry_out out = { 0 };

	if (aligned(fixed + length) > room)
		return 0;
	if (plus && !str_eq(entry->d_name, ".") && !str_eq(entry->d_name, "..")) {
		struct stat st = { 0 };
		AUTO_CLOSE int fd = entry_open(dir_fd, entry->d_name, &st);

		if (fd >= 0)
			entry_fill(call, entry->d_name, fd, &st, &out);
	}
	if (plus)
		memcpy(call->out + call->out_size, &out, sizeof(out));
	put_dirent(call->out + call->out_size + (plus ? sizeof(out) : 0), entry, length);
	return aligned(fixed + length);
}

static int read_dir(struct call *call, bool plus)
{
	const struct fuse_read_in *arg = call->fixed;
	size_t size = arg->size < SHARE_WRITE_MAX ? arg->size : SHARE_WRITE_MAX;
	AUTO_CLOSE int path_fd = fs_open_node(call->share, call->node, NULL);
	int fd = path_fd < 0 ? path_fd : fs_reopen(path_fd, O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	if (arg->offset)
		seekdir(dir, (long)arg->offset);
	while (errno = 0, (entry = readdir(dir))) {
		size_t n = put_entry(call, path_fd, entry, plus, size - call->out_size);

		if (n == 0)
			break;
		call->out_size += n;
	}
	int r = entry || call->out_size ? 0 : -errno;
	closedir(dir);
	return r;
}

int op_readdir(struct call *call)
{
	return read_dir(call, false);
}

int op_readdirplus(struct call *call)
{
	return read_dir(call, true);
}

int op_fsyncdir(struct call *call)
{
	AUTO_CLOSE int path_fd = fs_open_node(call->share, call->node, NULL);
	AUTO_CLOSE int fd = path_fd < 0 ? path_fd : fs_reopen(path_fd, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}
