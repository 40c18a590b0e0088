/* SPDX-License-Identifier: Apache-2.0 */
/* A container's root file system as a whole, and what was changed in it: export, diff, commit. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "engine/files.h"
#include "engine/stream.h"
#include "shim/launch.h"

#define LIST_MAX (64 * 1024 * 1024) /* bytes of a list of changes */
#define ATTEMPTS 5

/* Runs a copy out of the container, into output (borrowed). */
static int run_out(struct engine *engine, const char *id, enum msg_copy_op op, bool freeze,
		   int output, const char *what, struct err *err)
{
	const struct msg_copy message = { .id = MSG_PROCESS_MAIN + 1,
					  .op = op,
					  .flags = freeze ? MSG_COPY_FREEZE : 0 };
	int r = -EAGAIN;

	/* It may end while it is asked: then it is asked again, as one that is stopped. */
	for (int i = 0; i < ATTEMPTS && r == -EAGAIN; i++) {
		CLEANUP(files_release) struct files files = { .connection = -1 };
		bool broken = false;

		r = files_open(engine, id, &files, err);
		if (r == 0)
			r = stream_run(engine, TAKE_FD(files.connection), &message, -1, output,
				       what, &broken, err);
		if (broken)
			r = err_set(err, -ENOSPC, "cannot write what the container holds: %m");
	}
	return r;
}

int engine_export(struct engine *engine, const char *id, const char *path, struct err *err)
{
	AUTO_FREE char *temporary = path ? xasprintf("%s.part", path) : NULL;
	AUTO_CLOSE int fd =
		path ? open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
	int r;

	if (path && fd < 0)
		return err_set(err, -errno, "cannot create '%s': %m", temporary);
	r = run_out(engine, id, MSG_COPY_EXPORT, true, path ? fd : STDOUT_FILENO,
		    path ? "export" : NULL, err);
	if (r == 0 && path && rename(temporary, path) < 0)
		r = err_set(err, -errno, "cannot create '%s': %m", path);
	if (r < 0 && path)
		unlink(temporary);
	return r;
}

/* --- diff --- */

void change_list_release(struct change_list *list)
{
	VEC_EACH (list, it)
		free(it->path);
	VEC_FREE(list);
}

/* Memory that does not grow beyond what a list may be, whatever the guest says. */
static int open_list(struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("hull-changes", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, LIST_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
		return err_set(err, -errno, "cannot make a file in memory: %m");
	return TAKE_FD(fd);
}

/* The records of proto/copy.h. */
static int parse_list(const char *text, size_t size, struct change_list *list, struct err *err)
{
	while (size) {
		size_t length = strnlen(text, size);

		if (length == size || length < 2 || !strchr("ACD", text[0]) || text[1] != '/')
			return err_set(err, -EPROTO, "the guest broke the protocol");
		VEC_PUSH(list, ((struct change){ .kind = text[0], .path = xstrdup(text + 1) }));
		text += length + 1;
		size -= length + 1;
	}
	return 0;
}

int engine_diff(struct engine *engine, const char *id, struct change_list *ret_list,
		struct err *err)
{
	CLEANUP(change_list_release) struct change_list list = { 0 };
	AUTO_CLOSE int fd = open_list(err);
	AUTO_FREE char *text = NULL;
	off_t size;
	int r = fd < 0 ? fd : run_out(engine, id, MSG_COPY_DIFF, false, fd, NULL, err);

	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_CUR);
	text = xmalloc((size_t)size + 1);
	r = fd_pread_exact(fd, text, (size_t)size, 0);
	if (r < 0)
		return err_set(err, r, "cannot read the changes: %m");
	r = parse_list(text, (size_t)size, &list, err);
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct change_list){ 0 };
	return 0;
}

/* --- commit --- */

/* A file without a name, where containers lie. */
static int open_layer(struct engine *engine, struct err *err)
{
	AUTO_FREE char *dir = path_join(engine->root, "containers");
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? err_set(err, -errno, "cannot make a file in '%s': %m", dir) : fd;
}

/* What the image's program and arguments are said to be, if the container runs other ones. */
static json_t *process_json(const struct process_config *process)
{
	json_t *json =
		json_pack("{s:o, s:s, s:s*, s:o}", "env", json_from_strv(process->environment),
			  "working_directory", str_or(process->working_directory, "/"), "user",
			  process->user, "command", json_array());
	json_t *command = json_get_array(json, "command");

	json_array_append_new(command, json_string(process->executable));
	STRV_EACH (process->arguments, it)
		json_array_append_new(command, json_string(*it));
	return json;
}

static json_t *commit_request(const struct container_config *config,
			      const struct commit_options *options)
{
	AUTO_FREE char *platform = xasprintf(
		"%s/%s%s%s", config->platform.os, config->platform.architecture,
		config->platform.variant ? "/" : "", str_or(config->platform.variant, ""));
	json_t *request = json_object();

	json_set_string(request, "base", config->manifest_digest);
	json_set_string(request, "base_name", config->image.reference);
	json_set_string(request, "platform", platform);
	json_set_string(request, "author", options->author);
	json_set_string(request, "message", options->message);
	json_object_set_new(request, "changes", json_from_strv(options->changes));
	json_object_set_new(request, "process", process_json(&config->process));
	json_object_set(request, "labels", config->labels);
	return request;
}

/* hull-image reads the layer from our standard input. */
static int run_worker(struct engine *engine, int layer, json_t *request, json_t **ret_result,
		      struct err *err)
{
	AUTO_CLOSE int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int r;

	if (lseek(layer, 0, SEEK_SET) < 0 || dup2(layer, STDIN_FILENO) < 0) {
		json_decref(request);
		return err_set(err, -errno, "cannot pass on the layer: %m");
	}
	r = images_worker(engine, "commit", request, ret_result, err);
	if (saved >= 0)
		dup2(saved, STDIN_FILENO);
	return r;
}

int engine_commit(struct engine *engine, const char *id, const struct commit_options *options,
		  char **ret_reference, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	AUTO_FREE char *reference = NULL;
	AUTO_JSON json_t *result = NULL;
	AUTO_CLOSE int layer = -1;
	json_t *request;
	int r = images_normalise(engine, options->reference, &reference, err);

	if (r == 0)
		r = engine_get(engine, id, &container, err);
	if (r == 0)
		layer = r = open_layer(engine, err);
	if (r >= 0)
		r = run_out(engine, id, MSG_COPY_LAYER, options->pause, layer, "commit", err);
	if (r < 0 || !container)
		return r;
	request = commit_request(&container->config, options);
	json_set_string(request, "reference", reference);
	r = run_worker(engine, layer, request, &result, err);
	if (r == 0)
		*ret_reference = xstrdup(str_or(json_get_string(result, "reference"), reference));
	return r;
}
