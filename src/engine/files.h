/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of a container, for copies of files: by the machine that runs it or, if it does not
 * run, by one that is started for that alone. Such a machine changes nothing of what the container
 * is to others, but it holds the container's lock: who wants to start or remove the container waits
 * for its end.
 */
#ifndef ENGINE_FILES_H
#define ENGINE_FILES_H

#include <sys/types.h>

#include "engine/internal.h"

struct files {
	int connection; /* owned: takes one request; -1: taken */
	pid_t shim;     /* ours, which ends when the connection does; 0: none */
};

int files_open(struct engine *engine, const char *id, struct files *ret_files, struct err *err);
/* A second one to the same container's, whose machine has just been started for the first. */
int files_join(struct engine *engine, const struct container *container, const struct files *first,
	       struct files *ret_files, struct err *err);
/* Closes it, and waits until the disks are at rest again if a machine was started for it. */
void files_release(struct files *files);

/* container_lock, once copies of its files are done. */
int files_lock(struct engine *engine, const struct container *container, int *ret_fd,
	       struct err *err);

#endif
