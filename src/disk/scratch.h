/* SPDX-License-Identifier: Apache-2.0 */
/* Fresh writable disks: sparse ext4 files, copied from a template that mke2fs makes once per size.
 */
#ifndef DISK_SCRATCH_H
#define DISK_SCRATCH_H

#include <stdint.h>

#include "base/err.h"

#define SCRATCH_SIZE_DEFAULT (512ull << 30)

/*
 * Makes an empty ext4 of size_bytes (whole MiB, at least 16 MiB) at path, which must not exist; it
 * appears whole or not at all. template_dir (made if missing) keeps one template per size and
 * options; two callers at once are fine, a damaged template is made again. The template is made
 * with libext2fs or mke2fs, as an ordinary user. The root directory holds `upper` and `work` when
 * for_overlay.
 */
int scratch_create(const char *template_dir, const char *path, uint64_t size_bytes, int for_overlay,
		   struct err *err);

#endif
