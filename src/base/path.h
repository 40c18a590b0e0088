/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and trees of our own (never names from an archive or a guest). */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* "a/b" of "a" and "b" (formatted). Owned by the caller. */
char *path_join(const char *dir, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The part after the last slash; borrowed from path. */
const char *path_base(const char *path);
/* The directory that holds the running executable, without a trailing slash. Owned by the caller.
 */
char *path_of_self(void);
/* mkdir -p; directories that exist are left as they are. */
int path_make_dirs(const char *path, mode_t mode, struct err *err);
/* rm -rf that does not follow links or leave the file system; a missing path is no error. */
int path_remove_tree(const char *path, struct err *err);
bool path_exists(const char *path);
/* Bytes that a tree really uses on disk (blocks), hard links counted once per name. */
uint64_t path_disk_usage(const char *path);

#endif
