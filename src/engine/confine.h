/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_CONFINE_H
#define ENGINE_CONFINE_H

#include "base/err.h"

/* From here on this process can open and change what is below the directory, and nothing else in
 * the file system; it cannot execute anything nor gain privileges. Without Landlock (Linux before
 * 5.19) nothing changes. */
int confine_to_directory(int dir_fd, struct err *err);

#endif
