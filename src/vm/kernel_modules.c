/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/kernel_modules.h"

#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "base/vec.h"
#include "vm/decompress.h"

#define INDEX_MAX (16u << 20)
#define MODULE_MAX (64u << 20)
#define VALUE_MAX 4096

static const struct {
	const char *name;
	bool required;
} wanted[] = {
	/* Checksums that others look up by name at run time: no dependency says so. */
	{ "crc32c_generic", false },
	{ "crct10dif_generic", false },
	{ "crc64_rocksoft_generic", false },
	{ "virtio_mmio", true },
	{ "virtio_blk", true },
	{ "virtio_console", true },
	{ "virtio_net", true },
	{ "virtio_scsi", false },
	{ "sd_mod", false },
	{ "virtio_rng", false },
	{ "9p", false },
	{ "9pnet_virtio", false },
	{ "9pnet_fd", false },
	{ "fuse", false },
	{ "overlay", true },
	{ "erofs", true },
	{ "ext4", true },
	{ "squashfs", false },
	{ "loop", false },
	{ "binfmt_misc", false },
	{ "button", false },
};

struct module {
	char *name; /* owned */
	char *path; /* owned */
	bool added;
};

struct modules {
	const char *tree;      /* borrowed */
	const char *release;   /* borrowed */
	const char *directory; /* borrowed */
	VEC(struct module) all;
	unsigned int installed;
};

static void modules_release(struct modules *modules)
{
	VEC_EACH (&modules->all, module) {
		free(module->name);
		free(module->path);
	}
	VEC_FREE(&modules->all);
}

/* "kernel/fs/ext4/ext4.ko.xz" → "ext4"; '-' and '_' are the same in module names. */
static char *name_of(const char *path)
{
	char *name = xstrdup(path_base(path));
	char *suffix = strstr(name, ".ko");

	if (suffix)
		*suffix = '\0';
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	return name;
}

/* Finds all modules of the tree. Packages come without depmod's index, so that it is not asked. */
static int modules_load(struct modules *modules, struct err *err)
{
	AUTO_FREE char *tree = xstrdup(modules->tree);
	char *roots[] = { tree, NULL };
	FTS *walk = NULL;
	const FTSENT *entry;

	if (access(tree, R_OK | X_OK) == 0)
		walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!walk)
		return err_set(err, -errno, "cannot read kernel modules '%s': %m", modules->tree);
	while ((entry = fts_read(walk))) {
		struct module module = { 0 };

		if (entry->fts_info != FTS_F || !strstr(entry->fts_name, ".ko"))
			continue;
		module.path = xstrdup(entry->fts_path);
		module.name = name_of(entry->fts_path);
		VEC_PUSH(&modules->all, module);
	}
	fts_close(walk);
	if (modules->all.count == 0)
		return err_set(err, -ENOENT, "there are no kernel modules in '%s'", modules->tree);
	return 0;
}

/* The lines of modules.builtin, as names; NULL if there is no such file. */
static char **built_in_names(const char *tree)
{
	AUTO_FREE char *path = path_join(tree, "modules.builtin");
	AUTO_FREE char *text = NULL;
	AUTO_STRV char **lines = NULL;
	char **names = NULL;

	if (file_read(path, INDEX_MAX, &text, NULL, NULL) < 0)
		return NULL;
	lines = str_split(text, '\n', 0);
	STRV_EACH (lines, line) {
		AUTO_FREE char *name = name_of(*line);

		strv_push(&names, name);
	}
	return names;
}

static struct module *find_by_name(struct modules *modules, const char *name)
{
	VEC_EACH (&modules->all, module)
		if (str_eq(module->name, name))
			return module;
	return NULL;
}

static int read_module(const struct module *module, uint8_t **ret_elf, size_t *ret_size,
		       struct err *err)
{
	AUTO_FREE char *data = NULL;
	size_t size;
	int r;

	r = file_read(module->path, MODULE_MAX, &data, &size, err);
	if (r < 0)
		return r;
	if (size >= 4 && memcmp(data, "\177ELF", 4) == 0) {
		*ret_elf = (uint8_t *)TAKE_PTR(data);
		*ret_size = size;
		return 0;
	}
	r = decompress(data, size, MODULE_MAX, ret_elf, ret_size, err);
	if (r < 0)
		err_context(err, "kernel module '%s'", module->path);
	return r;
}

/* A value among the strings of section .modinfo, by its key with what is around it; owned, or NULL.
 */
static char *value_of(const uint8_t *elf, size_t size, const char *key, size_t key_size)
{
	const char *found = memmem(elf, size, key, key_size);
	size_t left;

	if (!found)
		return NULL;
	found += key_size;
	left = size - (size_t)(found - (const char *)elf);
	return xstrndup(found, left < VALUE_MAX ? left : VALUE_MAX);
}

static char **dependencies_of(const uint8_t *elf, size_t size)
{
	static const char key[] = "\0depends=";
	AUTO_FREE char *text = value_of(elf, size, key, sizeof(key) - 1);

	return text && text[0] ? str_split(text, ',', 0) : NULL;
}

/* The kernel takes only modules that were built with it: better said now than by a guest that does
 * not come up. */
static int check_release(const struct modules *modules, const struct module *module,
			 const uint8_t *elf, size_t size, struct err *err)
{
	static const char key[] = "\0vermagic=";
	AUTO_FREE char *text = value_of(elf, size, key, sizeof(key) - 1);
	char *end = text ? strchr(text, ' ') : NULL;

	if (end)
		*end = '\0';
	if (!text || str_eq(text, modules->release))
		return 0;
	err_sanitize(text);
	return err_set(err, -EINVAL, "the kernel is release %s, but the modules in '%s' are of %s",
		       modules->release, modules->tree, text);
}

static int write_module(struct modules *modules, const struct module *module, const uint8_t *elf,
			size_t size, struct err *err)
{
	AUTO_FREE char *path =
		path_join(modules->directory, "%02u-%s.ko", ++modules->installed, module->name);

	return file_write_atomic(path, elf, size, 0644, false, err);
}

/* Installs a module after what it depends on. Depth is bounded by the number of modules. */
static int add(struct modules *modules, struct module *module, struct err *err)
{
	AUTO_FREE uint8_t *elf = NULL;
	AUTO_STRV char **dependencies = NULL;
	size_t size;
	int r;

	if (module->added)
		return 0;
	module->added = true;
	r = read_module(module, &elf, &size, err);
	if (r < 0)
		return r;
	r = check_release(modules, module, elf, size, err);
	if (r < 0)
		return r;
	dependencies = dependencies_of(elf, size);
	STRV_EACH (dependencies, dependency) {
		AUTO_FREE char *name = name_of(*dependency);
		struct module *other = find_by_name(modules, name);

		if (other && r == 0)
			r = add(modules, other, err);
	}
	return r < 0 ? r : write_module(modules, module, elf, size, err);
}

int kernel_modules_install(const char *tree, const char *release, const char *directory,
			   struct err *err)
{
	CLEANUP(modules_release)
	struct modules modules = { .tree = tree, .release = release, .directory = directory };
	AUTO_STRV char **built_in = built_in_names(tree);
	int r;

	r = modules_load(&modules, err);
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && r == 0; i++) {
		struct module *module = find_by_name(&modules, wanted[i].name);

		if (module)
			r = add(&modules, module, err);
		else if (wanted[i].required && !strv_contains(built_in, wanted[i].name))
			r = err_set(err, -ENOENT, "the kernel has no module '%s' in '%s'",
				    wanted[i].name, tree);
	}
	return r;
}
