/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP connection (kept alive between requests) driven by its reader: nothing is received ahead
 * of what is read but one bounded buffer. Redirects are followed to https (to http only from http),
 * at most five; Authorization goes to the first host alone.
 */
#ifndef IMAGE_HTTP_H
#define IMAGE_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct http;

struct http_options {
	bool insecure; /* certificates are not checked */
	char *ca;      /* PEM of additional authorities with the system's, or NULL; owned */
	char *certificate, *key;      /* paths of a client certificate, or NULL; owned */
	unsigned stall_ms;            /* no byte for so long: -ETIMEDOUT */
	const atomic_bool *cancelled; /* may be NULL; borrowed */
};

struct http_request {
	const char *url;
	const char *accept;        /* NULL: any */
	const char *authorization; /* the header's value, or NULL */
	const char *form;          /* a POST's body (x-www-form-urlencoded), or NULL for GET */
	uint64_t from;             /* Range: bytes=<from>- unless 0 */
	const char *method;        /* "HEAD", "POST", "PUT", "PATCH"; NULL: GET, or POST of form */
	const char *content_type;  /* of the body, or NULL */
	int body;                  /* with a method: a file to send (borrowed), or 0 */
	uint64_t body_from;        /* the part of the file that is sent begins there */
	uint64_t body_size;        /* of that part */
	const char *content_range; /* the header's value, or NULL */
	bool once;                 /* what went out of it has had its effect: it is not sent anew */
	void (*sent)(void *ctx, uint64_t bytes); /* the place in the file so far; may be NULL */
	void *sent_ctx;
};

struct http_response {
	long status;
	char content_type[256]; /* without parameters */
	char digest[128];       /* Docker-Content-Digest */
	char challenge[2048];   /* WWW-Authenticate; the last Bearer one if there are several */
	char retry_after[64];
	char range[64];
	char location[4096];
};

/* options are borrowed for the connection's life. */
struct http *http_new(const struct http_options *options);
void http_free(struct http *http);
DEFINE_CLEANUP(struct http *, http_free)

/* Sends the request and reads up to the head of the final response. An unfinished earlier one is
 * dropped. -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -ELOOP (redirects), -EKEYREJECTED (TLS: the
 * certificate), -EPROTO (TLS, HTTP), -ECONNRESET, -ECANCELED. */
int http_open(struct http *http, const struct http_request *request,
	      struct http_response *ret_response, struct err *err);
/* The next bytes of the body: as stream_read. An early end of the connection is -ECONNRESET. */
ssize_t http_read(struct http *http, const void **ret_data, struct err *err);
/* The whole of the body as NUL-terminated text; -E2BIG beyond max bytes. */
int http_read_all(struct http *http, size_t max, char **ret_text, size_t *ret_size,
		  struct err *err);

#endif
