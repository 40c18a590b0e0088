/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block groups of a fresh ext4 file system that cost little at each mount.
 *
 * mke2fs marks the bitmap of a group without blocks in use as not initialised, so that it need not
 * be written. For each such group, at each mount, Linux (6.1: ext4_num_overhead_clusters()) counts
 * what metadata lies in it, a step for each block of its inode table: two fifths of what a mount of
 * 4,096 groups is. Where nothing lies in a group its bitmap is all zeros, which is what a hole of a
 * sparse file reads as: saying that it is initialised takes the flag and a checksum.
 *
 * Format: the kernel's Documentation/filesystems/ext4, super.rst, group_descr.rst, checksums.rst.
 */
#ifndef DISK_EXT4_GROUPS_H
#define DISK_EXT4_GROUPS_H

#include "base/err.h"

/* The first ones are left as they are: what is written first is written there, and Linux reads the
 * bitmaps of 32 groups ahead then, if they say that they are initialised. */
#define EXT4_GROUPS_LEFT 64

/* Of the file system in the sparse file, which mke2fs has just made there with metadata_csum, 64bit
 * and blocks of 4 KiB. -EBADMSG if it is another. */
int ext4_groups_settle(int fd, struct err *err);

#endif
