/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a child process may reach of the file system, by Landlock (see landlock(7)): nothing but the
 * paths listed, and, where the kernel knows how, no TCP, no signal and no abstract socket to the
 * processes outside. Descriptors that it inherits are not affected.
 */
#ifndef BASE_LANDLOCK_H
#define BASE_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct landlock_path {
	const char *path; /* NULL or missing: skipped */
	bool write;       /* to write to, besides reading; not to create or remove in it */
	bool create;      /* to create, rename and remove in it (no device nodes), besides that */
	bool execute;
	bool sockets;     /* nothing but to make sockets and to remove files in it */
	bool remove_dirs; /* nothing but to remove empty directories in it */
};

/* The rules as a descriptor for proc_spec.landlock_fd; the caller's. -ENOSYS: not on this kernel.
 */
int landlock_open(const struct landlock_path *paths, size_t count, struct err *err);
/* The same for what is to reach the network. */
int landlock_open_networked(const struct landlock_path *paths, size_t count, struct err *err);

#endif
