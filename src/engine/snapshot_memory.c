/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/snapshot_memory.h"

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
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/snapshot_files.h"
#include "vm/ram_delta.h"
#include "vm/saved.h"
#include "vm/template_ram.h"

#define BASES "snapshots/.bases"

int snapshot_open(const char *directory, const char *name, int flags, struct err *err)
{
	AUTO_FREE char *path = path_join(directory, "%s", name);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? err_set(err, -errno, "cannot open '%s': %m", path) : fd;
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

/* --- chains --- */

static char *link_name(int64_t i)
{
	return i ? xasprintf("memory.%lld", (long long)i) : xstrdup("memory");
}

static int64_t chain_of(const json_t *parts)
{
	return json_get_int(json_get_object(parts, "memory"), "chain", 0);
}

/* Lays memory.first … memory.last (in falling order) over the base, into `to`, which is empty. */
static int apply_chain(const char *directory, const json_t *parts, uint64_t bytes, int64_t first,
		       int64_t last, int to, struct err *err)
{
	const json_t *base_part = json_get_object(parts, "base");
	AUTO_CLOSE int base = base_part ? snapshot_open(directory, "base", O_RDONLY, err) : -1;
	int r = base_part && base < 0 ? base : 0;

	for (int64_t i = first; r == 0 && i >= last; i--) {
		AUTO_FREE char *name = link_name(i);
		AUTO_CLOSE int delta = snapshot_open(directory, name, O_RDONLY, err);

		if (delta < 0)
			return delta;
		r = i == first ? ram_delta_apply(delta, base,
						 (uint32_t)json_get_int(base_part, "crc32c", 0),
						 bytes, to, err)
			       : ram_delta_patch(delta, bytes, to, err);
	}
	return r;
}

static int link_one(const char *from_dir, const char *from_name, const char *to_dir,
		    const char *to_name, struct err *err)
{
	AUTO_FREE char *from = path_join(from_dir, "%s", from_name);
	AUTO_FREE char *to = path_join(to_dir, "%s", to_name);

	return link(from, to) < 0 ? err_set(err, -errno, "cannot link '%s': %m", from) : 0;
}

static int link_chain(const char *from, const json_t *parts, const char *directory, struct err *err)
{
	int r = json_get_object(parts, "base") ? link_one(from, "base", directory, "base", err) : 0;

	for (int64_t i = 0; r == 0 && i <= chain_of(parts); i++) {
		AUTO_FREE char *from_name = link_name(i);
		AUTO_FREE char *to_name = link_name(i + 1);

		r = link_one(from, from_name, directory, to_name, err);
	}
	return r;
}

static void unlink_chain(const char *directory)
{
	AUTO_FREE char *base = path_join(directory, "base");

	unlink(base);
	for (int64_t i = 1; i <= SNAPSHOT_CHAIN_MAX; i++) {
		AUTO_FREE char *name = link_name(i);
		AUTO_FREE char *path = path_join(directory, "%s", name);

		unlink(path);
	}
}

/* The parent's memory as it was: a descriptor; what it is made of is linked here. */
static int open_parent(struct engine *engine, const char *directory, uint64_t bytes,
		       const struct snapshot *parent, const char *parent_ram, struct err *err)
{
	AUTO_FREE char *from = snapshot_directory(engine, parent->uuid);
	AUTO_FREE char *path = path_join(directory, "parent");
	AUTO_CLOSE int fd = -1;
	int r = link_chain(from, parent->parts, directory, err);

	if (r < 0)
		return r;
	fd = parent_ram ? open(parent_ram, O_RDONLY | O_CLOEXEC)
			: snapshot_open(directory, "parent", O_RDWR | O_CREAT | O_EXCL, err);
	if (fd < 0)
		return -errno;
	if (!parent_ram) {
		unlink(path);
		r = apply_chain(directory, parent->parts, bytes, chain_of(parent->parts) + 1, 1, fd,
				err);
	}
	return r < 0 ? r : TAKE_FD(fd);
}

/* --- making --- */

static int write_delta(const char *directory, uint64_t bytes, int base, json_t *memory,
		       struct err *err)
{
	AUTO_FREE char *ram_path = saved_ram_path(directory);
	AUTO_CLOSE int ram = snapshot_open(directory, "ram", O_RDONLY, err);
	AUTO_CLOSE int to = snapshot_open(directory, "memory", O_RDWR | O_CREAT | O_EXCL, err);
	uint64_t pages = 0;
	uint32_t crc = 0;
	int r;

	if (ram < 0 || to < 0)
		return err ? err->code : -EIO;
	r = ram_delta_write(ram, base, bytes, to, &pages, err);
	if (r == 0 && fsync(to) < 0)
		r = err_set(err, -errno, "cannot write the machine's memory: %m");
	if (r == 0 && json_get_int(memory, "chain", 0)) {
		r = template_ram_copy(ram, -1, bytes, &crc);
		json_object_set_new(memory, "crc32c", json_integer((json_int_t)crc));
	}
	if (r < 0)
		return r;
	unlink(ram_path);
	json_object_set_new(memory, "pages", json_integer((json_int_t)pages));
	return 0;
}

static bool suits(const struct snapshot *parent, uint64_t bytes)
{
	const json_t *memory = json_get_object(parent->parts, "memory");

	return (uint64_t)json_get_int(memory, "bytes", 0) == bytes &&
	       chain_of(parent->parts) < SNAPSHOT_CHAIN_MAX;
}

int snapshot_memory_write(struct engine *engine, const char *directory, uint64_t bytes,
			  const char *template, const struct snapshot *parent,
			  const char *parent_ram, json_t *parts, struct err *err)
{
	json_t *memory = json_pack("{s:I}", "bytes", (json_int_t)bytes);
	AUTO_CLOSE int base = -1;
	int r = 0;

	json_object_set_new(parts, "memory", memory);
	if (parent && suits(parent, bytes)) {
		base = open_parent(engine, directory, bytes, parent, parent_ram, NULL);
		if (base < 0)
			unlink_chain(
				directory); /* deleted just now, or damaged: without it, then */
	}
	if (base >= 0) {
		json_object_set_new(memory, "chain", json_integer(chain_of(parent->parts) + 1));
		json_object_set_new(
			parts, "parent",
			json_pack("{s:s, s:s}", "id", parent->uuid, "name", parent->name));
		if (json_get_object(parent->parts, "base"))
			json_object_set(parts, "base", json_get_object(parent->parts, "base"));
	} else if (template) {
		r = link_base(engine, directory, template, bytes, parts, err);
		if (r == 0)
			r = base = snapshot_open(directory, "base", O_RDONLY, err);
	}
	return r < 0 ? r : write_delta(directory, bytes, base, memory, err);
}

int snapshot_memory_make(const char *directory, const json_t *parts, struct err *err)
{
	const json_t *memory = json_get_object(parts, "memory");
	uint64_t bytes = (uint64_t)json_get_int(memory, "bytes", 0);
	AUTO_FREE char *temporary = path_join(directory, SNAPSHOT_NEW_MEMORY);
	AUTO_FREE char *path = saved_ram_path(directory);
	AUTO_CLOSE int to = -1;
	uint32_t crc = 0;
	int r;

	unlink(temporary);
	to = snapshot_open(directory, SNAPSHOT_NEW_MEMORY, O_RDWR | O_CREAT | O_EXCL, err);
	if (to < 0)
		return to;
	r = apply_chain(directory, parts, bytes, chain_of(parts), 0, to, err);
	/* Each link is what it was; that they belong together is told by the whole. */
	if (r == 0 && chain_of(parts)) {
		r = template_ram_copy(to, -1, bytes, &crc);
		if (r == 0 && crc != (uint32_t)json_get_int(memory, "crc32c", -1))
			r = err_set(err, -EBADMSG, "its saved memory is damaged");
	}
	if (r == 0 && rename(temporary, path) < 0)
		r = err_set(err, -errno, "cannot rename '%s': %m", temporary);
	if (r < 0)
		unlink(temporary);
	return r;
}

void snapshot_memory_prune(struct engine *engine)
{
	AUTO_FREE char *bases = path_join(engine->root, BASES);
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
