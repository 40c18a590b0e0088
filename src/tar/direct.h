/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files past the page cache. In an emulated guest a copy by the processor is what costs most: a
 * file written to from a disk's buffer, or read into one, by the disk itself takes a fifth of the
 * time.
 */
#ifndef TAR_DIRECT_H
#define TAR_DIRECT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

/* Smaller ones are likely to be read soon, and wait for nobody in the cache. */
#define TAR_DIRECT_MIN ((uint64_t)1024 * 1024)

/* 0, or -EINVAL where the file system cannot. */
static inline int tar_set_direct(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) < 0)
		return -errno;
	return 0;
}

#endif
