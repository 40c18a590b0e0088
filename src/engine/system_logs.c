/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs behind containers say, which nobody sees who did not start them by --debug. */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "base/vec.h"

/* Read at a time; no file is longer, unless somebody writes it. */
#define PART_MAX (16 * 1024 * 1024)
#define RECHECK_MS 1000 /* a container is there before its directory, or after it */

static const struct {
	const char *name, *file;
} sources[] = {
	{ "supervisor", "shim.log" },
	{ "machine", "vm.log" }, /* the emulator, the server of shared directories */
};

/* The files of one container, and how far they have been told. */
struct tail {
	char *id;        /* owned */
	char *directory; /* owned */
	off_t told[ARRAY_SIZE(sources)];
};

struct reader {
	struct engine *engine;
	const struct system_log_options *options;
	system_line_fn fn;
	void *ctx;
	bool all;  /* containers that come are read, too */
	int watch; /* owned; -1: nothing is followed */
	VEC(struct tail) tails;
};

static void tail_release(struct tail *tail)
{
	free(tail->id);
	free(tail->directory);
}

static void reader_release(struct reader *reader)
{
	VEC_EACH (&reader->tails, it)
		tail_release(it);
	VEC_FREE(&reader->tails);
	cleanup_closep(&reader->watch);
}

static int tell_lines(struct reader *reader, const struct tail *tail, const char *source,
		      char *text, int64_t lines)
{
	AUTO_STRV char **all = str_split(text, '\n', 0);
	size_t count = strv_count(all);
	size_t first;
	int r = 0;

	if (count && !*all[count - 1])
		count--;
	first = lines >= 0 && (uint64_t)lines < count ? count - (size_t)lines : 0;
	for (size_t i = first; i < count && r == 0; i++) {
		err_sanitize(all[i]);
		r = reader->fn(reader->ctx, &(struct system_line){ tail->id, source, all[i] });
	}
	return r;
}

/* What is new in one file. A line without an end is kept for later, if there is a later. A file
 * that became shorter was begun anew. */
static int tell_file(struct reader *reader, struct tail *tail, size_t which, int64_t lines)
{
	AUTO_FREE char *path = path_join(tail->directory, "%s", sources[which].file);
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	size_t size;

	/* Not there: it has not been started. Its bytes can be a guest's doing. */
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	if (st.st_size < tail->told[which])
		tail->told[which] = 0;
	if (st.st_size == tail->told[which])
		return 0;
	size = (size_t)(st.st_size - tail->told[which]);
	if (size > PART_MAX)
		size = PART_MAX;
	text = xmalloc(size + 1);
	if (fd_pread_exact(fd, text, size, tail->told[which]) < 0)
		return 0;
	if (reader->options->follow && size < PART_MAX)
		while (size && text[size - 1] != '\n')
			size--;
	text[size] = '\0';
	tail->told[which] += (off_t)size;
	return tell_lines(reader, tail, sources[which].name, text, lines);
}

static int tell(struct reader *reader, struct tail *tail, int64_t lines)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sources) && r == 0; i++)
		r = tell_file(reader, tail, i, lines);
	return r;
}

/* Watched first: what is written from then on is heard of, and what was before is read. */
static int add(struct reader *reader, const struct container *container)
{
	struct tail tail = {
		.id = xstrdup(container->config.id),
		.directory = launch_container_dir(reader->engine->root, container->uuid),
	};

	if (reader->watch >= 0)
		inotify_add_watch(reader->watch, tail.directory, IN_MODIFY | IN_CREATE);
	VEC_PUSH(&reader->tails, tail);
	return tell(reader, &reader->tails.items[reader->tails.count - 1], reader->options->lines);
}

static bool is_known(const struct reader *reader, const struct container *container)
{
	VEC_EACH (&reader->tails, it)
		if (str_eq(path_base(it->directory), container->uuid))
			return true;
	return false;
}

/* The oldest first. */
static int add_all(struct reader *reader, struct err *err)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	int r = engine_list(reader->engine, &list, err);

	for (size_t i = list.count; i > 0 && r == 0; i--)
		if (!is_known(reader, list.items[i - 1]))
			r = add(reader, list.items[i - 1]);
	return r;
}

static int add_named(struct reader *reader, const char *id, struct err *err)
{
	CLEANUP(container_freep) struct container *container = NULL;
	int r = engine_get(reader->engine, id, &container, err);

	return r < 0 ? r : add(reader, container);
}

/* What is deleted is forgotten. */
static int tell_new(struct reader *reader)
{
	int r = 0;

	for (size_t i = 0; i < reader->tails.count && r == 0; i++) {
		struct tail *tail = &reader->tails.items[i];

		r = tell(reader, tail, -1);
		if (path_exists(tail->directory))
			continue;
		tail_release(tail);
		VEC_REMOVE(&reader->tails, i);
		i--;
	}
	return r;
}

static int follow(struct reader *reader, struct err *err)
{
	char events[4096];
	int r = 0;

	while (r == 0 && (reader->all || reader->tails.count)) {
		fd_wait(reader->watch, POLLIN, RECHECK_MS);
		while (read(reader->watch, events, sizeof(events)) > 0)
			;
		r = tell_new(reader);
		if (r == 0 && reader->all)
			r = add_all(reader, err);
	}
	return r;
}

int engine_system_logs(struct engine *engine, char *const *ids,
		       const struct system_log_options *options, system_line_fn fn, void *ctx,
		       struct err *err)
{
	CLEANUP(reader_release)
	struct reader reader = { .engine = engine,
				 .options = options,
				 .fn = fn,
				 .ctx = ctx,
				 .all = !*ids,
				 .watch = -1 };
	int r = 0;

	if (options->follow) {
		reader.watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (reader.watch < 0)
			return err_set(err, -errno, "cannot watch containers: %m");
	}
	if (reader.all)
		r = add_all(&reader, err);
	STRV_EACH (ids, it)
		r = r < 0 ? r : add_named(&reader, *it, err);
	return r == 0 && options->follow ? follow(&reader, err) : r;
}
