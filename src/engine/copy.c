/* SPDX-License-Identifier: Apache-2.0 */
/* Files between the host and containers, and from one of these to another: what `hull cp` does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/confine.h"
#include "engine/files.h"
#include "engine/stream.h"
#include "tar/pack.h"
#include "tar/place.h"
#include "tar/unpack.h"

#define PIPE_SIZE (1024 * 1024)
#define ATTEMPTS 5

/* One side of a copy. */
struct side {
	const char *path; /* borrowed from what was typed */
	char *container;  /* owned; NULL: a path of the host */
	bool is_stream;   /* "-" */
};

static void side_release(struct side *side)
{
	free(side->container);
}

/* As docker has it: what begins with '/' or '.' is of the host; else a colon ends the name of a
 * container. */
static int parse_side(const char *text, struct side *ret_side, struct err *err)
{
	const char *colon = strchr(text, ':');

	*ret_side = (struct side){ .path = text };
	if (!*text)
		return err_set(err, -EINVAL, "a path is empty");
	if (str_eq(text, "-")) {
		ret_side->is_stream = true;
		return 0;
	}
	if (*text == '/' || *text == '.' || !colon)
		return 0;
	if (colon == text || !colon[1])
		return err_set(err, -EINVAL, "'%s' is not CONTAINER:PATH", text);
	ret_side->container = xstrndup(text, (size_t)(colon - text));
	ret_side->path = colon + 1;
	return 0;
}

/* --- what helpers do --- */

static int write_fd(void *ctx, const void *data, size_t size)
{
	return fd_write_all(*(const int *)ctx, data, size);
}

static long read_fd(void *ctx, void *data, size_t size)
{
	ssize_t n;

	do
		n = read(*(const int *)ctx, data, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

struct pack_job {
	const struct source *source;
	bool root_owned;
	int output;
};

static int pack_files(void *ctx, struct err *err)
{
	struct pack_job *job = ctx;
	const struct pack_options options = { .name = str_or(job->source->name, "."),
					      .root_owned = job->root_owned,
					      .warn = helper_warn };
	CLEANUP(tar_writer_freep)
	struct tar_writer *writer = tar_writer_new(write_fd, &job->output);
	int r = pack(writer, job->source->dir_fd, job->source->leaf, &options, err);

	if (r == 0)
		r = tar_writer_finish(writer);
	return r < 0 && !err->code ? err_set(err, r, "cannot pass on the files: %m") : r;
}

struct unpack_job {
	const struct place *place;
	bool archive;
	int input;
};

static int unpack_files(void *ctx, struct err *err)
{
	struct unpack_job *job = ctx;
	const struct unpack_options options = {
		.base_fd = job->place->dir_fd,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
		.prefix = "",
		.top = job->place->name,
		.top_is_directory = job->place->is_directory,
		.keep_owner = job->archive,
		.all_modes = job->archive,
		.warn = helper_warn,
	};
	CLEANUP(tar_reader_freep) struct tar_reader *reader = NULL;
	int r = confine_to_directory(job->place->dir_fd, err);

	if (r < 0)
		return r;
	reader = tar_reader_new(read_fd, &job->input);
	umask(0);
	r = unpack(reader, &options, err);
	return r < 0 ? r : tar_reader_drain(reader);
}

/* --- the copies --- */

static int open_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %m");
	fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns; as it is otherwise */
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

static struct msg_copy read_message(const struct side *from, const struct copy_options *options)
{
	return (struct msg_copy){ .id = MSG_PROCESS_MAIN + 1,
				  .op = MSG_COPY_READ,
				  .flags = options->follow ? MSG_COPY_FOLLOW : 0,
				  .path = from->path };
}

/* Container to host. The guest's reason counts, unless it is only that we stopped listening. */
static int copy_out(struct engine *engine, const struct side *from, const struct side *to,
		    const struct copy_options *options, struct err *err)
{
	CLEANUP(place_release) struct place place = { .dir_fd = -1 };
	struct msg_copy message = read_message(from, options);
	AUTO_FREE char *name = place_source_name(from->path);
	AUTO_CLOSE int input = -1;
	AUTO_CLOSE int output = -1;
	CLEANUP(files_release) struct files files = { .connection = -1 };
	struct helper helper = { .report = -1 };
	struct err guest_err = { 0 };
	bool broken = false;
	int guest;
	int r = place_find(AT_FDCWD, 0, to->path, name, &place, err);

	if (r == 0)
		r = files_open(engine, from->container, &files, err);
	if (r == 0)
		r = open_pipe(&input, &output, err);
	if (r < 0)
		return r;
	struct unpack_job job = { &place, options->archive, input };
	r = helper_start(unpack_files, &job, (int[]){ place.dir_fd, input, -1 }, &helper, err);
	if (r < 0)
		return r;
	close(TAKE_FD(input));
	guest = stream_run(engine, TAKE_FD(files.connection), &message, -1, output, "copy", &broken,
			   &guest_err);
	close(TAKE_FD(output));
	if (guest < 0 && !broken) {
		helper_finish(engine, &helper, NULL);
		return err_set(err, guest, "%s", guest_err.message);
	}
	return helper_finish(engine, &helper, err);
}

static struct msg_copy write_message(const struct side *to, const char *name)
{
	return (struct msg_copy){ .id = MSG_PROCESS_MAIN + 1,
				  .op = MSG_COPY_WRITE,
				  .flags = MSG_COPY_KEEP_OWNER,
				  .path = to->path,
				  .name = name };
}

/* Runs a copy into a container of what a helper writes. What the helper could not read counts,
 * unless it is only that the guest stopped listening. connection is taken. */
static int feed(struct engine *engine, int connection, const struct msg_copy *message, helper_fn fn,
		void *job, const int fds[2], int needed, struct err *err)
{
	struct helper helper = { .report = -1 };
	struct err guest_err = { 0 };
	int guest;
	int r = helper_start(fn, job, (int[]){ fds[1], needed, -1 }, &helper, err);

	close(fds[1]);
	if (r < 0) {
		close(connection);
		close(fds[0]);
		return r;
	}
	guest = stream_run(engine, connection, message, fds[0], -1, "copy", NULL, &guest_err);
	close(fds[0]);
	r = helper_finish(engine, &helper, err);
	if (guest < 0 && (r == 0 || r == -EPIPE))
		return err_set(err, guest, "%s", guest_err.message);
	return r;
}

/* Host to container. */
static int copy_in(struct engine *engine, const struct side *from, const struct side *to,
		   const struct copy_options *options, struct err *err)
{
	CLEANUP(source_release) struct source source = { .dir_fd = -1 };
	CLEANUP(files_release) struct files files = { .connection = -1 };
	struct pack_job job = { &source, !options->archive, -1 };
	struct msg_copy message;
	int fds[2] = { -1, -1 };
	int r = source_find(AT_FDCWD, 0, from->path, options->follow, &source, err);

	if (r == 0)
		r = files_open(engine, to->container, &files, err);
	if (r == 0)
		r = open_pipe(&fds[0], &fds[1], err);
	if (r < 0)
		return r;
	message = write_message(to, source.name);
	job.output = fds[1];
	return feed(engine, TAKE_FD(files.connection), &message, pack_files, &job, fds,
		    source.dir_fd, err);
}

/* --- from one container to another --- */

struct read_job {
	struct engine *engine;
	struct msg_copy message;
	int connection, output;
};

static int read_files(void *ctx, struct err *err)
{
	struct read_job *job = ctx;
	bool broken = false;
	int r = stream_run(job->engine, job->connection, &job->message, -1, job->output, NULL,
			   &broken, err);

	return broken ? err_set(err, -EPIPE, "cannot pass on the files: %m") : r;
}

/* Both, in an order that is the same for everybody: nobody waits for a machine that is held by
 * somebody who waits for ours. */
static int open_both(struct engine *engine, const struct side *from, const struct side *to,
		     struct files *from_files, struct files *to_files, struct err *err)
{
	CLEANUP(container_freep) struct container *source = NULL;
	CLEANUP(container_freep) struct container *destination = NULL;
	bool first;
	int r = engine_get(engine, from->container, &source, err);

	if (r == 0)
		r = engine_get(engine, to->container, &destination, err);
	if (r != 0)
		return r;
	if (str_eq(source->uuid, destination->uuid)) {
		/* The source's is the one that is released last. */
		r = files_open(engine, from->container, from_files, err);
		if (r < 0)
			return r;
		return from_files->shim ? files_join(engine, source, from_files, to_files, err)
					: files_open(engine, to->container, to_files, err);
	}
	first = strcmp(source->uuid, destination->uuid) < 0;
	r = files_open(engine, first ? from->container : to->container,
		       first ? from_files : to_files, err);
	return r < 0 ? r
		     : files_open(engine, first ? to->container : from->container,
				  first ? to_files : from_files, err);
}

static int copy_between(struct engine *engine, const struct side *from, const struct side *to,
			const struct copy_options *options, struct err *err)
{
	CLEANUP(files_release) struct files from_files = { .connection = -1 };
	CLEANUP(files_release) struct files to_files = { .connection = -1 };
	AUTO_FREE char *name = place_source_name(from->path);
	struct read_job job = { .engine = engine, .message = read_message(from, options) };
	struct msg_copy message = write_message(to, name);
	int fds[2] = { -1, -1 };
	int r = open_both(engine, from, to, &from_files, &to_files, err);

	if (r == 0)
		r = open_pipe(&fds[0], &fds[1], err);
	if (r < 0)
		return r;
	if (!options->archive)
		message.flags &= ~(uint32_t)MSG_COPY_KEEP_OWNER;
	job.connection = from_files.connection;
	job.output = fds[1];
	r = feed(engine, TAKE_FD(to_files.connection), &message, read_files, &job, fds,
		 job.connection, err);
	return r;
}

/* --- archives --- */

static int stream_out(struct engine *engine, const struct side *from,
		      const struct copy_options *options, struct err *err)
{
	struct msg_copy message = read_message(from, options);
	bool broken = false;
	CLEANUP(files_release) struct files files = { .connection = -1 };
	int r = files_open(engine, from->container, &files, err);

	if (r == 0)
		r = stream_run(engine, TAKE_FD(files.connection), &message, -1, STDOUT_FILENO, NULL,
			       &broken, err);
	return broken ? err_set(err, -EPIPE, "cannot write the archive: %m") : r;
}

struct expand_job {
	struct engine *engine;
	int output;
};

/* Standard input, decompressed if it has to be, by a program that is linked with what that needs.
 */
static int expand(void *ctx, struct err *err)
{
	struct expand_job *job = ctx;

	if (dup2(job->output, STDOUT_FILENO) < 0)
		return err_set(err, -errno, "cannot pass on the archive: %m");
	close(job->output);
	return images_worker(job->engine, "expand", json_object(), NULL, err);
}

/* Nobody waits for the end of standard input when the guest wants no more of it. */
static int stream_in(struct engine *engine, const struct side *to, struct err *err)
{
	struct msg_copy message = write_message(to, NULL);
	CLEANUP(files_release) struct files files = { .connection = -1 };
	CLEANUP(helper_kill) struct helper helper = { .report = -1 };
	struct expand_job job = { .engine = engine };
	struct err expand_err = { 0 };
	AUTO_CLOSE int input = -1;
	AUTO_CLOSE int output = -1;
	int r = files_open(engine, to->container, &files, err);
	int expanded;

	if (r == 0)
		r = open_pipe(&input, &output, err);
	if (r < 0)
		return r;
	job.output = output;
	message.flags |= MSG_COPY_KEEP_NAMES;
	r = helper_start(expand, &job, (int[]){ output, -1 }, &helper, err);
	if (r < 0)
		return r;
	close(TAKE_FD(output));
	r = stream_run(engine, TAKE_FD(files.connection), &message, input, -1, "copy", NULL, err);
	close(TAKE_FD(input));
	if (r < 0 && !helper_has_ended(&helper))
		return r;
	expanded = helper_finish(engine, &helper, &expand_err);
	return expanded < 0 && expanded != -EPIPE ? err_set(err, expanded, "%s", expand_err.message)
						  : r;
}

static int copy_once(struct engine *engine, const struct side *from, const struct side *to,
		     const struct copy_options *options, struct err *err)
{
	if (from->container && to->container)
		return copy_between(engine, from, to, options, err);
	if (from->container)
		return to->is_stream ? stream_out(engine, from, options, err)
				     : copy_out(engine, from, to, options, err);
	return from->is_stream ? stream_in(engine, to, err)
			       : copy_in(engine, from, to, options, err);
}

static int parse_sides(const struct copy_options *options, struct side *from, struct side *to,
		       struct err *err)
{
	int r = parse_side(options->source, from, err);

	if (r == 0)
		r = parse_side(options->destination, to, err);
	if (r == 0 && !from->container && !to->container)
		r = err_set(err, -EINVAL, "one of source and destination has to be CONTAINER:PATH");
	return r;
}

int engine_copy_check(const struct copy_options *options, struct err *err)
{
	CLEANUP(side_release) struct side from = { 0 };
	CLEANUP(side_release) struct side to = { 0 };

	return parse_sides(options, &from, &to, err);
}

int engine_copy(struct engine *engine, const struct copy_options *options, struct err *err)
{
	CLEANUP(side_release) struct side from = { 0 };
	CLEANUP(side_release) struct side to = { 0 };
	int r = parse_sides(options, &from, &to, err);

	if (r < 0)
		return r;
	/* A container that ended before it could be asked is asked again, as one that is stopped.
	 */
	for (int i = 0; i < ATTEMPTS; i++) {
		r = copy_once(engine, &from, &to, options, err);
		if (r != -EAGAIN)
			break;
	}
	return r;
}
