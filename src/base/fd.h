/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: whole reads and writes, flags, whole files. All descriptors made are
 * close-on-exec. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Writes all, retrying on EINTR and waiting on EAGAIN. 0 or negative errno. */
int fd_write_all(int fd, const void *data, size_t size);
int fd_pwrite_all(int fd, const void *data, size_t size, off_t offset);
/* Reads exactly size bytes. 0, -EPIPE at an early end, or negative errno. */
int fd_read_exact(int fd, void *data, size_t size);
int fd_pread_exact(int fd, void *data, size_t size, off_t offset);
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);
/* Waits until fd has one of the poll events; timeout_ms < 0 waits for ever. 1 ready, 0 timeout, or
 * errno. */
int fd_wait(int fd, short events, int timeout_ms);
/* Copies the data of a whole file, sparsely, by reflink where the file system can. */
int fd_clone_file(int from, int to);

/* The whole of a file as NUL-terminated text (the NUL not counted); -EFBIG beyond max bytes. */
int file_read(const char *path, size_t max, char **ret_text, size_t *ret_size, struct err *err);
int fd_read_text(int fd, size_t max, char **ret_text, size_t *ret_size);
/* Writes by temporary name, fsync (if durable), rename. */
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode, bool durable,
		      struct err *err);
/* fsync of the directory that holds path, so that a rename into it is kept. */
int file_sync_parent(const char *path);

#endif
