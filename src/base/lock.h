/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that die with their holder: an open file description lock (fcntl(2), F_OFD_SETLK) on a file
 * of its own. The open descriptor is the lock; it passes to a child with the descriptor, and the
 * last close (or death) releases it. Asking whether it is held takes nothing. The file itself
 * stays, so that two holders can never lock two different inodes of one name.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdbool.h>

#include "base/err.h"

enum lock_mode {
	LOCK_SHARED,
	LOCK_EXCLUSIVE,
};

/* Returns the lock's descriptor; -EAGAIN when wait is false and another holds it. */
int lock_take(const char *path, enum lock_mode mode, bool wait, struct err *err);
/* An exclusive lock that others may share from now on. At no moment somebody else has it. */
int lock_share(int fd);
/* Whether some process holds the lock exclusively now. A missing file is not held. */
bool lock_is_held(const char *path);

#endif
