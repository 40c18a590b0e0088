/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/snapshot_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "shim/launch.h"
#include "vm/ram_delta.h"
#include "vm/saved.h"
#include "vm/template_ram.h"

#define BASES "snapshots/.bases"
#define STATE_MAX (64u << 20)
#define MARKER_MAX 16384

static int open_in(const char *directory, const char *name, int flags, struct err *err)
{
	AUTO_FREE char *path = path_join(directory, "%s", name);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? err_set(err, -errno, "cannot open '%s': %m", path) : fd;
}

char *snapshot_directory(const struct engine *engine, const char *uuid)
{
	return path_join(engine->root, "snapshots/%s", uuid);
}

/* --- bases --- */

/* "<inode>-<time>": of a template's memory, and then ".<sum>" of the copy. */
static char *base_key(const struct stat *st)
{
	return xasprintf("%llu-%lld.%09ld", (unsigned long long)st->st_ino,
			 (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

/* The path of the copy, owned by the caller, or NULL. */
static char *find_base(const char *bases, const char *key, uint32_t *ret_crc)
{
	DIR *dir = opendir(bases);
	struct dirent *entry;
	char *path = NULL;

	while (dir && !path && (entry = readdir(dir))) {
		const char *rest = str_after(entry->d_name, key);

		if (rest && sscanf(rest, "-%x", ret_crc) == 1)
			path = path_join(bases, "%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return path;
}

static int copy_base(const char *bases, const char *key, int from, uint64_t bytes, char **ret_path,
		     uint32_t *ret_crc, struct err *err)
{
	char uuid[HASH_UUID_LENGTH + 1];
	int r = path_make_dirs(bases, 0700, err);

	hash_uuid(uuid);
	AUTO_FREE char *temporary = path_join(bases, ".%s", uuid);
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int to =
		r < 0 ? -1 : open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (to < 0)
		return r < 0 ? r : err_set(err, -errno, "cannot create '%s': %m", temporary);
	r = template_ram_copy(from, to, bytes, ret_crc);
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	path = path_join(bases, "%s-%08x", key, *ret_crc);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return err_set(err, r, "cannot copy the template's memory: %m");
	}
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* A copy of our own of the template's memory, which comes and goes as it likes. */
static int require_base(struct engine *engine, const char *template, uint64_t bytes,
			char **ret_path, uint32_t *ret_crc, struct err *err)
{
	AUTO_FREE char *bases = path_join(engine->root, BASES);
	AUTO_CLOSE int fd = open(template, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *key = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot open '%s': %m", template);
	key = base_key(&st);
	*ret_path = find_base(bases, key, ret_crc);
	return *ret_path ? 0 : copy_base(bases, key, fd, bytes, ret_path, ret_crc, err);
}

/* --- making --- */

static int link_base(struct engine *engine, const char *directory, const char *template,
		     uint64_t bytes, json_t *parts, struct err *err)
{
	AUTO_FREE char *link_path = path_join(directory, "base");
	AUTO_FREE char *base = NULL;
	uint32_t crc = 0;
	int r = require_base(engine, template, bytes, &base, &crc, err);

	if (r < 0 || !base)
		return r;
	if (link(base, link_path) < 0)
		return err_set(err, -errno, "cannot link '%s': %m", base);
	json_object_set_new(parts, "base", json_pack("{s:I}", "crc32c", (json_int_t)crc));
	return 0;
}

static int write_memory(const char *directory, uint64_t bytes, bool has_base, json_t *parts,
			struct err *err)
{
	AUTO_FREE char *ram_path = saved_ram_path(directory);
	AUTO_CLOSE int ram = open_in(directory, "ram", O_RDONLY, err);
	AUTO_CLOSE int base = has_base ? open_in(directory, "base", O_RDONLY, err) : -1;
	AUTO_CLOSE int to = open_in(directory, "memory", O_RDWR | O_CREAT | O_EXCL, err);
	uint64_t pages = 0;
	int r;

	if (ram < 0 || to < 0 || (has_base && base < 0))
		return err ? err->code : -EIO;
	r = ram_delta_write(ram, base, bytes, to, &pages, err);
	if (r == 0 && fsync(to) < 0)
		r = err_set(err, -errno, "cannot write the machine's memory: %m");
	if (r < 0)
		return r;
	unlink(ram_path);
	json_object_set_new(
		parts, "memory",
		json_pack("{s:I, s:I}", "bytes", (json_int_t)bytes, "pages", (json_int_t)pages));
	return 0;
}

/* Size and sum of a file, sparse or not. */
static int sum_file(const char *directory, const char *name, bool sync, json_t **ret_sum,
		    struct err *err)
{
	AUTO_CLOSE int fd = open_in(directory, name, O_RDONLY, err);
	uint32_t crc = 0;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot read '%s': %m", name);
	r = template_ram_copy(fd, -1, (uint64_t)st.st_size / 4096 * 4096, &crc);
	if (r == 0 && st.st_size % 4096) { /* the end of a file that is no image */
		char rest[4096];
		size_t size = (size_t)(st.st_size % 4096);

		r = fd_pread_exact(fd, rest, size, st.st_size - (off_t)size);
		crc = hash_crc32c(crc, rest, r == 0 ? size : 0);
	}
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "cannot read '%s': %m", name);
	*ret_sum =
		json_pack("{s:I, s:I}", "bytes", (json_int_t)st.st_size, "crc32c", (json_int_t)crc);
	return 0;
}

static int sum_into(json_t *parts, const char *directory, const char *name, struct err *err)
{
	json_t *sum = NULL;
	int r = sum_file(directory, name, true, &sum, err);

	if (r == 0)
		json_object_set_new(parts, name, sum);
	return r;
}

/* The files that are kept as they are; a string vector of the caller's. */
static char **kept_files(const json_t *parts, bool with_memory)
{
	char **names = NULL;
	const json_t *volume;
	size_t i;

	strv_push(&names, "scratch.img");
	json_array_foreach (json_get_array(parts, "volumes"), i, volume) {
		AUTO_FREE char *name =
			launch_volume_copy((uint32_t)json_get_int(volume, "mount", 0));

		if (!json_get_string(volume, "identity"))
			strv_push(&names, name);
	}
	if (with_memory) {
		strv_push(&names, "saved.json");
		strv_push(&names, "state");
	}
	if (with_memory && json_get_bool(parts, "hasShares", false))
		strv_push(&names, "shares");
	return names;
}

int snapshot_files_finish(struct engine *engine, const char *directory, const char *template,
			  json_t *volumes, bool has_memory, json_t **ret_parts, struct err *err)
{
	AUTO_FREE char *shares = saved_shares_path(directory);
	AUTO_JSON json_t *parts =
		json_pack("{s:O, s:b}", "volumes", volumes, "hasShares", path_exists(shares));
	AUTO_STRV char **names = kept_files(parts, has_memory);
	AUTO_JSON json_t *description = NULL;
	uint64_t bytes = 0;
	int r = 0;

	if (has_memory) {
		r = saved_read(directory, &description, err);
		bytes = (uint64_t)json_get_int(description, "memory", 0);
	}
	if (r == 0 && has_memory && template)
		r = link_base(engine, directory, template, bytes, parts, err);
	if (r == 0 && has_memory)
		r = write_memory(directory, bytes, template, parts, err);
	STRV_EACH (names, it)
		if (r == 0)
			r = sum_into(parts, directory, *it, err);
	if (r == 0)
		*ret_parts = TAKE_PTR(parts);
	return r;
}

/* --- use --- */

/* Which files, in which boot of the host. */
static char *marker_text(const char *directory, const json_t *parts)
{
	AUTO_STRV char **names = kept_files(parts, true);
	AUTO_SBUF struct sbuf text = { 0 };
	AUTO_FREE char *boot_id = NULL;

	if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL, NULL) < 0)
		return NULL;
	strv_push(&names, "ram");
	sbuf_add(&text, boot_id);
	STRV_EACH (names, it) {
		AUTO_FREE char *path = path_join(directory, "%s", *it);
		struct stat st;

		if (lstat(path, &st) == 0)
			sbuf_addf(&text, "%s %llu %lld %lld.%09ld\n", *it,
				  (unsigned long long)st.st_ino, (long long)st.st_size,
				  (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	}
	return sbuf_take(&text);
}

static bool is_checked(const char *directory, const json_t *parts, bool with_memory)
{
	AUTO_FREE char *path = path_join(directory, "ram.json");
	AUTO_FREE char *ram = saved_ram_path(directory);
	AUTO_FREE char *found = NULL;
	AUTO_FREE char *wanted = marker_text(directory, parts);

	return wanted && (!with_memory || path_exists(ram)) &&
	       file_read(path, MARKER_MAX, &found, NULL, NULL) == 0 && str_eq(found, wanted);
}

static int check_file(const char *directory, const char *name, const json_t *parts, struct err *err)
{
	const json_t *wanted = json_get_object(parts, name);
	json_t *sum = NULL;
	bool same;
	int r = sum_file(directory, name, false, &sum, err);

	if (r < 0)
		return r;
	same = json_equal(sum, wanted);
	json_decref(sum);
	return same ? 0 : err_set(err, -EBADMSG, "'%s' in it is damaged", name);
}

static int make_ram(const char *directory, const json_t *parts, struct err *err)
{
	const json_t *base_part = json_get_object(parts, "base");
	int64_t bytes = json_get_int(json_get_object(parts, "memory"), "bytes", 0);
	AUTO_FREE char *temporary = path_join(directory, "ram.new");
	AUTO_FREE char *path = saved_ram_path(directory);
	AUTO_CLOSE int delta = open_in(directory, "memory", O_RDONLY, err);
	AUTO_CLOSE int base = base_part ? open_in(directory, "base", O_RDONLY, err) : -1;
	AUTO_CLOSE int to = -1;
	int r;

	if (delta < 0 || (base_part && base < 0))
		return err ? err->code : -EIO;
	unlink(temporary);
	to = open_in(directory, "ram.new", O_RDWR | O_CREAT | O_EXCL, err);
	if (to < 0)
		return to;
	r = ram_delta_apply(delta, base, (uint32_t)json_get_int(base_part, "crc32c", 0),
			    (uint64_t)bytes, to, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_set(err, -errno, "cannot rename '%s': %m", temporary);
	if (r < 0)
		unlink(temporary);
	return r;
}

int snapshot_files_prepare(struct engine *engine, const struct snapshot *snapshot, bool with_memory,
			   struct err *err)
{
	AUTO_FREE char *directory = snapshot_directory(engine, snapshot->uuid);
	AUTO_FREE char *lock_path = xasprintf("%s.lock", directory);
	AUTO_FREE char *marker_path = path_join(directory, "ram.json");
	AUTO_CLOSE int lock = -1;
	AUTO_STRV char **names = NULL;
	AUTO_FREE char *text = NULL;
	int r;

	if (is_checked(directory, snapshot->parts, with_memory))
		return 0;
	lock = lock_take(lock_path, LOCK_EXCLUSIVE, true, err);
	if (lock < 0)
		return lock;
	if (is_checked(directory, snapshot->parts,
		       with_memory)) /* somebody else has just done it */
		return 0;
	names = kept_files(snapshot->parts, with_memory);
	r = 0;
	STRV_EACH (names, it)
		if (r == 0)
			r = check_file(directory, *it, snapshot->parts, err);
	if (r == 0 && with_memory)
		r = make_ram(directory, snapshot->parts, err);
	if (r < 0)
		return r;
	text = marker_text(directory, snapshot->parts);
	if (text && with_memory)
		file_write_atomic(marker_path, text, strlen(text), 0600, false, NULL);
	return 0;
}

/* --- clearing up --- */

static void prune_bases(const char *bases)
{
	DIR *dir = opendir(bases);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = path_join(bases, "%s", entry->d_name);
		struct stat st;

		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
			unlink(path);
	}
	if (dir)
		closedir(dir);
}

static void prune_cache(const char *directory)
{
	static const char *const names[] = { "ram.json", "ram", "ram.new" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = path_join(directory, "%s", names[i]);

		unlink(path);
	}
}

void snapshot_files_prune(struct engine *engine, bool caches)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };
	AUTO_FREE char *bases = path_join(engine->root, BASES);

	prune_bases(bases);
	if (!caches || snapshots_list(engine->store, &list, NULL) < 0)
		return;
	VEC_EACH (&list, it) {
		AUTO_FREE char *directory = snapshot_directory(engine, it->uuid);

		prune_cache(directory);
	}
}
