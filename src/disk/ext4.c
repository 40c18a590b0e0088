/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "disk/ext4_groups.h"

#define OUTPUT_MAX 65536
#define LARGE (64ull << 30)

/* Few block groups' worth of metadata touched at mount, none initialised in advance. sparse_super2:
 * a scratch disk, without backups, is not worth repairing by hand; a volume has one. */
static const char features[] =
	"none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
	"sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
static const char extended_options[] =
	"lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0";

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

static int make_file_system(const char *path, const struct ext4_options *options, struct err *err)
{
	uint64_t size = options->size_bytes;
	AUTO_FREE char *blocks = xasprintf("%lluk", (unsigned long long)(size >> 10));
	AUTO_FREE char *journal = xasprintf("size=%u", options->journal_mib);
	AUTO_FREE char *extended =
		xasprintf("%s,num_backup_sb=%d", extended_options, options->for_volume ? 1 : 0);
	const char *inode_ratio = size < EXT4_SMALL ? "8192" : size < LARGE ? "16384" : "65536";
	/* clang-format off */
	const char *argv[] = {
		"mke2fs", "-q", "-F",
		"-b", "4096", "-I", "256", "-i", inode_ratio, "-m", "0", "-G", "4096",
		"-J", journal,
		"-O", features, "-E", extended,
		path, blocks, NULL,
	};
	/* clang-format on */

	return run_tool(argv, NULL, err);
}

/* debugfs ends with 0 whatever happened: `expected` has to be in what it says, twice at least. */
static int run_debugfs(const char *path, const char *script, const char *expected, struct err *err)
{
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
	first = strstr(text, expected);
	if (!first || !strstr(first + 1, expected))
		return err_set(err, -EIO, "debugfs could not prepare '%s': %s", path, text);
	return 0;
}

/* mke2fs -d would give directories the owner they have on the host. Programs that want an empty
 * directory for their data (databases) take offence at lost+found; e2fsck makes it if it needs it.
 */
static int fill_root(const char *path, const struct ext4_options *options, struct err *err)
{
	int r = 0;

	if (options->for_overlay)
		r = run_debugfs(path, "mkdir upper\nmkdir work\nstat upper\nstat work\n",
				"Type: directory", err);
	if (r == 0 && options->for_volume)
		r = run_debugfs(path, "rmdir lost+found\nstat lost+found\nstat lost+found\n",
				"File not found by ext2_lookup", err);
	return r;
}

int ext4_check(const struct ext4_options *options, struct err *err)
{
	uint64_t size = options->size_bytes;

	if (size < EXT4_SIZE_MIN || size > EXT4_SIZE_MAX)
		return err_set(err, -EINVAL, "a disk has 16 MiB to 16 TiB, not %llu bytes",
			       (unsigned long long)size);
	if (size % (1u << 20))
		return err_set(err, -EINVAL, "a disk has whole MiB, not %llu bytes",
			       (unsigned long long)size);
	if (options->journal_mib < 4 || options->journal_mib > size >> 21)
		return err_set(err, -EINVAL,
			       "a journal has 4 MiB to half of the disk, not %u MiB of %llu",
			       options->journal_mib, (unsigned long long)(size >> 20));
	return 0;
}

static int settle_groups(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %m", path);
	return ext4_groups_settle(fd, err);
}

static int sync_and_rename(const char *from, const char *to, struct err *err)
{
	AUTO_CLOSE int fd = open(from, O_RDWR | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 || rename(from, to) < 0 ? -errno : file_sync_parent(to);

	return r < 0 ? err_set(err, r, "cannot keep '%s': %m", to) : 0;
}

int ext4_make(const char *path, const struct ext4_options *options, struct err *err)
{
	char id[HASH_UUID_LENGTH + 1];
	int r = ext4_check(options, err);

	if (r < 0)
		return r;
	hash_uuid(id);
	AUTO_FREE char *temporary = xasprintf("%s.tmp.%s", path, id);
	r = make_file_system(temporary, options, err);
	if (r == 0)
		r = fill_root(temporary, options, err);
	if (r == 0)
		r = settle_groups(temporary, err);
	if (r == 0)
		r = sync_and_rename(temporary, path, err);
	if (r < 0)
		unlink(temporary);
	return r;
}
