/* SPDX-License-Identifier: Apache-2.0 */
/* What one request of the worker carries along: where the state is, whom to tell, whether to stop.
 */
#ifndef IMAGE_TASK_H
#define IMAGE_TASK_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

struct task {
	const char *root;      /* borrowed from request */
	const json_t *request; /* borrowed */
	int answers;           /* socket, borrowed; -1: nobody listens */
	pthread_mutex_t lock;  /* of answers */
	atomic_bool cancelled; /* set when one part failed, so that the others stop */
	struct store *store;   /* borrowed; used by the main thread alone */
};

/* Progress of one thing, told at most ten times a second. Belongs to one thread. */
struct meter {
	struct task *task;
	const char *text; /* "pulling" */
	char id[16];      /* short id of a digest */
	uint64_t total;
	uint64_t told_ms;
	bool over; /* its end was the last that was told */
};

void meter_init(struct meter *meter, struct task *task, const char *digest, const char *text,
		uint64_t total);
/* The end (current == total) is always told, once. */
void meter_tell(struct meter *meter, uint64_t current);
void task_warning(struct task *task, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string of any bytes; a new reference. */
json_t *task_text(const char *text);
/* Sends an answer; the reference is stolen. */
void task_answer(struct task *task, json_t *answer);

/* Runs job(ctx, 0 … count-1) by at most `threads` threads. The first error is the result; it sets
 * cancelled, and the others are waited for. */
typedef int (*job_fn)(void *ctx, size_t i, struct err *err);
int jobs_run(struct task *task, size_t count, size_t threads, job_fn job, void *ctx,
	     struct err *err);

#endif
