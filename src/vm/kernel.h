/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest kernels. A kernel's directory holds vmlinux (an ELF with a PVH entry: booting a bzImage
 * costs seconds under emulation), modules/NN-name.ko in load order (none if all is built in) and
 * release.
 */
#ifndef VM_KERNEL_H
#define VM_KERNEL_H

#include "base/err.h"

/* Makes such a directory (by temporary name and rename; an old one is replaced) of a kernel image:
 * an ELF vmlinux, or a bzImage, whose ELF is extracted. modules_tree: its /lib/modules/<release>,
 * or NULL. -EINVAL when it is no kernel or one that cannot boot here (no PVH entry). */
int kernel_install(const char *image, const char *modules_tree, const char *directory,
		   struct err *err);
/* Whether directory is a whole kernel directory; *ret_release (owned by the caller) its version. */
int kernel_check(const char *directory, char **ret_release, struct err *err);

#endif
