/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mke2fs is run once per size and kind; its result, a sparse file of a megabyte or two, is kept as
 * a template and copied from then on. All disks of a template share UUID and hash seed, which is
 * fine: ext4 mounts two of one UUID as it does any, and the seed protects a guest from nobody but
 * itself.
 */
#include "disk/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/ext4.h"

#define TEMPLATE_VERSION 3 /* of what ext4.c makes; part of the template's name */

#define VOLUME_LARGE (16ull << 30)

#define EXT4_SUPER_OFFSET 1024
#define EXT4_SUPER_SIZE 1024
#define EXT4_MAGIC 0xef53u
#define EXT4_MAGIC_OFFSET 56
#define EXT4_CHECKSUM_OFFSET 1020

/* Files made before, with other options, are no templates any more. */
static char *template_name(const struct ext4_options *options)
{
	return xasprintf("ext4-v%d-%lluM-j%u%s%s.img", TEMPLATE_VERSION,
			 (unsigned long long)(options->size_bytes >> 20), options->journal_mib,
			 options->for_overlay ? "-overlay" : "",
			 options->for_volume ? "-volume" : "");
}

/* Opens a template; -ENOENT, or -EBADMSG if it is not what mke2fs made. */
static int open_template(const char *path, uint64_t size_bytes)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t super[EXT4_SUPER_SIZE];
	uint32_t checksum;
	uint16_t magic;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size_bytes ||
	    fd_pread_exact(fd, super, sizeof(super), EXT4_SUPER_OFFSET) < 0)
		return -EBADMSG;
	memcpy(&magic, super + EXT4_MAGIC_OFFSET, sizeof(magic));
	memcpy(&checksum, super + EXT4_CHECKSUM_OFFSET, sizeof(checksum));
	if (magic != EXT4_MAGIC || checksum != hash_crc32c(~0u, super, EXT4_CHECKSUM_OFFSET))
		return -EBADMSG;
	return TAKE_FD(fd);
}

static int copy_template(int from, const char *path, struct err *err)
{
	char id[HASH_UUID_LENGTH + 1];
	int r;

	hash_uuid(id);
	AUTO_FREE char *temporary = xasprintf("%s.tmp.%s", path, id);
	AUTO_CLOSE int to = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (to < 0)
		return err_set(err, -errno, "cannot create disk '%s': %m", path);
	r = fd_clone_file(from, to);
	/* link, unlike rename, never replaces a disk that is there. */
	if (r == 0 && link(temporary, path) < 0)
		r = -errno;
	unlink(temporary);
	return r < 0 ? err_set(err, r, "cannot create disk '%s': %m", path) : 0;
}

/* *ret_path: the template with these options, made if need be. */
static int require_template(const char *template_dir, const struct ext4_options *options,
			    char **ret_path, struct err *err)
{
	AUTO_FREE char *name = template_name(options);
	AUTO_FREE char *template = path_join(template_dir, "%s", name);
	AUTO_CLOSE int fd = -1;
	int r = path_make_dirs(template_dir, 0700, err);

	if (r < 0)
		return r;
	fd = open_template(template, options->size_bytes);
	if (fd < 0) {
		r = ext4_make(template, options, err);
		if (r < 0)
			return r;
		fd = open_template(template, options->size_bytes);
	}
	if (fd < 0)
		return err_set(err, fd, "cannot use template '%s': %m", template);
	*ret_path = TAKE_PTR(template);
	return 0;
}

struct ext4_options scratch_options(uint64_t size_bytes, bool for_overlay)
{
	return (struct ext4_options){ .size_bytes = size_bytes,
				      .journal_mib = size_bytes < EXT4_SMALL ? 4 : 8,
				      .for_overlay = for_overlay };
}

int scratch_template(const char *template_dir, uint64_t size_bytes, int for_overlay,
		     char **ret_path, struct err *err)
{
	const struct ext4_options options = scratch_options(size_bytes, for_overlay);

	return require_template(template_dir, &options, ret_path, err);
}

int scratch_copy(const char *from, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(from, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "cannot open disk '%s': %m", from);
	return copy_template(fd, path, err);
}

int scratch_create(const char *template_dir, const char *path, uint64_t size_bytes, int for_overlay,
		   struct err *err)
{
	AUTO_FREE char *template = NULL;
	int r;

	if (path_exists(path))
		return err_set(err, -EEXIST, "cannot create disk '%s': %m", path);
	r = scratch_template(template_dir, size_bytes, for_overlay, &template, err);
	return r < 0 ? r : scratch_copy(template, path, err);
}

uint64_t volume_size_default(uint64_t host_bytes)
{
	uint64_t size = VOLUME_SIZE_LEAST;

	while (size < host_bytes && size < VOLUME_SIZE_MOST)
		size *= 2;
	return size;
}

int volume_disk_create(const char *template_dir, const char *path, uint64_t size_bytes,
		       uint32_t journal_mib, struct err *err)
{
	uint32_t journal_default = size_bytes < EXT4_SMALL     ? 4
				   : size_bytes < VOLUME_LARGE ? 16
							       : 64;
	const struct ext4_options options = {
		.size_bytes = size_bytes,
		.journal_mib = journal_mib ? journal_mib : journal_default,
		.for_volume = true,
	};
	AUTO_FREE char *template = NULL;
	int r;

	/* Others than the usual ones are too rare to be worth a template for each. */
	if (size_bytes != volume_size_default(size_bytes) || journal_mib)
		return ext4_make(path, &options, err);
	r = require_template(template_dir, &options, &template, err);
	return r < 0 ? r : scratch_copy(template, path, err);
}
