/* SPDX-License-Identifier: Apache-2.0 */
/* The first file system of a guest, a cpio archive: /init, /dev/console and /modules/NN-name.ko. */
#ifndef VM_INITRAMFS_H
#define VM_INITRAMFS_H

#include "base/err.h"
#include "vm/machine.h"

/* Writes it to path, replacing a file there. */
int initramfs_write(const struct machine_shape *shape, const char *path, struct err *err);

/* The names of the kernel modules in shape->modules, in load order; owned strv (NULL if none). */
int initramfs_module_names(const struct machine_shape *shape, char ***ret_names, struct err *err);

#endif
