/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm.h"

#include "vm/engine.h"

int vm_spawn(const struct vm_options *options, struct vm **ret_vm, struct err *err)
{
	return engine_qemu.spawn(options, ret_vm, err);
}

int vm_run(struct vm *vm, struct err *err)
{
	return vm->engine->run(vm, err);
}

int vm_take_agent(struct vm *vm)
{
	return vm->engine->take_agent(vm);
}

void vm_watch(struct vm *vm, struct loop *loop, const struct vm_ops *ops, void *ctx)
{
	vm->engine->watch(vm, loop, ops, ctx);
}

int vm_copy_memory(struct vm *vm, int to_fd, struct ram_copy **ret_copy, struct err *err)
{
	return vm->engine->copy_memory(vm, to_fd, ret_copy, err);
}

int vm_save_devices(struct vm *vm, int fd, struct err *err)
{
	return vm->engine->save_devices(vm, fd, err);
}

int vm_pause(struct vm *vm, struct err *err)
{
	return vm->engine->pause(vm, err);
}

int vm_resume(struct vm *vm, struct err *err)
{
	return vm->engine->resume(vm, err);
}

void vm_kill(struct vm *vm)
{
	vm->engine->kill(vm);
}

pid_t vm_pid(const struct vm *vm)
{
	return vm->engine->pid(vm);
}

struct vm *vm_free(struct vm *vm)
{
	if (vm)
		vm->engine->free(vm);
	return NULL;
}
