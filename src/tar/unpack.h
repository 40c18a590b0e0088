/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An archive becomes files. Names in it are hostile: ".." is refused, and every directory is opened
 * from a descriptor in one step that cannot leave it (openat2), again for each entry, so that links
 * made by the archive, or by others meanwhile, lead nowhere else.
 */
#ifndef TAR_UNPACK_H
#define TAR_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "tar/tar.h"

struct unpack_options {
	/* Directories are opened from here, by these rules (RESOLVE_* of openat2). */
	int base_fd;
	uint64_t resolve;
	const char *prefix; /* of every name, "" or "a/b": the directory below base_fd */
	/* The first entry is the top, and all others are below it; it becomes this in the directory
	 * (NULL: the directory itself). Not with keep_names. */
	const char *top;
	bool top_is_directory; /* it has to be one */
	bool keep_names;       /* entries are what they are called, in the directory */
	bool keep_owner;       /* else what is made belongs to this process */
	bool all_modes;        /* set-user-ID, set-group-ID and sticky bits too */
	bool devices;          /* else they are left out, with a warning */
	bool all_xattrs;       /* else user.* alone */
	bool past_cache; /* large files do not pass through the page cache, where that can be */
	void (*warn)(void *ctx, const char *text);
	void *ctx;
};

int unpack(struct tar_reader *reader, const struct unpack_options *options, struct err *err);

/* A name of an archive as a plain relative path: no slashes doubled, at its beginning or end, no
 * "." components; "" is the top. -EBADMSG for a ".." component. */
int unpack_clean_name(const char *name, char out[TAR_PATH_MAX + 1]);

#endif
