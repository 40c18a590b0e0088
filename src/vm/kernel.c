/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/decompress.h"
#include "vm/kernel_image.h"
#include "vm/kernel_modules.h"

/* A kernel image as it came, and its ELF. */
struct image {
	uint8_t *mapped; /* owned */
	size_t mapped_size;
	uint8_t *extracted; /* owned; NULL when the image is an ELF itself */
	const uint8_t *elf; /* borrowed from one of them */
	size_t elf_size;
};

static void image_release(struct image *image)
{
	if (image->mapped)
		munmap(image->mapped, image->mapped_size);
	free(image->extracted);
}

static int image_map(const char *path, struct image *image, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *mapped;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open kernel '%s': %m", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || (uint64_t)st.st_size > KERNEL_IMAGE_MAX)
		return err_set(err, -EINVAL, "'%s' is no kernel", path);
	mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mapped == MAP_FAILED)
		return err_set(err, -errno, "cannot read kernel '%s': %m", path);
	image->mapped = mapped;
	image->mapped_size = (size_t)st.st_size;
	return 0;
}

/* The ELF inside. The build appends its size (4 bytes) to streams of formats that do not tell it,
 * where only strict decompressors mind. */
static int image_find_elf(struct image *image, struct err *err)
{
	const uint8_t *payload;
	size_t size;
	int r;

	if (image->mapped_size >= 4 && memcmp(image->mapped, "\177ELF", 4) == 0) {
		image->elf = image->mapped;
		image->elf_size = image->mapped_size;
		return 0;
	}
	r = kernel_image_payload(image->mapped, image->mapped_size, &payload, &size, err);
	if (r < 0)
		return r;
	if (payload[0] != 0x1f) /* all but gzip */
		size -= 4;
	r = decompress(payload, size, KERNEL_ELF_MAX, &image->extracted, &image->elf_size, err);
	if (r == 0)
		image->elf = image->extracted;
	return r;
}

static int write_directory(const char *directory, const struct image *image, const char *release,
			   const char *modules_tree, struct err *err)
{
	AUTO_FREE char *vmlinux = path_join(directory, "vmlinux");
	AUTO_FREE char *modules = path_join(directory, "modules");
	AUTO_FREE char *release_path = path_join(directory, "release");
	AUTO_FREE char *line = xasprintf("%s\n", release);
	int r;

	r = path_make_dirs(modules, 0755, err);
	if (r == 0)
		r = file_write_atomic(vmlinux, image->elf, image->elf_size, 0644, true, err);
	if (r == 0 && modules_tree)
		r = kernel_modules_install(modules_tree, release, modules, err);
	/* Last: a directory without it is not whole. */
	if (r == 0)
		r = file_write_atomic(release_path, line, strlen(line), 0644, true, err);
	return r;
}

/* Puts the finished directory in the place of an old one. */
static int replace_directory(const char *finished, const char *directory, struct err *err)
{
	AUTO_FREE char *old = xasprintf("%s.old", directory);
	int r;

	r = path_remove_tree(old, err);
	if (r < 0)
		return r;
	if (rename(directory, old) < 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot replace '%s': %m", directory);
	if (rename(finished, directory) < 0)
		return err_set(err, -errno, "cannot rename '%s' to '%s': %m", finished, directory);
	path_remove_tree(old, NULL);
	return file_sync_parent(directory);
}

int kernel_install(const char *image_path, const char *modules_tree, const char *directory,
		   struct err *err)
{
	AUTO_FREE char *unfinished = xasprintf("%s.new-%d", directory, getpid());
	CLEANUP(image_release) struct image image = { 0 };
	char release[KERNEL_RELEASE_MAX];
	int r;

	r = image_map(image_path, &image, err);
	if (r < 0)
		return r;
	r = image_find_elf(&image, err);
	if (r == 0)
		r = kernel_image_check_elf(image.elf, image.elf_size, err);
	if (r == 0)
		r = kernel_image_release(image.elf, image.elf_size, release, err);
	if (r < 0) {
		err_context(err, "cannot use kernel '%s'", image_path);
		return r;
	}
	r = write_directory(unfinished, &image, release, modules_tree, err);
	if (r == 0)
		r = replace_directory(unfinished, directory, err);
	if (r < 0)
		path_remove_tree(unfinished, NULL);
	return r;
}
