/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/initramfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"

#define MODULES_MAX 512

struct archive_writer {
	FILE *file; /* borrowed */
	unsigned int inode;
};

static void pad(struct archive_writer *writer, size_t size)
{
	static const char zeros[4];

	fwrite(zeros, 1, -size & 3, writer->file);
}

/* One header of the "newc" format and the name after it (Linux: buffer-format.rst). */
static void add_header(struct archive_writer *writer, const char *name, mode_t mode, size_t size,
		       unsigned int device_major, unsigned int device_minor)
{
	size_t name_size = strlen(name) + 1;
	int n;

	n = fprintf(writer->file, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		    ++writer->inode, (unsigned int)mode, 0u, 0u, 1u, 0u, (unsigned int)size, 0u, 0u,
		    device_major, device_minor, (unsigned int)name_size, 0u);
	fwrite(name, 1, name_size, writer->file);
	pad(writer, (size_t)n + name_size);
}

static int add_file(struct archive_writer *writer, const char *name, mode_t mode, const char *path,
		    struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buffer[65536];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	if (!S_ISREG(st.st_mode) || st.st_size > UINT32_MAX)
		return err_set(err, -EINVAL, "'%s' is not a file for a guest", path);
	add_header(writer, name, S_IFREG | mode, (size_t)st.st_size, 0, 0);
	for (off_t left = st.st_size; left > 0; left -= n) {
		n = read(fd, buffer, (size_t)left < sizeof(buffer) ? (size_t)left : sizeof(buffer));
		if (n <= 0)
			return err_set(err, n < 0 ? -errno : -EIO, "cannot read '%s': %m", path);
		fwrite(buffer, 1, (size_t)n, writer->file);
	}
	pad(writer, (size_t)st.st_size);
	return 0;
}

static int is_module(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && str_ends(entry->d_name, ".ko");
}

int initramfs_module_names(const struct machine_shape *shape, char ***ret_names, struct err *err)
{
	AUTO_STRV char **names = NULL;
	struct dirent **entries = NULL;
	int count;

	if (!shape->modules) {
		*ret_names = NULL;
		return 0;
	}
	count = scandir(shape->modules, &entries, is_module, alphasort);
	if (count < 0)
		return err_set(err, -errno, "cannot read kernel modules '%s': %m", shape->modules);
	for (int i = 0; i < count; i++) {
		if (i < MODULES_MAX)
			strv_push(&names, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (count > MODULES_MAX)
		return err_set(err, -E2BIG, "too many kernel modules in '%s'", shape->modules);
	*ret_names = TAKE_PTR(names);
	return 0;
}

static int write_archive(struct archive_writer *writer, const struct machine_shape *shape,
			 struct err *err)
{
	AUTO_STRV char **names = NULL;
	int r;

	add_header(writer, "dev", S_IFDIR | 0755, 0, 0, 0);
	/* The kernel opens it for init's messages before anything is mounted. */
	add_header(writer, "dev/console", S_IFCHR | 0600, 0, 5, 1);
	r = add_file(writer, "init", 0755, shape->init, err);
	if (r < 0)
		return r;
	r = initramfs_module_names(shape, &names, err);
	if (r < 0)
		return r;
	if (names)
		add_header(writer, "modules", S_IFDIR | 0755, 0, 0, 0);
	STRV_EACH (names, name) {
		AUTO_FREE char *path = path_join(shape->modules, "%s", *name);
		AUTO_FREE char *inside = path_join("modules", "%s", *name);

		r = add_file(writer, inside, 0644, path, err);
		if (r < 0)
			return r;
	}
	add_header(writer, "TRAILER!!!", 0, 0, 0, 0);
	return 0;
}

int initramfs_write(const struct machine_shape *shape, const char *path, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "we");
	struct archive_writer writer = { .file = file };
	int r;

	if (!file)
		return err_set(err, -errno, "cannot create '%s': %m", path);
	r = write_archive(&writer, shape, err);
	if (r == 0 && (fflush(file) != 0 || ferror(file)))
		r = err_set(err, errno ? -errno : -EIO, "cannot write '%s': %m", path);
	if (r < 0)
		unlink(path);
	return r;
}
