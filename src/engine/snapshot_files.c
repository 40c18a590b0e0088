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
#include "engine/snapshot_memory.h"
#include "shim/launch.h"
#include "vm/saved.h"
#include "vm/template_ram.h"

#define STATE_MAX (64u << 20)
#define MARKER_MAX 16384

char *snapshot_directory(const struct engine *engine, const char *uuid)
{
	return path_join(engine->root, "snapshots/%s", uuid);
}

/* --- making --- */

/* Size and sum of a file, sparse or not. */
static int sum_file(const char *directory, const char *name, bool sync, json_t **ret_sum,
		    struct err *err)
{
	AUTO_CLOSE int fd = snapshot_open(directory, name, O_RDONLY, err);
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

/* --- whether it was looked at --- */

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

static int write_memory(struct engine *engine, const char *directory, uint64_t bytes,
			const char *template, const struct snapshot *parent, json_t *parts,
			struct err *err)
{
	AUTO_FREE char *from = parent ? snapshot_directory(engine, parent->uuid) : NULL;
	AUTO_FREE char *ram =
		parent && is_checked(from, parent->parts, true) ? saved_ram_path(from) : NULL;

	return snapshot_memory_write(engine, directory, bytes, template, parent, ram, parts, err);
}

int snapshot_files_finish(struct engine *engine, const char *directory, const char *template,
			  const struct snapshot *parent, json_t *volumes, bool has_memory,
			  json_t **ret_parts, struct err *err)
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
	if (r == 0 && has_memory)
		r = write_memory(engine, directory, bytes, template, parent, parts, err);
	STRV_EACH (names, it)
		if (r == 0)
			r = sum_into(parts, directory, *it, err);
	if (r == 0)
		*ret_parts = TAKE_PTR(parts);
	return r;
}

/* --- use --- */

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
		r = snapshot_memory_make(directory, snapshot->parts, err);
	if (r < 0)
		return r;
	text = marker_text(directory, snapshot->parts);
	if (text && with_memory)
		file_write_atomic(marker_path, text, strlen(text), 0600, false, NULL);
	return 0;
}

/* --- clearing up --- */

static void prune_cache(const char *directory)
{
	static const char *const names[] = { "ram.json", "ram", SNAPSHOT_NEW_MEMORY };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = path_join(directory, "%s", names[i]);

		unlink(path);
	}
}

void snapshot_files_prune(struct engine *engine, bool caches)
{
	CLEANUP(snapshot_list_release) struct snapshot_list list = { 0 };

	snapshot_memory_prune(engine);
	if (!caches || snapshots_list(engine->store, &list, NULL) < 0)
		return;
	VEC_EACH (&list, it) {
		AUTO_FREE char *directory = snapshot_directory(engine, it->uuid);

		prune_cache(directory);
	}
}
