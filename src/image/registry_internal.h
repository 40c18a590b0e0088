/* SPDX-License-Identifier: Apache-2.0 */
/* What reading from a registry (registry.c) and writing to it (registry_push.c) share. */
#ifndef IMAGE_REGISTRY_INTERNAL_H
#define IMAGE_REGISTRY_INTERNAL_H

#include <pthread.h>

#include "image/http.h"
#include "image/registry.h"

#define REGISTRY_IDLE_MAX 16

struct registry {
	const struct image_ref *ref;            /* borrowed */
	const struct registry_options *options; /* borrowed */
	char *host;                             /* owned: where connections go */
	char *image;                            /* owned: for errors */
	char *scope;                            /* owned: of tokens; NULL: none */
	struct http_options http;               /* owned members */
	pthread_mutex_t lock;                   /* of all below */
	const char *scheme;                     /* "http" or "https" */
	bool may_fall_back;  /* to http: an insecure host that has not answered yet */
	char *authorization; /* owned; NULL until challenged */
	unsigned generation; /* of authorization */
	struct http *idle[REGISTRY_IDLE_MAX]; /* owned */
	size_t idle_count;
};

struct registry_call {
	struct http_request request; /* without url, accept and authorization */
	const char *path;            /* below the repository; or "/v2/…" of the host; or a URL */
	const char *what;            /* names the thing in errors; NULL: the image */
	bool may_miss;               /* 404 is an answer, not an error */
	bool once;                   /* one attempt: what broke is not as it was */
};

struct http *registry_take_connection(struct registry *registry);
void registry_give_connection(struct registry *registry, struct http *http);
/* Waits before attempt n (from 1): exponential with jitter, or what the server asked for. */
void registry_back_off(const struct registry *registry, unsigned attempt, const char *retry_after);
bool registry_worth_retrying(int code);
/* With authentication and retries, up to a good response's head. */
int registry_call(struct registry *registry, struct http *http, const struct registry_call *call,
		  struct http_response *ret_response, struct err *err);

#endif
