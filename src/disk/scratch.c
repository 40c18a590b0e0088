/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mke2fs is run once per size and kind; its result, a sparse file of a megabyte or two, is kept as
 * a template and copied from then on. All disks of a template share UUID and hash seed, which is
 * fine: no two of them are mounted by one kernel, and the seed protects a guest from nobody but
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
#include "base/proc.h"
#include "base/str.h"

#define TEMPLATE_VERSION 1 /* of the options below; part of the template's name */
#define SIZE_MIN (16ull << 20)
#define OUTPUT_MAX 65536

#define EXT4_SUPER_OFFSET 1024
#define EXT4_SUPER_SIZE 1024
#define EXT4_MAGIC 0xef53u
#define EXT4_MAGIC_OFFSET 56
#define EXT4_CHECKSUM_OFFSET 1020

/* Few block groups' worth of metadata touched at mount, none initialised in advance. sparse_super2
 * without backups: a scratch disk is not worth repairing by hand. */
static const char features[] =
	"none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
	"sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
static const char extended[] =
	"lazy_itable_init=1,lazy_journal_init=1,nodiscard,num_backup_sb=0,root_owner=0:0";

/* A program of e2fsprogs: /usr/sbin is not in every user's PATH. Owned by the caller. */
static char *find_tool(const char *name)
{
	static const char *const dirs[] = { "/usr/sbin", "/sbin", "/usr/local/sbin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = path_join(dirs[i], "%s", name);

		if (access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return xstrdup(name);
}

static int run_tool(const char *const *argv, char **ret_text, struct err *err)
{
	AUTO_FREE char *program = find_tool(argv[0]);
	AUTO_FREE char *text = NULL;
	AUTO_STRV char **args = NULL;
	int status;

	strv_push(&args, program);
	for (size_t i = 1; argv[i]; i++)
		strv_push(&args, argv[i]);
	status = proc_output(args, true, OUTPUT_MAX, &text, err);
	if (status == -ENOENT)
		return err_set(err, -ENOENT, "cannot find %s: install e2fsprogs", argv[0]);
	if (status < 0)
		return status;
	if (status > 0)
		return err_set(err, -EIO, "%s failed: %s", argv[0], text);
	if (ret_text)
		*ret_text = TAKE_PTR(text);
	return 0;
}

static int make_file_system(const char *path, uint64_t size_bytes, struct err *err)
{
	bool small = size_bytes < 256ull << 20;
	AUTO_FREE char *blocks = xasprintf("%lluk", (unsigned long long)(size_bytes >> 10));
	const char *inode_ratio = small ? "8192" : size_bytes < 64ull << 30 ? "16384" : "65536";
	/* clang-format off */
	const char *argv[] = {
		"mke2fs", "-q", "-F",
		"-b", "4096", "-I", "256", "-i", inode_ratio, "-m", "0", "-G", "4096",
		"-J", small ? "size=4" : "size=8",
		"-O", features, "-E", extended,
		path, blocks, NULL,
	};
	/* clang-format on */

	return run_tool(argv, NULL, err);
}

/* mke2fs -d would give them the owner they have on the host. */
static int make_overlay_dirs(const char *path, struct err *err)
{
	static const char script[] = "mkdir upper\nmkdir work\nstat upper\nstat work\n";
	AUTO_FREE char *commands = xasprintf("%s.cmd", path);
	const char *argv[] = { "debugfs", "-w", "-f", commands, path, NULL };
	AUTO_FREE char *text = NULL;
	const char *first;
	int r = file_write_atomic(commands, script, strlen(script), 0600, false, err);

	if (r == 0)
		r = run_tool(argv, &text, err);
	unlink(commands);
	if (r != 0)
		return r;
	/* debugfs ends with 0 whatever happened. */
	first = strstr(text, "Type: directory");
	if (!first || !strstr(first + 1, "Type: directory"))
		return err_set(err, -EIO, "debugfs could not make directories: %s", text);
	return 0;
}

static int sync_and_rename(const char *from, const char *to)
{
	AUTO_CLOSE int fd = open(from, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || rename(from, to) < 0)
		return -errno;
	return file_sync_parent(to);
}

static int make_template(const char *path, uint64_t size_bytes, int for_overlay, struct err *err)
{
	char id[HASH_UUID_LENGTH + 1];
	int r;

	hash_uuid(id);
	AUTO_FREE char *temporary = xasprintf("%s.tmp.%s", path, id);
	r = make_file_system(temporary, size_bytes, err);
	if (r == 0 && for_overlay)
		r = make_overlay_dirs(temporary, err);
	if (r == 0) {
		r = sync_and_rename(temporary, path);
		if (r < 0)
			err_set(err, r, "cannot keep '%s': %m", path);
	}
	if (r < 0)
		unlink(temporary);
	return r;
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

int scratch_template(const char *template_dir, uint64_t size_bytes, int for_overlay,
		     char **ret_path, struct err *err)
{
	AUTO_FREE char *template = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	if (size_bytes < SIZE_MIN || size_bytes % (1u << 20))
		return err_set(err, -EINVAL, "a disk of %llu bytes: whole MiB, at least 16, needed",
			       (unsigned long long)size_bytes);
	r = path_make_dirs(template_dir, 0700, err);
	if (r < 0)
		return r;
	template = path_join(template_dir, "ext4-v%d-%lluM%s.img", TEMPLATE_VERSION,
			     (unsigned long long)(size_bytes >> 20), for_overlay ? "-overlay" : "");
	fd = open_template(template, size_bytes);
	if (fd < 0) {
		r = make_template(template, size_bytes, for_overlay, err);
		if (r < 0)
			return r;
		fd = open_template(template, size_bytes);
	}
	if (fd < 0)
		return err_set(err, fd, "cannot use template '%s': %m", template);
	*ret_path = TAKE_PTR(template);
	return 0;
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
