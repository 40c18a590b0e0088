/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: an emulator process, the control channel to it, and the socket to the agent
 * in its guest. Owned by one process (the shim), with whose death it ends. Which program runs the
 * machine is a table of operations (struct vm_engine); QEMU is the one there is.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"
#include "vm/machine.h"
#include "vm/ram_copy.h"
#include "vm/template.h"

/* Of the console's file. A guest says as much as it likes for as long as it lives: what comes after
 * that is lost. A restart begins a new file when this one is full. */
#define VM_CONSOLE_MAX (4 << 20)

enum vm_disk_format {
	VM_DISK_RAW,
	VM_DISK_VMDK, /* a descriptor of flat extents (disk/merge.h) */
};

struct vm_disk {
	const char *path; /* NULL: the slot stays empty */
	enum vm_disk_format format;
};

struct vm_nic {
	int fd; /* borrowed: a connected datagram or SOCK_SEQPACKET socket, a frame each; 0: none */
};

/* Of disks and NICs as many are looked at as shape.devices says. */
struct vm_options {
	struct machine_shape shape;
	const struct template *template;         /* NULL: cold boot */
	const char *work_dir;                    /* for what a cold boot needs (its initramfs) */
	struct vm_disk disks[MACHINE_DISKS_MAX]; /* serial in the guest: "slot0" … */
	struct vm_nic nics[MACHINE_NICS_MAX];
	const char *extent_dirs[2]; /* where what a VMDK disk consists of lies; NULL: none */
	const char *console_path;   /* boot messages are appended here, at most VM_CONSOLE_MAX */
	const char *log_path;       /* the emulator's own messages */
	int files_fd; /* borrowed: who serves the port "files" (proto/share.h); 0: nobody */
	int bulk_fd;  /* borrowed: the memory for much data (proto/bulk.h); 0: there is none */
};

struct vm;

struct vm_ops {
	/* The machine powered off, reset, its kernel panicked, or it was put on hold because the
	 * host's disk is full ("shutdown", "reset", "panic", "disk-full"). */
	void (*event)(void *ctx, const char *name);
	/* The emulator ended: status as of proc_wait. Last callback. */
	void (*exited)(void *ctx, int status);
};

/* Starts the emulator; returns as soon as it runs, so that work can overlap with its start. */
int vm_spawn(const struct vm_options *options, struct vm **ret_vm, struct err *err);
/* Brings the machine to life (restore from the template or cold boot) and returns when its CPUs
 * run; blocks, at most 20 s. -ESTALE when the template could not be restored (discard it, start
 * again). */
int vm_run(struct vm *vm, struct err *err);
/* The socket to the agent, owned by the caller from now on. May be written to before vm_run. */
int vm_take_agent(struct vm *vm);
/* Delivers events and the end of the emulator from now on. */
void vm_watch(struct vm *vm, struct loop *loop, const struct vm_ops *ops, void *ctx);

/* Begins a copy of its memory into the empty file to_fd (borrowed until the copy is freed, as is
 * the machine): see ram_copy.h. */
int vm_copy_memory(struct vm *vm, int to_fd, struct ram_copy **ret_copy, struct err *err);
/* Writes the state of its devices, all but the memory, to the empty file fd. The machine is paused.
 */
int vm_save_devices(struct vm *vm, int fd, struct err *err);
int vm_pause(struct vm *vm, struct err *err);
int vm_resume(struct vm *vm, struct err *err);
/* Ends the emulator at once; what the guest has not synced is lost. Waits for it. */
void vm_kill(struct vm *vm);
pid_t vm_pid(const struct vm *vm);
struct vm *vm_free(struct vm *vm); /* kills it if it still runs */

#endif
