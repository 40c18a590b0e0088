/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a machine as a file: what its emulator mapped privately (a template's file, or that
 * of an earlier copy) with the pages that the machine has changed since laid over it. Pages that
 * are zero become holes, so that the file takes what the memory holds, and a machine can be started
 * from it as from a template.
 *
 * A copy is made in two passes: one while the machine runs, which does most of the work (space in
 * the file is found, its pages come into the cache), and one while it is stopped, which writes the
 * changed pages again and alone decides what the file holds.
 */
#ifndef VM_RAM_COPY_H
#define VM_RAM_COPY_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct ram_copy;

/* base_fd: the file that process pid maps as its machine's memory; to_fd: an empty file. Both are
 * borrowed until ram_copy_free. -EACCES when the process cannot be read. */
int ram_copy_new(pid_t pid, int base_fd, uint64_t bytes, int to_fd, struct ram_copy **ret_copy,
		 struct err *err);
/* The most that the copy can take on disk, as things are. */
int ram_copy_estimate(struct ram_copy *copy, uint64_t *ret_bytes, struct err *err);
/* A pass. The first writes the base as well. */
int ram_copy_pass(struct ram_copy *copy, struct err *err);
/* Pages that the last pass found changed since the base. */
uint64_t ram_copy_changed_pages(const struct ram_copy *copy);
struct ram_copy *ram_copy_free(struct ram_copy *copy);

#endif
