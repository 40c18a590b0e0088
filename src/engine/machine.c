/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which machine a container runs in. Few shapes, so that few templates: vCPUs and memory are those
 * of the default machine where that is enough (the guest's cgroup keeps the container's own
 * limits), and otherwise as asked for, memory rounded up to a power of two. The devices are one of
 * two sets: the base one unless it is too small.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "disk/scratch.h"
#include "store/volumes.h"
#include "vm/kernel.h"

#define MACHINE_MEMORY_MIN (1ull << 30)
#define KERNEL_SETTING "kernel"

void machine_release(struct machine *machine)
{
	free(machine->qemu);
	free(machine->kernel);
	free(machine->modules);
	free(machine->init);
	free(machine->scratch);
}

/* kernel_install(), by the program that has the decompressors. */
static int unpack_kernel(struct engine *engine, const char *image, const char *modules_tree,
			 const char *directory, struct err *err)
{
	AUTO_FREE char *program = path_join(engine->programs, "hull-kernel");
	AUTO_FREE char *message = NULL;
	char *argv[] = { program, (char *)image, (char *)directory, (char *)modules_tree, NULL };
	int status;

	engine_step(engine, "unpacking the kernel");
	status = proc_output(argv, true, ERR_MESSAGE_MAX, &message, err);
	if (status <= 0)
		return status;
	err_sanitize(message);
	return err_set(err, -EINVAL, "%s", *message ? message : "cannot unpack the kernel");
}

/* A kernel that is not a kernel directory is made into one, once per file. */
static int install_kernel(struct engine *engine, const char *image, const char *modules_tree,
			  char **ret_directory, struct err *err)
{
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *release = NULL;
	AUTO_FREE char *identity = NULL;
	struct stat st;

	if (stat(image, &st) < 0)
		return err_set(err, -errno, "cannot find kernel '%s': %m", image);
	identity = xasprintf("%s:%llu:%lld:%llu", image, (unsigned long long)st.st_size,
			     (long long)st.st_mtime, (unsigned long long)st.st_ino);
	directory = path_join(
		engine->root, "kernels/%016llx",
		(unsigned long long)hash_fnv1a(HASH_FNV_INIT, identity, strlen(identity)));
	if (modules_tree || kernel_check(directory, &release, NULL) < 0) {
		int r = unpack_kernel(engine, image, modules_tree, directory, err);

		if (r < 0)
			return r;
	}
	*ret_directory = TAKE_PTR(directory);
	return 0;
}

static int kernel_directory(struct engine *engine, const char *path, char **ret_directory,
			    struct err *err)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		*ret_directory = xstrdup(path);
		return 0;
	}
	return install_kernel(engine, path, NULL, ret_directory, err);
}

/* The kernels that came with hull, the better one first. */
static const char *const shipped_names[] = { "lean", "generic" };

static char *shipped_directory(const struct engine *engine, const char *name)
{
	return path_join(engine->programs, "kernel/%s", name);
}

static int choose_kernel(struct engine *engine, const char *wanted, char **ret_directory,
			 struct err *err)
{
	AUTO_FREE char *setting = NULL;
	int r;

	if (!wanted)
		wanted = engine->config.kernel_path;
	if (!wanted) {
		r = store_get_setting(engine->store, KERNEL_SETTING, &setting, err);
		if (r < 0)
			return r;
		wanted = setting;
	}
	if (wanted)
		return kernel_directory(engine, wanted, ret_directory, err);
	for (size_t i = 0; i < ARRAY_SIZE(shipped_names); i++) {
		AUTO_FREE char *directory = shipped_directory(engine, shipped_names[i]);
		AUTO_FREE char *vmlinux = path_join(directory, "vmlinux");

		if (path_exists(vmlinux)) {
			*ret_directory = TAKE_PTR(directory);
			return 0;
		}
	}
	return err_set(err, -ENOENT,
		       "there is no guest kernel; run 'make quickstart' in hull's source, or 'hull "
		       "system kernel set PATH'");
}

static bool has_modules(const char *directory)
{
	AUTO_FREE char *modules = path_join(directory, "modules");
	struct stat st;

	/* Two links ('.' and its name) do not tell on every file system; an empty one does no harm.
	 */
	return stat(modules, &st) == 0 && S_ISDIR(st.st_mode);
}

static uint64_t round_memory(uint64_t wanted)
{
	uint64_t memory = MACHINE_MEMORY_MIN;

	while (memory < wanted && memory < (1ull << 40))
		memory *= 2;
	return memory;
}

struct machine_needs machine_needs_default(const struct engine *engine)
{
	return (struct machine_needs){ .cpus = engine->config.cpus,
				       .memory_bytes = engine->config.memory_bytes,
				       .devices = machine_devices_base };
}

/* One NIC more than it has networks, so that it can join another while it runs. */
static uint32_t needed_nics(const struct container_config *config)
{
	uint32_t count = (uint32_t)config->networks.count + 1;

	return count < MACHINE_NICS_MAX ? count : MACHINE_NICS_MAX;
}

struct machine_needs machine_needs_of(struct engine *engine, const struct container_config *config)
{
	struct machine_needs needs = { .cpus = config->cpus,
				       .memory_bytes = config->memory_bytes,
				       .kernel = config->kernel,
				       .devices = { .disks = MACHINE_VOLUME_SLOT,
						    .nics = needed_nics(config) } };

	VEC_EACH (&config->mounts, it) {
		bool read_only = strv_contains(it->options, "ro");

		CLEANUP(volume_release) struct volume volume = { 0 };

		if (!str_eq(it->type, "volume") ||
		    (volumes_get(engine->store, it->source, &volume, NULL) == 0 &&
		     volume.kind == VOLUME_DIRECTORY))
			continue;
		needs.devices.disks++;
		needs.devices.read_only_disks += read_only ? 1 : 0;
	}
	return needs;
}

int machine_choose(struct engine *engine, const struct machine_needs *needs,
		   struct machine *ret_machine, struct err *err)
{
	CLEANUP(machine_release) struct machine machine = { 0 };
	AUTO_FREE char *scratch_dir = path_join(engine->root, "scratch");
	AUTO_FREE char *directory = NULL;
	struct accel accel;
	int r = engine_emulator(engine, &machine.qemu, err);

	if (r == 0)
		r = choose_kernel(engine, needs->kernel, &directory, err);
	if (r == 0)
		r = accel_choose(engine->accel_wanted, engine->run, &accel, err);
	if (r == 0)
		r = scratch_template(scratch_dir, SCRATCH_SIZE_DEFAULT, 1, &machine.scratch, err);
	if (r < 0)
		return r;
	machine.kernel = path_join(directory, "vmlinux");
	machine.modules = has_modules(directory) ? path_join(directory, "modules") : NULL;
	machine.init = path_join(engine->programs, "hull-init");
	machine.shape = (struct machine_shape){
		.accel = accel.kind,
		.vcpus = needs->cpus > engine->config.cpus ? needs->cpus : engine->config.cpus,
		.memory_bytes = round_memory(needs->memory_bytes),
		.qemu = machine.qemu,
		.kernel = machine.kernel,
		.modules = machine.modules,
		.init = machine.init,
		.scratch = machine.scratch,
		.devices = machine_devices_suffice(&machine_devices_base, &needs->devices)
				   ? machine_devices_base
				   : machine_devices_extended,
	};
	*ret_machine = machine;
	machine = (struct machine){ 0 };
	return 0;
}

char *machine_templates_dir(const struct engine *engine)
{
	return path_join(engine->root, "templates");
}

static void template_step(void *ctx, const char *text)
{
	engine_step(ctx, text);
}

int machine_template(struct engine *engine, const struct machine *machine,
		     struct template *ret_template, struct err *err)
{
	AUTO_FREE char *dir = machine_templates_dir(engine);
	const struct template_progress progress = { .step = template_step, .ctx = engine };

	if (!engine->config.template)
		return err_set(err, -ENOENT, "templates are switched off");
	return template_ensure(dir, engine->run, &machine->shape, &progress, ret_template, err);
}

int machine_image_template(struct engine *engine, const struct machine *machine,
			   const char *image_disk, struct template *ret_template, struct err *err)
{
	AUTO_FREE char *dir = machine_templates_dir(engine);
	const struct machine_image image = { .disk = image_disk };
	struct machine_shape shape = machine->shape;

	shape.image = &image;
	return template_find(dir, engine->run, &shape, ret_template, err);
}

void kernel_list_release(struct kernel_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].path);
		free(list->items[i].release);
	}
	VEC_FREE(list);
}

static void add_kernel(struct kernel_list *list, const char *name, const char *path,
		       const char *active)
{
	AUTO_FREE char *release = NULL;

	if (kernel_check(path, &release, NULL) < 0)
		return;
	VEC_PUSH(list, ((struct kernel_info){ .name = xstrdup(name),
					      .path = xstrdup(path),
					      .release = TAKE_PTR(release),
					      .active = str_eq(path, active) }));
}

int engine_kernel_list(struct engine *engine, struct kernel_list *ret_list, struct err *err)
{
	AUTO_FREE char *active = NULL;
	struct kernel_list list = { 0 };
	struct err none = { 0 };
	bool active_is_shipped = false;
	int r = choose_kernel(engine, NULL, &active, &none);

	if (r < 0 && r != -ENOENT)
		return err_set(err, r, "%s", none.message);
	for (size_t i = 0; i < ARRAY_SIZE(shipped_names); i++) {
		AUTO_FREE char *path = shipped_directory(engine, shipped_names[i]);

		active_is_shipped |= str_eq(path, active);
		add_kernel(&list, shipped_names[i], path, active);
	}
	if (active && !active_is_shipped)
		add_kernel(&list, "custom", active, active);
	*ret_list = list;
	return 0;
}

int engine_kernel_set(struct engine *engine, const char *image, const char *modules_tree,
		      struct err *err)
{
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *absolute = image ? realpath(image, NULL) : NULL;
	int r = 0;

	if (image && !absolute)
		return err_set(err, -errno, "cannot find kernel '%s': %m", image);
	if (image && modules_tree)
		r = install_kernel(engine, absolute, modules_tree, &directory, err);
	else if (image)
		r = kernel_directory(engine, absolute, &directory, err);
	if (r == 0 && directory) {
		AUTO_FREE char *release = NULL;

		r = kernel_check(directory, &release, err);
	}
	return r < 0 ? r : store_set_setting(engine->store, KERNEL_SETTING, directory, err);
}
