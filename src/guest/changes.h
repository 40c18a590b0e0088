/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has changed: the upper directory of its overlay against the image below. The
 * places that hull-init made for mounts and for files of its own (/etc/hosts) are no changes.
 */
#ifndef GUEST_CHANGES_H
#define GUEST_CHANGES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "proto/msg.h"
#include "tar/tar.h"

struct changes {
	const struct msg_session *session; /* borrowed */
	int lower_fd;                      /* borrowed: the image's root */
};

/* For pack(): whether an entry of the upper directory is such a place. ctx: struct changes. */
bool changes_skip(void *ctx, int dir_fd, const char *name, const char *path, const struct stat *st);
/* Writes the list of changes (as MSG_COPY_DIFF says), sorted by path. */
int changes_list(const struct changes *changes, int upper_fd, tar_write_fn write, void *ctx,
		 struct err *err);

#endif
