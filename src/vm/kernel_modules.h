/* SPDX-License-Identifier: Apache-2.0 */
/* The modules that a guest needs of a kernel, in load order. */
#ifndef VM_KERNEL_MODULES_H
#define VM_KERNEL_MODULES_H

#include "base/err.h"

/* Copies them, decompressed, from tree (/lib/modules/<release>, of a package or installed) to
 * directory (existing, empty) as NN-name.ko. -EINVAL when they are not of the kernel's release,
 * -ENOENT when one is missing that no guest can do
 * without. */
int kernel_modules_install(const char *tree, const char *release, const char *directory,
			   struct err *err);

#endif
