/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a shim: everything it needs that is not in the container's row, decided by the command
 * that starts it, handed over as JSON in a sealed memory file. The shim inherits on fixed
 * descriptors: LAUNCH_FD_CLIENT the first client's connection, LAUNCH_FD_SPEC this specification,
 * LAUNCH_FD_LOCK the container's lock, taken by the starter, which the shim holds while it lives,
 * and from LAUNCH_FD_VOLUMES on the locks of its volumes, likewise, in the order of those that have
 * one.
 */
#ifndef SHIM_LAUNCH_H
#define SHIM_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "vm/machine.h"

#define LAUNCH_FD_CLIENT 3
#define LAUNCH_FD_SPEC 4
#define LAUNCH_FD_LOCK 5
#define LAUNCH_FD_VOLUMES 16 /* the first of the locks of volumes */

/* Slots of the scratch disk: the one that a template's guest has mounted, and one that it has not.
 */
#define LAUNCH_SCRATCH_FRESH 1
#define LAUNCH_SCRATCH_USED 2

/* A volume and where it goes. */
struct launch_volume {
	uint32_t mount; /* number of the mount in the container's configuration */
	uint32_t slot;  /* of the machine's disks; 0: it is a directory, and shared */
	bool read_only; /* nothing of this container writes to it */
	bool fill;      /* a directory: it gets what the image has there, by this container */
	bool wait;      /* a directory: another container may be at that */
	char *path;     /* of the disk or directory */
	char *journal;  /* ext4's data= */
	int lock_fd;    /* owned by the starter, then by the shim; -1: another entry has it */
};

/* A file that the container finds in memory. */
struct launch_secret {
	char *path; /* owned, absolute */
	uint32_t mode;
	char *data; /* owned; any bytes */
	size_t size;
};
#define LAUNCH_SECRET_MAX (64 * 1024)
#define LAUNCH_SECRETS_COUNT_MAX 64
#define LAUNCH_SECRETS_MAX (128 * 1024) /* in all */

struct launch {
	char *uuid;
	char *root, *run;      /* HULL_ROOT, HULL_RUN */
	char *accel;           /* "tcg", "kvm" */
	uint32_t vcpus;        /* of the machine (the container may be allowed fewer) */
	uint64_t memory_bytes; /* of the machine */
	struct machine_devices devices;
	char *qemu, *kernel, *modules, *init, *scratch;
	char *template_directory; /* NULL: cold boot */
	/* A saved machine (vm/saved.h) to go on with instead; NULL: it starts. */
	char *saved_directory;
	bool is_copy; /* of another container's machine; false: its own, which is used up */
	char *origin; /* what it is a copy of */
	uint32_t generation, copy_index, copy_count, fork_signal; /* as of MSG_REJOIN */
	uint32_t scratch_slot;                                    /* LAUNCH_SCRATCH_* */
	char *root_disk;                                          /* VMDK descriptor */
	char *netd;                                               /* the program hull-netd */
	char *domain;                                             /* of networks; NULL: none */
	char *nameservers; /* separated by spaces; NULL: the host's */
	char *host_ports;  /* the same (net/client.h); NULL: none */
	bool tap;
	VEC(struct launch_volume) volumes;
	char *ssh_socket; /* of the caller's SSH agent; NULL: not given */
	VEC(struct launch_secret) secrets;
	char *share_server; /* path of hull-share; NULL: nothing is shared */
	uint32_t attach;    /* enum ctl_attach: what the first client gets of the main process */
	uint32_t rows, columns; /* of its terminal */
	bool debug;
	bool files; /* nothing runs: the machine is there to copy files, and ends with its clients
		     */
	uint64_t timeline_origin_ns;
};

void launch_release(struct launch *launch);
/* Forgets the secrets, once their one receiver has the specification. */
void launch_release_secrets(struct launch *launch);
/* The machine's shape, for any image; borrows from launch. */
struct machine_shape launch_shape(const struct launch *launch);
/* Lets go of the locks of its volumes. */
void launch_unlock_volumes(struct launch *launch);
/* The volume of a mount of the configuration; NULL: it is none. */
const struct launch_volume *launch_volume_of(const struct launch *launch, size_t mount);
/* Writes and reads the specification. The descriptor is the caller's. */
int launch_write(const struct launch *launch, int *ret_fd, struct err *err);
int launch_read(int fd, struct launch *ret_launch, struct err *err);

/* $HULL_ROOT/containers/<uuid> and $HULL_RUN/<uuid>, and files in them; owned by the caller. */
char *launch_container_dir(const char *root, const char *uuid);
char *launch_run_dir(const char *run, const char *uuid);
/* Both beside what they belong to: a run directory can differ from one login to the next, or vanish
 * with it, and a container that runs must never look dead nor be out of reach. */
char *launch_lock_path(const char *root, const char *uuid);
/* Is there while it runs and the host's disk is full (shim/hold.h). */
char *launch_held_path(const char *root, const char *uuid);
/* What a running container's copies begin with, in its directory; moved away from there. */
#define LAUNCH_COPY_PREFIX "copy-"
#define LAUNCH_SAVING "saving" /* what becomes the saved machine of a suspended container */
/* "volume-N.img": in such a directory, the disk of the volume that mount N is the first of. */
char *launch_volume_copy(uint32_t mount);
/* The container's own saved machine, complete once it has this name. */
char *launch_saved_path(const char *root, const char *uuid);
char *launch_socket_path(const char *root, const char *uuid);

#endif
