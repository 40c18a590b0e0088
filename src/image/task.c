/* SPDX-License-Identifier: Apache-2.0 */
#include "image/task.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define METER_INTERVAL_MS 100
#define JOBS_THREADS_MAX 32

void task_answer(struct task *task, json_t *answer)
{
	AUTO_FREE char *text = json_text(answer);
	CLEANUP(sbuf_release) struct sbuf line = { 0 };
	const char *rest;
	size_t size;

	json_decref(answer);
	sbuf_addf(&line, "%s\n", text);
	rest = line.text;
	size = line.length;
	pthread_mutex_lock(&task->lock);
	while (size > 0 && task->answers >= 0) {
		ssize_t n = send(task->answers, rest, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break; /* nobody listens any more: the watcher ends the process */
		rest += n;
		size -= (size_t)n;
	}
	pthread_mutex_unlock(&task->lock);
}

json_t *task_text(const char *text)
{
	json_t *json = json_string(text);
	AUTO_FREE char *plain = json ? NULL : xstrdup(text);

	for (char *c = plain; c && *c; c++) /* some server's words are not UTF-8 */
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json ? json : json_string(plain);
}

void task_warning(struct task *task, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		abort();
	err_sanitize(text);
	task_answer(task, json_pack("{s:o}", "warning", task_text(text)));
}

void meter_init(struct meter *meter, struct task *task, const char *digest, const char *text,
		uint64_t total)
{
	const char *hex = str_or(str_after(digest, "sha256:"), digest);

	*meter = (struct meter){ .task = task, .text = text, .total = total };
	snprintf(meter->id, sizeof(meter->id), "%.12s", hex);
	meter_tell(meter, 0);
}

void meter_tell(struct meter *meter, uint64_t current)
{
	uint64_t now = clock_monotonic_ms();
	bool over = meter->total && current == meter->total;
	json_t *progress;

	if (over ? meter->over : meter->told_ms && now - meter->told_ms < METER_INTERVAL_MS)
		return;
	meter->over = over;
	meter->told_ms = now;
	progress = json_pack("{s:s, s:s, s:I}", "id", meter->id, "text", meter->text, "current",
			     (json_int_t)current);
	if (meter->total)
		json_object_set_new(progress, "total", json_integer((json_int_t)meter->total));
	task_answer(meter->task, json_pack("{s:o}", "progress", progress));
}

struct jobs {
	struct task *task;
	job_fn job;
	void *ctx;
	size_t count;
	atomic_size_t next;
	pthread_mutex_t lock;
	struct err first; /* under lock */
};

static void *jobs_thread(void *ctx)
{
	struct jobs *jobs = ctx;

	for (;;) {
		size_t i = atomic_fetch_add(&jobs->next, 1);
		struct err err = { 0 };
		int r;

		if (i >= jobs->count || atomic_load(&jobs->task->cancelled))
			return NULL;
		r = jobs->job(jobs->ctx, i, &err);
		if (r >= 0)
			continue;
		pthread_mutex_lock(&jobs->lock);
		if (jobs->first.code == 0) {
			jobs->first = err;
			jobs->first.code = r;
		}
		pthread_mutex_unlock(&jobs->lock);
		atomic_store(&jobs->task->cancelled, true);
	}
}

int jobs_run(struct task *task, size_t count, size_t threads, job_fn job, void *ctx,
	     struct err *err)
{
	struct jobs jobs = { .task = task, .job = job, .ctx = ctx, .count = count };
	pthread_t started[JOBS_THREADS_MAX];
	size_t n = 0;

	pthread_mutex_init(&jobs.lock, NULL);
	if (threads > count)
		threads = count;
	if (threads > JOBS_THREADS_MAX)
		threads = JOBS_THREADS_MAX;
	while (n + 1 < threads && pthread_create(&started[n], NULL, jobs_thread, &jobs) == 0)
		n++;
	jobs_thread(&jobs); /* this thread works too */
	for (size_t i = 0; i < n; i++)
		pthread_join(started[i], NULL);
	pthread_mutex_destroy(&jobs.lock);
	if (jobs.first.code < 0)
		return err_set(err, jobs.first.code, "%s", jobs.first.message);
	return 0;
}
