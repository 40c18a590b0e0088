/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that runs machines has to do: the functions of vm.h, for one kind of emulator. */
#ifndef VM_ENGINE_H
#define VM_ENGINE_H

#include "vm/vm.h"

struct vm_engine {
	const char *name;
	int (*spawn)(const struct vm_options *options, struct vm **ret_vm, struct err *err);
	int (*run)(struct vm *vm, struct err *err);
	int (*take_agent)(struct vm *vm);
	void (*watch)(struct vm *vm, struct loop *loop, const struct vm_ops *ops, void *ctx);
	int (*copy_memory)(struct vm *vm, int to_fd, struct ram_copy **ret_copy, struct err *err);
	int (*save_devices)(struct vm *vm, int fd, struct err *err);
	int (*pause)(struct vm *vm, struct err *err);
	int (*resume)(struct vm *vm, struct err *err);
	void (*kill)(struct vm *vm);
	pid_t (*pid)(const struct vm *vm);
	void (*free)(struct vm *vm);
};

/* The first member of each engine's own struct. */
struct vm {
	const struct vm_engine *engine;
};

extern const struct vm_engine engine_qemu;

#endif
