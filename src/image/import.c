/* SPDX-License-Identifier: Apache-2.0 */
/* A root file system tar becomes an image of one layer. */
#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/filter.h"
#include "image/verbs.h"

#define BUSYBOX_MAX_BYTES (32 * 1024 * 1024)
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct import {
	struct task *task;
	const char *reference;
	struct platform platform;
	json_t *config; /* borrowed: the "config" object */
	int64_t created;
	const char *by;
};

/* Stores the config and manifest of one layer, and the row. */
static int finish(const struct import *import, struct descriptor *layer, const char *diff_id,
		  json_t **ret_result, struct err *err)
{
	AUTO_FREE char *created = str_time(import->created);
	AUTO_FREE char *key = NULL;
	AUTO_STRV char **diff_ids = NULL;
	AUTO_JSON json_t *manifest = NULL;
	CLEANUP(descriptor_release) struct descriptor config = { 0 };
	CLEANUP(descriptor_release) struct descriptor document = { 0 };
	AUTO_JSON json_t *json = json_pack(
		"{s:s, s:s, s:s, s:O, s:{s:s, s:[s]}, s:[{s:s, s:s}]}", "created", created, "os",
		import->platform.os, "architecture", import->platform.architecture, "config",
		import->config, "rootfs", "type", "layers", "diff_ids", diff_id, "history",
		"created", created, "created_by", import->by);
	int r;

	if (import->platform.variant[0])
		json_set_string(json, "variant", import->platform.variant);
	r = blob_put_json(import->task->root, json, MEDIA_OCI_CONFIG, &config, err);
	if (r < 0)
		return r;
	manifest = json_pack("{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType",
			     MEDIA_OCI_MANIFEST, "config", descriptor_json(&config), "layers",
			     descriptor_json(layer));
	r = blob_put_json(import->task->root, manifest, MEDIA_OCI_MANIFEST, &document, err);
	if (r < 0)
		return r;
	strv_push(&diff_ids, diff_id);
	r = disk_make(import->task, diff_ids, &key, err);
	if (r == 0)
		r = task_set_reference(import->task, import->reference, &document, err);
	if (r == 0)
		*ret_result = json_pack("{s:s, s:s}", "reference", import->reference, "digest",
					document.digest);
	return r;
}

int layer_import(struct task *task, struct stream *source, struct descriptor *ret_layer,
		 char **ret_diff_id, struct err *err)
{
	AUTO_FREE char *path = NULL;
	char digest[STREAM_DIGEST_LENGTH + 1];
	AUTO_STREAM struct stream *hashed =
		stream_digest_new(source, "archive", NULL, 0, &task->cancelled);
	AUTO_STREAM struct stream *tar = NULL;
	AUTO_CLOSE int fd = blob_temporary(task->root, &path, err);
	enum compression kind;
	int r;

	if (fd < 0)
		return fd;
	tar = stream_decompress_new(stream_tee_new(stream_borrow(hashed), fd));
	r = layer_make(task, tar, NULL, ret_diff_id, err);
	if (r == 0) {
		stream_digest_text(hashed, digest);
		r = blob_commit(task->root, fd, path, digest, err);
	}
	if (r < 0) {
		unlink(path);
		return r;
	}
	kind = stream_decompress_kind(tar);
	*ret_layer = (struct descriptor){
		.media_type = xasprintf("%s%s", MEDIA_OCI_LAYER,
					kind == COMPRESSION_GZIP   ? "+gzip"
					: kind == COMPRESSION_ZSTD ? "+zstd"
								   : ""),
		.digest = xstrdup(digest),
		.size = stream_digest_count(hashed),
	};
	return 0;
}

static int import_stream(const struct import *import, struct stream *source, json_t **ret_result,
			 struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor layer = { 0 };
	AUTO_FREE char *diff_id = NULL;
	int r = layer_import(import->task, source, &layer, &diff_id, err);

	return r < 0 ? r : finish(import, &layer, diff_id, ret_result, err);
}

int task_reference(const struct task *task, char **ret_text, struct err *err)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	const char *text;
	int r = task_string(task, "reference", &text, err);

	if (r == 0)
		r = image_ref_parse(text, NULL, &ref, err);
	if (r == 0 && ref.digest)
		r = err_set(err, -EINVAL, "'%s' cannot be chosen: it has a digest", text);
	if (r == 0)
		*ret_text = image_ref_text(&ref);
	return r;
}

int verb_import(struct task *task, json_t **ret_result, struct err *err)
{
	AUTO_JSON json_t *config = json_object();
	AUTO_STRV char **changes = json_get_strv(task->request, "changes");
	AUTO_FREE char *reference = NULL;
	AUTO_CLOSE int fd = -1;
	const char *name;
	struct import import = {
		.task = task, .config = config, .created = time(NULL), .by = "hull image import"
	};
	int r = task_reference(task, &reference, err);

	if (r == 0)
		r = task_platform(task, &import.platform, err);
	STRV_EACH (changes, it)
		if (r == 0)
			r = change_apply(config, *it, err);
	if (r < 0)
		return r;
	if (!json_get_array(config, "Env"))
		json_object_set_new(config, "Env", json_pack("[s]", DEFAULT_PATH));
	fd = task_input(task, &name, err);
	if (fd < 0)
		return fd;
	import.reference = reference;
	r = import_stream(&import, stream_filter_new(stream_fd_new(fd, name)), ret_result, err);
	if (r < 0)
		err_context(err, "cannot import %s", name);
	return r;
}

/* The built-in image: busybox with links for its applets. */

struct builtin {
	struct archive *archive;
	struct sbuf tar;
	time_t mtime;
};

static la_ssize_t builtin_write(struct archive *archive, void *ctx, const void *data, size_t size)
{
	struct builtin *builtin = ctx;

	sbuf_add_bytes(&builtin->tar, data, size);
	return (la_ssize_t)size;
}

static void add(struct builtin *builtin, const char *path, mode_t mode, const char *link,
		const void *data, size_t size)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry, mode);
	archive_entry_set_mtime(entry, builtin->mtime, 0);
	archive_entry_set_size(entry, (la_int64_t)size);
	if (link)
		archive_entry_set_symlink(entry, link);
	archive_write_header(builtin->archive, entry);
	if (size > 0)
		archive_write_data(builtin->archive, data, size);
	archive_entry_free(entry);
}

static void add_text(struct builtin *builtin, const char *path, const char *text)
{
	add(builtin, path, S_IFREG | 0644, NULL, text, strlen(text));
}

/* A program that needs a loader or libraries of the host would not run in the image. */
static bool is_static_elf(const char *data, size_t size)
{
	Elf64_Ehdr header;

	if (size < sizeof(header) || memcmp(data, ELFMAG, SELFMAG) != 0)
		return false;
	memcpy(&header, data, sizeof(header));
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	for (size_t i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;
		uint64_t offset = header.e_phoff + i * sizeof(segment);

		if (offset > size || size - offset < sizeof(segment))
			return false;
		memcpy(&segment, data + offset, sizeof(segment));
		if (segment.p_type == PT_INTERP)
			return false;
	}
	return true;
}

static void add_directories(struct builtin *builtin)
{
	static const struct {
		const char *path;
		mode_t mode;
	} directories[] = {
		{ "bin", 0755 },      { "dev", 0755 },  { "etc", 0755 },     { "home", 0755 },
		{ "proc", 0555 },     { "root", 0700 }, { "run", 0755 },     { "sbin", 0755 },
		{ "sys", 0555 },      { "tmp", 01777 }, { "usr", 0755 },     { "usr/bin", 0755 },
		{ "usr/sbin", 0755 }, { "var", 0755 },  { "var/log", 0755 }, { "var/tmp", 01777 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		add(builtin, directories[i].path, S_IFDIR | directories[i].mode, NULL, NULL, 0);
	add_text(builtin, "etc/passwd",
		 "root:x:0:0:root:/root:/bin/sh\n"
		 "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
		 "nobody:x:65534:65534:nobody:/home:/bin/false\n");
	add_text(builtin, "etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n");
	add_text(builtin, "etc/shadow", "root:*:::::::\n");
}

static int build_tar(struct builtin *builtin, const char *path, struct err *err)
{
	char *const argv[] = { (char *)path, "--list-full", NULL };
	AUTO_FREE char *list = NULL;
	AUTO_FREE char *program = NULL;
	AUTO_STRV char **applets = NULL;
	size_t size;
	int r = file_read(path, BUSYBOX_MAX_BYTES, &program, &size, err);

	if (r < 0)
		return r;
	if (!is_static_elf(program, size))
		return err_set(err, -ENOEXEC,
			       "'%s' is not a static program; install the package busybox-static",
			       path);
	r = proc_output(argv, false, 65536, &list, err);
	if (r != 0)
		return r < 0 ? r : err_set(err, -ENOEXEC, "'%s' does not list its applets", path);
	add_directories(builtin);
	add(builtin, "bin/busybox", S_IFREG | 0755, NULL, program, size);
	applets = str_split(list, '\n', 0);
	STRV_EACH (applets, it) {
		const char *applet = str_or(str_after(*it, "/"), *it);

		if (applet[0] && !strstr(applet, "..") && !str_eq(applet, "bin/busybox") &&
		    strlen(applet) < 64)
			add(builtin, applet, S_IFLNK | 0777, "/bin/busybox", NULL, 0);
	}
	return 0;
}

int verb_import_builtin(struct task *task, json_t **ret_result, struct err *err)
{
	struct builtin builtin = { .archive = archive_write_new() };
	AUTO_JSON json_t *config = json_pack("{s:[s], s:[s]}", "Cmd", "sh", "Env", DEFAULT_PATH);
	struct import import = { .task = task,
				 .config = config,
				 .by = "hull image import --builtin" };
	AUTO_FREE char *reference = NULL;
	const char *path;
	struct stat st;
	int r = task_string(task, "busybox", &path, err);

	if (r == 0)
		r = task_reference(task, &reference, err);
	if (r == 0 && stat(path, &st) < 0)
		r = err_set(err, -errno, "cannot open '%s': %m", path);
	if (r == 0) {
		import.platform = platform_host();
		import.reference = reference;
		import.created = builtin.mtime = st.st_mtime;
		archive_write_set_format_ustar(builtin.archive);
		archive_write_open(builtin.archive, &builtin, NULL, builtin_write, NULL);
		r = build_tar(&builtin, path, err);
	}
	archive_write_free(builtin.archive); /* closes: writes the end */
	if (r == 0)
		r = import_stream(&import, stream_memory_new(builtin.tar.text, builtin.tar.length),
				  ret_result, err);
	sbuf_release(&builtin.tar);
	return r;
}
