/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process runs as, by the rules of Docker: "", "name", "uid", "name:group", "uid:gid" against
 * the text of the container's own passwd and group files. Numbers need no entry.
 */
#ifndef GUEST_USER_H
#define GUEST_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define USER_GROUPS_MAX 1024

struct user {
	uid_t uid;
	gid_t gid;
	char home[4096]; /* "/" if there is no entry */
	size_t group_count;
	gid_t groups[USER_GROUPS_MAX]; /* supplementary ones */
};

/* passwd, group: the files' texts ("" if there are none). groups: more supplementary ones. -EINVAL
 * with a message when a name has no entry. */
int user_lookup(const char *passwd, const char *group, const char *spec, char *const *groups,
		struct user *ret_user, struct err *err);

/* The same for a root that is not ours yet: by the files in it. A name without an entry, which is
 * told when the process starts, leaves *ret_user alone. */
void user_find_in(int root_fd, const char *spec, struct user *ret_user);

#endif
