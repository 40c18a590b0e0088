/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hull-image: carries out one request (see worker.h) and ends.
 *
 * Theory of operation. Whatever this process reads is hostile, and it keeps nothing: it gives up
 * the right to gain privileges and, where the kernel has Landlock, to write anywhere but under the
 * state directory and the output it was asked for. Everything it makes appears by rename, so it can
 * be killed at any instant; cancelling is exactly that. A thread watches the socket for its end.
 * Memory is bounded by the buffers of the streams that run at once, not by what flows through.
 */
#include "image/worker.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/confine.h"
#include "image/pull.h"
#include "image/verbs.h"

#define REQUEST_FD 3
#define REQUEST_MAX_BYTES (1024 * 1024)

struct verb {
	const char *name;
	int (*run)(struct task *task, json_t **ret_result, struct err *err);
	bool exclusive; /* takes the content lock itself, or needs none */
	bool remote;    /* asks a registry: "reference" and who we are are looked up first */
	bool personal;  /* the user's own files and programs, and nothing of anybody else's */
};

static const struct verb verbs[] = {
	{ "pull", verb_pull, .remote = true },
	{ "push", verb_push, .remote = true },
	{ "login", verb_login, .remote = true },
	{ "load", verb_load },
	{ "save", verb_save },
	{ "import", verb_import },
	{ "prepare", verb_prepare },
	{ "import-builtin", verb_import_builtin },
	{ "import-snapshot", verb_import_snapshot },
	{ "commit", verb_commit },
	{ "expand", verb_expand, .exclusive = true },
	{ "prune", verb_prune, .exclusive = true },
	{ "keep-login", verb_keep_login, .personal = true },
	{ "drop-login", verb_drop_login, .personal = true },
	{ "list-logins", verb_list_logins, .personal = true },
};

/* Ends the process when the other side closes the socket: nobody wants the result. */
static void *watch(void *ctx)
{
	int fd = *(const int *)ctx;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLRDHUP };

		if (poll(&p, 1, -1) > 0)
			_exit(130);
	}
}

/* One line: the request. */
static int read_request(json_t **ret_request, struct err *err)
{
	AUTO_FREE char *text = xmalloc(REQUEST_MAX_BYTES);
	size_t used = 0;

	while (used < REQUEST_MAX_BYTES && !(used > 0 && memchr(text, '\n', used))) {
		ssize_t n = read(REQUEST_FD, text + used, REQUEST_MAX_BYTES - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "cannot read the request: %m");
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return json_parse(text, used, "the request", ret_request, err);
}

static int run(struct task *task, json_t **ret_result, struct err *err)
{
	const char *name = str_or(json_get_string(task->request, "verb"), "");
	const struct verb *verb = NULL;
	CLEANUP(store_closep) struct store *store = NULL;
	AUTO_CLOSE int hold = -1;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (str_eq(verbs[i].name, name))
			verb = &verbs[i];
	if (!verb)
		return err_set(err, -EINVAL, "unknown request '%s'", name);
	r = blobs_prepare(task->root, err);
	if (r == 0 && verb->remote)
		r = pull_prepare(task, err);
	if (r == 0 && !verb->personal)
		r = confine(task, err);
	if (r == 0)
		r = store_open(task->root, &store, err);
	if (r < 0)
		return r;
	task->store = store;
	if (!verb->exclusive) {
		hold = content_hold(task->root, err);
		if (hold < 0)
			return hold;
	}
	return verb->run(task, ret_result, err);
}

static int run_request(const json_t *request, json_t **ret_result, struct task *task,
		       struct err *err)
{
	static char root[PATH_MAX];
	const char *given = json_get_string(request, "root");
	int r;

	task->request = request;
	if (!given)
		return err_set(err, -EINVAL, "the request has no root");
	r = path_make_dirs(given, 0700, err);
	if (r < 0)
		return r;
	if (!realpath(given, root))
		return err_set(err, -errno, "cannot open '%s': %m", given);
	task->root = root;
	return run(task, ret_result, err);
}

int main(void)
{
	static struct task task = { .answers = REQUEST_FD, .lock = PTHREAD_MUTEX_INITIALIZER };
	static int watched = REQUEST_FD;
	AUTO_JSON json_t *request = NULL;
	json_t *result = NULL;
	struct err err = { 0 };
	pthread_t watcher;
	int r;

	log_init("hull-image", LOG_LEVEL_WARNING);
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	mallopt(M_ARENA_MAX, 4);
	fd_set_cloexec(REQUEST_FD, true);
	curl_global_init(CURL_GLOBAL_ALL);
	r = read_request(&request, &err);
	if (r == 0 && pthread_create(&watcher, NULL, watch, &watched) != 0)
		r = err_set(&err, -EAGAIN, "cannot start a thread: %m");
	if (r == 0)
		r = run_request(request, &result, &task, &err);
	if (r < 0)
		task_answer(&task,
			    json_pack("{s:{s:i, s:o}}", "error", "code", r, "message",
				      task_text(err.message[0] ? err.message : strerror(-r))));
	else
		task_answer(&task, json_pack("{s:o}", "result", result));
	/* Not exit(): destructors of libraries have nothing to save, and cost time. */
	fflush(NULL);
	_exit(r < 0);
}
