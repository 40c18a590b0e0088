/* SPDX-License-Identifier: Apache-2.0 */
/* Files between the host and containers: what `hull cp` does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
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

/* Host to container. What could not be read here counts, unless it is only that the guest stopped
 * listening. */
static int copy_in(struct engine *engine, const struct side *from, const struct side *to,
		   const struct copy_options *options, struct err *err)
{
	CLEANUP(source_release) struct source source = { .dir_fd = -1 };
	struct msg_copy message;
	AUTO_CLOSE int input = -1;
	AUTO_CLOSE int output = -1;
	CLEANUP(files_release) struct files files = { .connection = -1 };
	struct helper helper = { .report = -1 };
	struct err guest_err = { 0 };
	int guest;
	int r = source_find(AT_FDCWD, 0, from->path, options->follow, &source, err);

	if (r == 0)
		r = files_open(engine, to->container, &files, err);
	if (r == 0)
		r = open_pipe(&input, &output, err);
	if (r < 0)
		return r;
	message = write_message(to, source.name);
	struct pack_job job = { &source, !options->archive, output };
	r = helper_start(pack_files, &job, (int[]){ source.dir_fd, output, -1 }, &helper, err);
	if (r < 0)
		return r;
	close(TAKE_FD(output));
	guest = stream_run(engine, TAKE_FD(files.connection), &message, input, -1, "copy", NULL,
			   &guest_err);
	close(TAKE_FD(input));
	r = helper_finish(engine, &helper, err);
	if (guest < 0 && (r == 0 || r == -EPIPE))
		return err_set(err, guest, "%s", guest_err.message);
	return r;
}

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

static int stream_in(struct engine *engine, const struct side *to, struct err *err)
{
	struct msg_copy message = write_message(to, NULL);
	CLEANUP(files_release) struct files files = { .connection = -1 };
	int r = files_open(engine, to->container, &files, err);

	message.flags |= MSG_COPY_KEEP_NAMES;
	return r < 0 ? r
		     : stream_run(engine, TAKE_FD(files.connection), &message, STDIN_FILENO, -1,
				  "copy", NULL, err);
}

static int copy_once(struct engine *engine, const struct side *from, const struct side *to,
		     const struct copy_options *options, struct err *err)
{
	if (from->container)
		return to->is_stream ? stream_out(engine, from, options, err)
				     : copy_out(engine, from, to, options, err);
	return from->is_stream ? stream_in(engine, to, err)
			       : copy_in(engine, from, to, options, err);
}

int engine_copy(struct engine *engine, const struct copy_options *options, struct err *err)
{
	CLEANUP(side_release) struct side from = { 0 };
	CLEANUP(side_release) struct side to = { 0 };
	int r = parse_side(options->source, &from, err);

	if (r == 0)
		r = parse_side(options->destination, &to, err);
	if (r < 0)
		return r;
	if (from.container && to.container)
		return err_set(err, -EINVAL,
			       "copying from one container to another is not "
			       "supported: copy to the host in between");
	if (!from.container && !to.container)
		return err_set(err, -EINVAL,
			       "one of source and destination has to be CONTAINER:PATH");
	/* A container that ended before it could be asked is asked again, as one that is stopped.
	 */
	for (int i = 0; i < ATTEMPTS; i++) {
		r = copy_once(engine, &from, &to, options, err);
		if (r != -EAGAIN)
			break;
	}
	return r;
}
