/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/template_key.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/initramfs.h"
#include "vm/launch.h"

#define FORMAT "hull template 2"

static int add_identity(struct sbuf *text, const char *what, const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot find the %s '%s': %m", what, path);
	sbuf_addf(text, "%s %s size %lld mtime %lld.%09ld inode %llu\n", what, path,
		  (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		  (unsigned long long)st.st_ino);
	return 0;
}

char *template_key_cpu(void)
{
#ifdef __x86_64__
	unsigned int brand[13] = { 0 };

	for (size_t i = 0; i < 3; i++)
		__get_cpuid((unsigned int)(0x80000002 + i), &brand[4 * i], &brand[4 * i + 1],
			    &brand[4 * i + 2], &brand[4 * i + 3]);
	return xstrdup((const char *)brand);
#else
	return xstrdup("");
#endif
}

/* The guest has measured itself against the host's CPU: a store that moves to another starts anew.
 */
static void add_host_cpu(struct sbuf *text)
{
	AUTO_FREE char *cpu = template_key_cpu();

	if (*cpu)
		sbuf_addf(text, "cpu %s\n", cpu);
}

static int add_inputs(struct sbuf *text, const struct machine_shape *shape, struct err *err)
{
	AUTO_STRV char **modules = NULL;
	int r;

	r = add_identity(text, "emulator", shape->qemu, err);
	if (r == 0)
		r = add_identity(text, "kernel", shape->kernel, err);
	if (r == 0)
		r = add_identity(text, "guest init", shape->init, err);
	if (r == 0)
		r = initramfs_module_names(shape, &modules, err);
	if (r == 0 && shape->scratch)
		r = add_identity(text, "scratch disk", shape->scratch, err);
	if (r == 0 && shape->image)
		r = add_identity(text, "image", shape->image->disk, err);
	STRV_EACH (modules, module) {
		AUTO_FREE char *path = path_join(shape->modules, "%s", *module);

		if (r == 0)
			r = add_identity(text, "module", path, err);
	}
	return r;
}

int template_key_make(const struct machine_shape *shape, struct template_key *ret_key,
		      struct err *err)
{
	const struct launch launch = { .use = LAUNCH_TEMPLATE,
				       .shape = shape,
				       .initramfs = "initramfs" };
	AUTO_STRV char **argv = launch_argv(&launch);
	AUTO_SBUF struct sbuf text = { 0 };
	AUTO_SBUF struct sbuf purpose = { 0 };
	uint64_t hash;
	int r;

	sbuf_add(&text, FORMAT "\n");
	STRV_EACH (argv, arg)
		sbuf_addf(&text, "%s\n", *arg);
	add_host_cpu(&text);
	r = add_inputs(&text, shape, err);
	if (r < 0)
		return r;
	sbuf_addf(&purpose, "%s %u %llu %s %s %s devices %u %u %u", accel_names[shape->accel],
		  shape->vcpus, (unsigned long long)shape->memory_bytes, shape->qemu, shape->kernel,
		  shape->init, shape->devices.disks, shape->devices.read_only_disks,
		  shape->devices.nics);
	if (shape->image)
		sbuf_addf(&purpose, TEMPLATE_PURPOSE_IMAGE "%s", shape->image->disk);
	hash = hash_fnv1a(HASH_FNV_INIT, text.text, text.length);
	snprintf(ret_key->name, sizeof(ret_key->name), "%016llx", (unsigned long long)hash);
	ret_key->text = sbuf_take(&text);
	ret_key->purpose = sbuf_take(&purpose);
	return 0;
}

void template_key_release(struct template_key *key)
{
	free(key->text);
	free(key->purpose);
	*key = (struct template_key){ 0 };
}
