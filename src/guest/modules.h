/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MODULES_H
#define GUEST_MODULES_H

/* Loads all kernel modules of a directory (NN-name.ko) in the order of their names and removes the
 * files, which are memory here. What the kernel has built in is skipped; other failures are logged.
 */
void modules_load(const char *directory);

#endif
