/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts, in two places. hull-init mounts what is backed by a device (the image, the scratch disk,
 * their overlay, volumes, shares) in its own namespace, so that it can unmount all of it cleanly
 * whatever the container does, and hands out detached copies. The container's first process, in the
 * container's mount namespace, attaches them and adds the rest, always below the root's descriptor:
 * no path of a hostile image leads out of it.
 */
#ifndef GUEST_MOUNTS_H
#define GUEST_MOUNTS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "proto/msg.h"

#define MOUNTS_STAGE "/stage" /* where proc, sys and dev of the container wait for its root */
#define MOUNTS_NEW_ROOT "/run/newroot"
/* hull-init's own: the image, the disk for the writes and what on it is laid over the image, all
 * together. */
#define MOUNTS_LOWER "/run/lower"
#define MOUNTS_SCRATCH "/run/scratch"
#define MOUNTS_UPPER MOUNTS_SCRATCH "/upper"
#define MOUNTS_ROOT "/run/root"

/* hull-init's side. */

/* Mounts image, scratch and overlay, or what of it is not mounted yet. Returns a detached copy of
 * the root's mount. */
int mounts_root(const char *root_serial, const char *scratch_serial, struct err *err);
/* In the template of one image: does that in advance, and leaves the scratch disk clean. */
int mounts_root_early(const struct msg_prepare *prepare, struct err *err);
/* Whether mounts of this type have a device. */
bool mounts_is_device(uint32_t type);
/* A detached copy of what is mounted at a path of hull-init's. */
int mounts_clone(const char *path, struct err *err);
/* Begins to mount the disks of the session's mounts, beside what else is done. */
void mounts_devices_begin(const struct msg_session *session);
/* Mounts the device of mount number index (block, share or volume; after the root). Returns a
 * detached copy. */
int mounts_device(const struct msg_mount *mount, size_t index, struct err *err);
/* Once shares are served: those that are volumes get what the root has in their place, or wait for
 * another machine that is at it. */
int mounts_fill_shares(const struct msg_session *session, struct err *err);
/* A further detached copy of it. */
int mounts_device_copy(size_t index, struct err *err);
/* For a process in a mount namespace of its own: attaches copies of the session's devices where the
 * container has them, below MOUNTS_ROOT. */
int mounts_attach_devices(const struct msg_session *session, struct err *err);
/* Starts writing out the scratch disk's data, in the background. */
void mounts_sync_begin(void);
/* At the end of the machine: writes out all of it, the scratch disk only if it is kept, and leaves
 * the disks clean. 0, or the first failure, after trying everything. */
int mounts_release(bool keep_scratch, struct err *err);

/* Before the template: the directories that the above use, and a first use of each file system. */
int mounts_prepare(struct err *err);
/* Before the template: mounts the scratch disk that is there already, if one is, so that a fresh
 * container finds it mounted. Leaves it clean on disk. */
int mounts_scratch_early(struct err *err);

/* The container's side. */

/* Before the template: proc, sys, dev, cgroup … of the container's namespaces below MOUNTS_STAGE.
 */
int mounts_stage(struct err *err);
/* Attaches everything to the root and makes it "/". trees: descriptors of the detached copies of
 * those of the session's mounts that have a device, -1 for the others. */
int mounts_enter(const struct msg_session *session, bool privileged, int root_tree,
		 const int *trees, struct err *err);

/* Mount options in words: flags with those that are flags applied; the rest is added to data. */
unsigned long mounts_flags(const char *options, unsigned long flags, struct sbuf *data);

/* mkdir -p inside the root; returns an O_PATH descriptor of the directory. */
int mounts_make_dirs(int root_fd, const char *path, mode_t mode);

#endif
