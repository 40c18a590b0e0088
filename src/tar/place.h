/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a copy goes, by the rules of cp(1) as docker has them:
 *
 *	a destination that is a directory	into it, under the source's name
 *	the same, and the source is "x/."	what is in the source, into it
 *	one that is not there			it is what the copy becomes; its directory has to be
 *there a file					it is replaced
 *
 * Links in the destination are followed, also the last.
 */
#ifndef TAR_PLACE_H
#define TAR_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"

struct place {
	int dir_fd;        /* owned; -1 none */
	char *name;        /* owned: the copy's name in it; NULL: it is the directory itself */
	bool is_directory; /* the destination ends in a slash and is not there: only a directory
			      can become it */
};

void place_release(struct place *place);

/* The name of a source: "x" of "/a/x" and "a/x/"; NULL for "/", ".", "a/." and what ends in "..".
 * Owned by the caller. */
char *place_source_name(const char *path);
/* Whether a path means what is in a directory: "/", ".", or an end in "/.". */
bool place_is_contents(const char *path);

/* root_fd and resolve (RESOLVE_* of openat2): where destination is looked up. name: of the source,
 * NULL if its contents are meant. */
int place_find(int root_fd, uint64_t resolve, const char *destination, const char *name,
	       struct place *ret_place, struct err *err);
/* A path whose last component is followed while it is a link, as "directory" (a descriptor, the
 * caller's) and *ret_leaf (owned by the caller; "" for the directory itself). follow false: a link
 * stays, unless a slash ends the path. */
int place_resolve(int root_fd, uint64_t resolve, const char *path, bool follow, char **ret_leaf,
		  struct err *err);
/* What is to be copied. */
struct source {
	int dir_fd; /* owned; -1 none */
	char *leaf; /* owned: its name there; "" is the directory itself */
	char *name; /* owned: what the copy is called; NULL: its contents are meant */
	struct stat st;
};

void source_release(struct source *source);
/* Finds it as place_resolve does; -ENOTDIR for a slash behind what is no directory. */
int source_find(int root_fd, uint64_t resolve, const char *path, bool follow,
		struct source *ret_source, struct err *err);

/* openat2. A descriptor or negative errno. */
int place_open(int root_fd, const char *path, int flags, uint64_t resolve);

#endif
