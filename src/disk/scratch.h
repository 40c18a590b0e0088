/* SPDX-License-Identifier: Apache-2.0 */
/* Fresh writable disks: sparse ext4 files, copied from a template that mke2fs makes once per size
 * and kind. */
#ifndef DISK_SCRATCH_H
#define DISK_SCRATCH_H

#include <stdint.h>

#include "base/err.h"
#include "disk/ext4.h"

#define SCRATCH_SIZE_DEFAULT (512ull << 30)

#define VOLUME_SIZE_LEAST (64ull << 30) /* of those that nobody gave a size */
#define VOLUME_SIZE_MOST (512ull << 30)

/* The size of a volume that nobody gave one, on a host's file system of that size: it cannot hold
 * more, and each GiB costs at each mount. A power of two, so that the host's may grow somewhat. */
uint64_t volume_size_default(uint64_t host_bytes);

/* How the file system of a scratch disk is made. */
struct ext4_options scratch_options(uint64_t size_bytes, bool for_overlay);

/* The path of the template that scratch_create copies, made if need be; owned by the caller. */
int scratch_template(const char *template_dir, uint64_t size_bytes, int for_overlay,
		     char **ret_path, struct err *err);

/* A sparse copy of the disk at from, at path, which must not exist; it appears whole or not at all.
 */
int scratch_copy(const char *from, const char *path, struct err *err);

/*
 * Makes an empty ext4 of size_bytes (whole MiB, at least 16 MiB) at path, which must not exist; it
 * appears whole or not at all. template_dir (made if missing) keeps one template per size and
 * options; two callers at once are fine, a damaged template is made again. The template is made
 * with libext2fs or mke2fs, as an ordinary user. The root directory holds `upper` and `work` when
 * for_overlay.
 */
int scratch_create(const char *template_dir, const char *path, uint64_t size_bytes, int for_overlay,
		   struct err *err);

/* As scratch_create, for a volume: larger journal (journal_mib; 0 for the usual size), an empty
 * root directory. */
int volume_disk_create(const char *template_dir, const char *path, uint64_t size_bytes,
		       uint32_t journal_mib, struct err *err);

#endif
