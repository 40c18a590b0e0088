/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template is a cache: nothing in it is worth a sync, everything in it is checked. The manifest
 * is written last into a directory of temporary name, which is then renamed. After a power cut the
 * manifest may be there and the memory file's pages not: hence the digest of the whole file, once
 * per boot of the host; between boots, size, times and inode tell.
 */
#include "vm/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "base/vec.h"
#include "vm/template_key.h"
#include "vm/template_make.h"
#include "vm/template_ram.h"

#define MANIFEST_MAX (1u << 20)
#define STATE_MAX (64ll << 20)
#define TEMPLATE_IMAGES_MAX 8
#define SPARE_BYTES (512ull << 20)
#define UNFINISHED ".making-" /* and the name: a template's directory while it is made */

/* Where the template of a shape is kept, and what guards it. */
struct place {
	const char *templates_dir;         /* borrowed */
	const char *run_dir;               /* borrowed */
	const struct machine_shape *shape; /* borrowed */
	const struct template *base;       /* borrowed; what an image's template is made of */
	struct template_key key;
};

static void place_release(struct place *place)
{
	template_key_release(&place->key);
}
#define AUTO_PLACE CLEANUP(place_release)

void template_release(struct template *template)
{
	free(template->directory);
	free(template->ram_path);
	free(template->state_path);
	free(template->scratch_path);
	*template = (struct template){ 0 };
}

void template_open(const char *directory, uint64_t ram_bytes, struct template *ret_template)
{
	struct stat st = { 0 };

	*ret_template = (struct template){
		.directory = xstrdup(directory),
		.ram_path = path_join(directory, "ram"),
		.state_path = path_join(directory, "state"),
		.ram_bytes = ram_bytes,
	};
	if (lstat(ret_template->ram_path, &st) == 0 && S_ISREG(st.st_mode))
		ret_template->ram_inode = st.st_ino;
	AUTO_FREE char *scratch = path_join(directory, "scratch.img");
	if (path_exists(scratch))
		ret_template->scratch_path = TAKE_PTR(scratch);
}

static int read_manifest(const char *directory, json_t **ret_manifest)
{
	AUTO_FREE char *path = path_join(directory, "manifest.json");
	AUTO_FREE char *text = NULL;
	size_t size;
	int r;

	r = file_read(path, MANIFEST_MAX, &text, &size, NULL);
	if (r < 0)
		return r;
	return json_parse(text, size, "the template's manifest", ret_manifest, NULL);
}

/* Describes a large file, so that file_is_unchanged knows it again. */
static int add_file(json_t *manifest, const char *name, const char *path, uint32_t crc,
		    struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot stat '%s': %m", path);
	json_object_set_new(manifest, name,
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "bytes",
				      (json_int_t)st.st_size, "inode", (json_int_t)st.st_ino,
				      "mtime", (json_int_t)st.st_mtim.tv_sec, "mtime_ns",
				      (json_int_t)st.st_mtim.tv_nsec, "ctime",
				      (json_int_t)st.st_ctim.tv_sec, "ctime_ns",
				      (json_int_t)st.st_ctim.tv_nsec, "crc32c", (json_int_t)crc));
	return 0;
}

static int write_manifest(const struct place *place, const char *directory,
			  const struct template_image *image, struct err *err)
{
	AUTO_FREE char *path = path_join(directory, "manifest.json");
	AUTO_FREE char *ram_path = path_join(directory, "ram");
	AUTO_FREE char *scratch_path = path_join(directory, "scratch.img");
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *manifest =
		json_pack("{s:s, s:s, s:I, s:I}", "key", place->key.text, "purpose",
			  place->key.purpose, "state_bytes", (json_int_t)image->state_bytes,
			  "state_crc32c", (json_int_t)image->state_crc);
	int r;

	if (place->shape->image)
		json_set_string(manifest, "image", place->shape->image->disk);
	r = add_file(manifest, "ram", ram_path, image->ram_crc, err);

	if (r == 0 && place->shape->scratch)
		r = add_file(manifest, "scratch", scratch_path, image->scratch_crc, err);
	if (r < 0)
		return r;
	text = json_text(manifest);
	return file_write_atomic(path, text, strlen(text), 0600, false, err);
}

static bool state_is_good(const struct template *template, const json_t *manifest)
{
	AUTO_CLOSE int fd = open(template->state_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int64_t bytes = json_get_int(manifest, "state_bytes", -1);
	AUTO_FREE uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || bytes <= 0 || bytes > STATE_MAX || st.st_size != bytes)
		return false;
	data = malloc((size_t)bytes);
	return data && fd_read_exact(fd, data, (size_t)bytes) == 0 &&
	       ~hash_crc32c(~0u, data, (size_t)bytes) ==
		       (uint32_t)json_get_int(manifest, "state_crc32c", -1);
}

/* The emulator of each container has the memory's file open for writing (it knows no other way to
 * map it privately). One that its guest took over could change it and set the time of modification
 * back; the time of change cannot be set. */
static bool file_is_unchanged(const char *path, const json_t *file)
{
	struct stat st;

	return path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == json_get_int(file, "bytes", -1) &&
	       st.st_ino == (uint64_t)json_get_int(file, "inode", -1) &&
	       st.st_mtim.tv_sec == json_get_int(file, "mtime", -1) &&
	       st.st_mtim.tv_nsec == json_get_int(file, "mtime_ns", -1) &&
	       st.st_ctim.tv_sec == json_get_int(file, "ctime", -1) &&
	       st.st_ctim.tv_nsec == json_get_int(file, "ctime_ns", -1);
}

static bool files_are_unchanged(const struct template *template, const json_t *manifest)
{
	const json_t *ram = json_get_object(manifest, "ram");
	const json_t *scratch = json_get_object(manifest, "scratch");

	return file_is_unchanged(template->ram_path, ram) &&
	       json_get_int(ram, "bytes", -1) == (int64_t) template->ram_bytes &&
	       (!scratch || file_is_unchanged(template->scratch_path, scratch));
}

static bool sum_is_right(const char *path, const json_t *file)
{
	AUTO_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	uint64_t bytes = (uint64_t)json_get_int(file, "bytes", 0);
	uint32_t crc;

	return fd >= 0 && template_ram_copy(fd, -1, bytes, &crc) == 0 &&
	       crc == (uint32_t)json_get_int(file, "crc32c", -1);
}

/* What the marker of a checked template holds: which boot of the host, and which file. */
static char *marker_text(const struct template *template)
{
	AUTO_FREE char *boot_id = NULL;

	if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL, NULL) < 0)
		return NULL;
	return xasprintf("%s%llu\n", boot_id, (unsigned long long)template->ram_inode);
}

static char *marker_path(const struct place *place)
{
	return path_join(place->run_dir, "template-%s.checked", place->key.name);
}

/* Best effort: without it the next start checks again. */
static void write_marker(const struct place *place, const struct template *template)
{
	AUTO_FREE char *path = marker_path(place);
	AUTO_FREE char *text = marker_text(template);

	if (text)
		file_write_atomic(path, text, strlen(text), 0600, false, NULL);
}

static bool files_are_good(const struct place *place, const struct template *template,
			   const json_t *manifest)
{
	AUTO_FREE char *path = marker_path(place);
	AUTO_FREE char *found = NULL;
	AUTO_FREE char *wanted = marker_text(template);
	const json_t *scratch = json_get_object(manifest, "scratch");

	if (wanted && file_read(path, 256, &found, NULL, NULL) == 0 && str_eq(found, wanted))
		return true;
	if (!sum_is_right(template->ram_path, json_get_object(manifest, "ram")) ||
	    (scratch && !sum_is_right(template->scratch_path, scratch)))
		return false;
	write_marker(place, template);
	return true;
}

static int find(const struct place *place, struct template *ret_template, struct err *err)
{
	CLEANUP(template_release) struct template template = { 0 };
	AUTO_FREE char *directory = path_join(place->templates_dir, "%s", place->key.name);
	AUTO_JSON json_t *manifest = NULL;

	if (read_manifest(directory, &manifest) < 0)
		return err_set(err, -ENOENT, "there is no template for this machine");
	template_open(directory, place->shape->memory_bytes, &template);
	if (!str_eq(json_get_string(manifest, "key"), place->key.text) ||
	    !state_is_good(&template, manifest) || !files_are_unchanged(&template, manifest) ||
	    !files_are_good(place, &template, manifest))
		return err_set(err, -ENOENT, "the template '%s' is damaged", directory);
	*ret_template = template;
	template = (struct template){ 0 };
	return 0;
}

static int place_init(struct place *place, const char *templates_dir, const char *run_dir,
		      const struct machine_shape *shape, struct err *err)
{
	*place = (struct place){ .templates_dir = templates_dir,
				 .run_dir = run_dir,
				 .shape = shape };
	return template_key_make(shape, &place->key, err);
}

int template_find(const char *templates_dir, const char *run_dir, const struct machine_shape *shape,
		  struct template *ret_template, struct err *err)
{
	AUTO_PLACE struct place place;
	int r;

	r = place_init(&place, templates_dir, run_dir, shape, err);
	if (r == 0)
		r = find(&place, ret_template, err);
	/* When it was used last: see remove_unused. */
	if (r == 0 && shape->image)
		utimensat(AT_FDCWD, ret_template->directory, NULL, 0);
	return r;
}

/* Beside the template: run directories differ between logins, and two makers of one template must
 * meet. */
static char *lock_path(const struct place *place, const char *name)
{
	return path_join(place->templates_dir, ".%s.lock", name);
}

/* Removes what an interrupted maker left. Those that are being made are locked. */
static void remove_unfinished(const struct place *place, const char *entry)
{
	AUTO_FREE char *path = path_join(place->templates_dir, "%s", entry);
	const char *name = str_after(entry, UNFINISHED);
	AUTO_FREE char *lock = lock_path(place, name);
	AUTO_CLOSE int fd = -1;

	if (!str_eq(name, place->key.name)) {
		fd = lock_take(lock, LOCK_EXCLUSIVE, false, NULL);
		if (fd < 0)
			return;
	}
	path_remove_tree(path, NULL);
}

static void remove_template(const struct place *place, const char *entry)
{
	AUTO_FREE char *path = path_join(place->templates_dir, "%s", entry);
	AUTO_FREE char *marker = path_join(place->run_dir, "template-%s.checked", entry);

	path_remove_tree(path, NULL);
	unlink(marker);
}

static bool is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* Removes a template that the new one replaces: same purpose, other inputs. */
static void remove_outdated(const struct place *place, const char *entry)
{
	AUTO_FREE char *path = path_join(place->templates_dir, "%s", entry);
	AUTO_JSON json_t *manifest = NULL;
	const char *rest;

	if (str_eq(entry, place->key.name) || read_manifest(path, &manifest) < 0)
		return;
	/* With what it was made of, an image's template is outdated as well. */
	rest = str_after(str_or(json_get_string(manifest, "purpose"), ""), place->key.purpose);
	if (rest && (!*rest || str_starts(rest, TEMPLATE_PURPOSE_IMAGE)))
		remove_template(place, entry);
}

/* Calls fn for each template of an image. */
static void each_image_template(const struct place *place,
				void (*fn)(void *ctx, const char *entry, const char *path,
					   const char *image_disk),
				void *ctx)
{
	DIR *dir = opendir(place->templates_dir);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = path_join(place->templates_dir, "%s", entry->d_name);
		AUTO_JSON json_t *manifest = NULL;
		const char *disk;

		if (entry->d_name[0] == '.' || read_manifest(path, &manifest) < 0)
			continue;
		disk = json_get_string(manifest, "image");
		if (disk)
			fn(ctx, entry->d_name, path, disk);
	}
	if (dir)
		closedir(dir);
}

struct template_use {
	char name[TEMPLATE_NAME_LENGTH + 1];
	struct timespec at; /* see template_find */
};

struct template_uses {
	struct template_use *items;
	size_t count, capacity;
};

static void note_use(void *ctx, const char *entry, const char *path, const char *image_disk)
{
	struct template_uses *uses = ctx;
	struct template_use use = { 0 };
	struct stat st;

	if (strlen(entry) >= sizeof(use.name) || stat(path, &st) < 0)
		return;
	memcpy(use.name, entry, strlen(entry));
	use.at = st.st_mtim;
	VEC_PUSH(uses, use);
}

/* Of the templates of images, what was used last is kept. */
static void remove_unused(const struct place *place)
{
	struct template_uses uses = { 0 };

	each_image_template(place, note_use, &uses);
	while (uses.count > TEMPLATE_IMAGES_MAX) {
		size_t oldest = 0;

		for (size_t i = 1; i < uses.count; i++)
			if (is_before(uses.items[i].at, uses.items[oldest].at))
				oldest = i;
		remove_template(place, uses.items[oldest].name);
		VEC_REMOVE(&uses, oldest);
	}
	VEC_FREE(&uses);
}

struct prune {
	const struct place *place;
	uint64_t bytes;
};

static void prune_one(void *ctx, const char *entry, const char *path, const char *image_disk)
{
	struct prune *prune = ctx;

	if (path_exists(image_disk))
		return;
	prune->bytes += path_disk_usage(path);
	remove_template(prune->place, entry);
}

uint64_t template_prune(const char *templates_dir, const char *run_dir)
{
	const struct place place = { .templates_dir = templates_dir, .run_dir = run_dir };
	struct prune prune = { .place = &place };

	each_image_template(&place, prune_one, &prune);
	return prune.bytes;
}

static void clean(const struct place *place, bool outdated)
{
	DIR *dir = opendir(place->templates_dir);
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (!outdated && str_starts(entry->d_name, UNFINISHED))
			remove_unfinished(place, entry->d_name);
		else if (outdated && entry->d_name[0] != '.')
			remove_outdated(place, entry->d_name);
	}
	closedir(dir);
}

static int make_in(const struct place *place, const char *unfinished, const char *directory,
		   const struct template_progress *progress, struct err *err)
{
	AUTO_FREE char *initramfs = path_join(unfinished, "initramfs");
	struct template_image image;
	int r;

	if (mkdir(unfinished, 0700) < 0)
		return err_set(err, -errno, "cannot create '%s': %m", unfinished);
	r = template_make(unfinished, place->shape, place->base, progress, &image, err);
	if (r < 0)
		return r;
	unlink(initramfs);
	r = write_manifest(place, unfinished, &image, err);
	if (r < 0)
		return r;
	if (rename(unfinished, directory) < 0)
		return err_set(err, -errno, "cannot rename '%s' to '%s': %m", unfinished,
			       directory);
	return 0;
}

static int make(const struct place *place, const struct template_progress *progress,
		struct err *err)
{
	AUTO_FREE char *directory = path_join(place->templates_dir, "%s", place->key.name);
	AUTO_FREE char *unfinished =
		path_join(place->templates_dir, UNFINISHED "%s", place->key.name);
	int r;

	clean(place, false);
	r = path_remove_tree(directory, err);
	if (r == 0)
		r = make_in(place, unfinished, directory, progress, err);
	/* One boot in some hundreds ends early under emulation. */
	if (r == -EIO && path_remove_tree(unfinished, err) == 0)
		r = make_in(place, unfinished, directory, progress, err);
	if (r < 0) {
		path_remove_tree(unfinished, NULL);
		err_context(err, "cannot make a template");
		return r;
	}
	clean(place, true);
	return 0;
}

/* The lock of the one maker of this template; says so when it has to wait for another. */
static int lock_maker(const struct place *place, const struct template_progress *progress,
		      struct err *err)
{
	AUTO_FREE char *path = lock_path(place, place->key.name);
	int fd = lock_take(path, LOCK_EXCLUSIVE, false, err);

	if (fd != -EWOULDBLOCK)
		return fd;
	if (progress)
		progress->step(progress->ctx,
			       "waiting for another command that makes the template");
	return lock_take(path, LOCK_EXCLUSIVE, true, err);
}

/* Just made, by us and under the lock: its sums need not be taken again. */
static void trust_made(const struct place *place)
{
	AUTO_FREE char *directory = path_join(place->templates_dir, "%s", place->key.name);
	CLEANUP(template_release) struct template template = { 0 };

	template_open(directory, place->shape->memory_bytes, &template);
	write_marker(place, &template);
}

int template_ensure(const char *templates_dir, const char *run_dir,
		    const struct machine_shape *shape, const struct template_progress *progress,
		    struct template *ret_template, struct err *err)
{
	AUTO_PLACE struct place place;
	AUTO_CLOSE int lock = -1;
	int r;

	r = place_init(&place, templates_dir, run_dir, shape, err);
	if (r < 0)
		return r;
	if (find(&place, ret_template, NULL) == 0)
		return 0;
	r = path_make_dirs(templates_dir, 0700, err);
	if (r < 0)
		return r;
	lock = lock_maker(&place, progress, err);
	if (lock < 0)
		return lock;
	if (find(&place, ret_template, NULL) == 0)
		return 0;
	r = make(&place, progress, err);
	if (r < 0)
		return r;
	trust_made(&place);
	return find(&place, ret_template, err);
}

/* Whether the disk has room for as much as base takes, and more: a machine whose writes find the
 * disk full is put on hold, and nobody has asked for this template. */
static bool has_room(const char *templates_dir, const struct template *base)
{
	uint64_t needed = path_disk_usage(base->directory) + SPARE_BYTES;
	struct statvfs st;

	return statvfs(templates_dir, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize >= needed;
}

int template_derive(const char *templates_dir, const char *run_dir,
		    const struct machine_shape *shape, const struct template *base, struct err *err)
{
	CLEANUP(template_release) struct template template = { 0 };
	AUTO_PLACE struct place place;
	AUTO_FREE char *path = NULL;
	AUTO_CLOSE int lock = -1;
	int r = place_init(&place, templates_dir, run_dir, shape, err);

	if (r < 0)
		return r;
	place.base = base;
	path = lock_path(&place, place.key.name);
	lock = lock_take(path, LOCK_EXCLUSIVE, false, err);
	if (lock < 0)
		return lock;
	if (find(&place, &template, NULL) == 0)
		return -EEXIST;
	if (!has_room(templates_dir, base))
		return err_set(err, -ENOSPC, "the disk has too little room for another template");
	r = make(&place, NULL, err);
	if (r < 0)
		return r;
	trust_made(&place);
	remove_unused(&place);
	return 0;
}

void template_discard(struct template *template)
{
	AUTO_FREE char *manifest = path_join(template->directory, "manifest.json");
	struct stat st;

	/* Another command may have discarded it and made a new one. */
	if (stat(template->ram_path, &st) < 0 || st.st_ino != template->ram_inode)
		return;
	/* Without its manifest it is no template: the next maker removes the rest. Who may not
	 * remove it (shim/confine.h) changes the memory's time, which the manifest names. */
	if (unlink(manifest) < 0)
		utimensat(AT_FDCWD, template->ram_path, NULL, AT_SYMLINK_NOFOLLOW);
}
