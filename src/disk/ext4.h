/* SPDX-License-Identifier: Apache-2.0 */
/* Makes ext4 file systems in sparse files, by mke2fs and debugfs, as an ordinary user. */
#ifndef DISK_EXT4_H
#define DISK_EXT4_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define EXT4_SIZE_MIN (16ull << 20)
#define EXT4_SIZE_MAX (16ull << 40) /* of a disk in a slot (vm/launch.c), and of a file */
#define EXT4_SMALL (256ull << 20)

struct ext4_options {
	uint64_t size_bytes;  /* whole MiB from EXT4_SIZE_MIN to EXT4_SIZE_MAX */
	uint32_t journal_mib; /* at least 4, at most half of the disk */
	bool for_overlay;     /* the root directory holds `upper` and `work` */
	bool for_volume;      /* the root directory holds nothing, not even lost+found */
};

/* -EINVAL with what is wrong with them. */
int ext4_check(const struct ext4_options *options, struct err *err);
/* Makes it at path, replacing what is there; it appears whole and synced, or not at all. */
int ext4_make(const char *path, const struct ext4_options *options, struct err *err);

#endif
