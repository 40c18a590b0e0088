/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that knows the emulator's command line, as data. The same machine is described
 * three times (made as a template, restored from one, booted cold); what differs is where its
 * memory lives, what fills its slots, and whether a kernel is loaded.
 */
#ifndef VM_LAUNCH_H
#define VM_LAUNCH_H

#include "base/err.h"
#include "vm/machine.h"
#include "vm/vm.h"

enum launch_use {
	LAUNCH_TEMPLATE, /* boots; memory is the shared file LAUNCH_FD_RAM; LAUNCH_FD_SAVE to save
			    to */
	LAUNCH_DERIVE,   /* as LAUNCH_TEMPLATE, but loads LAUNCH_FD_STATE instead of booting */
	LAUNCH_RESTORE,  /* loads LAUNCH_FD_STATE; memory is a private mapping of ram_path */
	LAUNCH_COLD,     /* boots; memory is a private mapping of the empty file LAUNCH_FD_RAM */
	LAUNCH_USE_COUNT
};

/* Descriptors of the emulator. */
enum launch_fd {
	LAUNCH_FD_QMP = 3,
	LAUNCH_FD_AGENT = 4,
	LAUNCH_FD_STATE = 5,
	LAUNCH_FD_RAM = 6,
	LAUNCH_FD_CONSOLE = 7,
	LAUNCH_FD_SAVE = 8, /* where the state of devices can be saved to */
	LAUNCH_FD_FILES = 9,
	LAUNCH_FD_NIC = 10,                                /* the first of MACHINE_NICS_MAX */
	LAUNCH_FD_BULK = LAUNCH_FD_NIC + MACHINE_NICS_MAX, /* the memory of proto/bulk.h */
};

struct launch {
	enum launch_use use;
	const struct machine_shape *shape;
	const struct vm_disk *disks;    /* as many as the shape has; NULL: all slots are empty */
	const struct vm_nic *nics;      /* likewise */
	const char *const *extent_dirs; /* two; NULL: none */
	const char *ram_path;
	const char *initramfs;
	const char *console_path; /* NULL: as has_console says */
	bool has_console;         /* boot messages go to LAUNCH_FD_CONSOLE; else they are lost */
	bool has_files;           /* the port "files" is LAUNCH_FD_FILES; else nobody answers it */
	bool has_bulk;            /* the disk for much data is LAUNCH_FD_BULK; else it is empty */
	uint32_t tsc_khz;         /* of the host */
};

/* The emulator's argument vector, owned by the caller. */
char **launch_argv(const struct launch *launch);
/* Its environment; constant. */
char *const *launch_environment(void);
/* The frequency of the host's time-stamp counter, measured in 10 ms. */
uint32_t launch_measure_tsc_khz(void);

struct launch_process {
	pid_t pid;
	int qmp_fd;         /* owned by the caller */
	int agent_fd;       /* owned by the caller */
	int64_t log_offset; /* where its messages begin in the log */
};

/* Files that the emulator gets under the numbers above; borrowed, -1 none. */
struct launch_files {
	int state;
	int ram;
	int console;
	int files;
	int bulk;
	int save; /* where a machine that runs can write the state of its devices to */
};

/* Starts the emulator, which dies with the calling thread. log_path: where its messages are
 * appended. */
int launch_start(const struct launch *launch, const struct launch_files *files,
		 const char *log_path, struct launch_process *ret_process, struct err *err);
/* The last line of a log that may tell why something ended ("" if none); owned. log_offset: where
 * to begin. */
char *launch_last_words(const char *log_path, int64_t log_offset);

#endif
