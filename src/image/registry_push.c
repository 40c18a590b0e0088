/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a registry, in the order that all of them take (OCI distribution specification,
 * "Pushing blobs"): ask whether the blob is there; if not, open an upload, which another
 * repository's copy may answer at once; send all of it as one PATCH, without ranges, since that is
 * what each of them was tried with; close the upload with the digest.
 *
 * An upload that broke (the connection, or a 5xx) goes on where the registry says that it is, if it
 * says so: some keep what came of a PATCH, others do not know the upload any more. Then it is given
 * up and begun anew.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/registry_internal.h"

#define PROGRESS_MIN (1024 * 1024) /* that is worth further attempts */

/* With what a small blob costs two round trips instead of three. */
#define MONOLITHIC_MAX (1024 * 1024)

struct upload {
	struct registry *registry; /* borrowed */
	struct http *http;         /* borrowed */
	char *location;            /* owned: where it goes on; NULL: it has not begun */
	uint64_t offset;           /* what the registry has of it */
	long status;               /* of the last answer; 0: there was none */
	char retry_after[64];
	const char *digest;
	const char *what;
	int fd;
	uint64_t size;
	void (*sent)(void *ctx, uint64_t bytes);
	void *ctx;
};

static int has_blob(const struct upload *upload, bool *ret_has, struct err *err)
{
	AUTO_FREE char *path = xasprintf("blobs/%s", upload->digest);
	struct http_response response;
	int r = registry_call(upload->registry, upload->http,
			      &(struct registry_call){ .request = { .method = "HEAD" },
						       .path = path,
						       .what = upload->what,
						       .may_miss = true },
			      &response, err);

	if (r == 0)
		*ret_has = response.status == 200;
	return r;
}

/* A proxy that ends TLS leaves some registries believing that they speak without. */
static char *location_of(const struct registry *registry, const char *location)
{
	const char *rest = str_after(location, "http://");

	return rest && str_eq(registry->scheme, "https") ? xasprintf("https://%s", rest)
							 : xstrdup(location);
}

static void set_location(struct upload *upload, const struct http_response *response)
{
	if (!response->location[0])
		return;
	free(upload->location);
	upload->location = location_of(upload->registry, response->location);
}

/* What the answer says of a next attempt. */
static int call(struct upload *upload, const struct registry_call *call,
		struct http_response *ret_response, struct err *err)
{
	int r = registry_call(upload->registry, upload->http, call, ret_response, err);

	upload->status = ret_response->status;
	snprintf(upload->retry_after, sizeof(upload->retry_after), "%s", ret_response->retry_after);
	return r;
}

/* *ret_taken: the other repository's blob was taken. */
static int begin(struct upload *upload, const char *from, bool *ret_taken, struct err *err)
{
	AUTO_FREE char *path =
		from ? xasprintf("blobs/uploads/?mount=%s&from=%s", upload->digest, from)
		     : xstrdup("blobs/uploads/");
	struct http_response response;
	int r = call(upload,
		     &(struct registry_call){ .request = { .method = "POST" },
					      .path = path,
					      .what = "a place for uploads" },
		     &response, err);

	if (r < 0)
		return r;
	*ret_taken = from && response.status == 201;
	if (*ret_taken)
		return 0;
	if (!response.location[0])
		return err_set(err, -EPROTO, "registry %s does not say where to send %s",
			       upload->registry->ref->registry, upload->what);
	set_location(upload, &response);
	upload->offset = 0;
	return 0;
}

static int send_body(struct upload *upload, const char *method, const char *url, bool with_body,
		     struct err *err)
{
	AUTO_FREE char *range = with_body && upload->offset
					? xasprintf("%llu-%llu", (unsigned long long)upload->offset,
						    (unsigned long long)upload->size - 1)
					: NULL;
	uint64_t left = upload->size - upload->offset;
	struct http_response response;
	int r = call(
		upload,
		&(struct registry_call){ .request = { .method = method,
						      .content_type = "application/octet-stream",
						      .content_range = range,
						      .body = with_body ? upload->fd : 0,
						      .body_from = with_body ? upload->offset : 0,
						      .body_size = with_body ? left : 0,
						      .sent = with_body ? upload->sent : NULL,
						      .sent_ctx = upload->ctx },
					 .path = url,
					 .what = upload->what,
					 .once = true },
		&response, err);

	if (r == 0)
		set_location(upload, &response);
	return r;
}

static int finish(struct upload *upload, bool with_body, struct err *err)
{
	AUTO_FREE char *url = xasprintf("%s%cdigest=%s", upload->location,
					strchr(upload->location, '?') ? '&' : '?', upload->digest);

	return send_body(upload, "PUT", url, with_body, err);
}

/* "0-N", as registries say how much they have; some put "bytes=" in front. 0: nothing, or what
 * makes no sense. */
static uint64_t bytes_of_range(const char *range, uint64_t size)
{
	const char *text = str_or(str_after(range, "bytes="), range);
	const char *last = str_after(text, "0-");
	uint64_t n = 0;

	if (!last || str_parse_u64(last, &n) < 0 || n >= size)
		return 0;
	return n ? n + 1 : 0; /* "0-0" is said of an empty one, too */
}

/* Finds where an upload goes on that broke. False: it does not. */
static bool resume(struct upload *upload)
{
	struct http_response response;
	int r = call(upload,
		     &(struct registry_call){
			     .path = upload->location, .what = upload->what, .once = true },
		     &response, NULL);
	uint64_t offset =
		r == 0 && response.status == 204 ? bytes_of_range(response.range, upload->size) : 0;

	if (offset) {
		upload->offset = offset;
		set_location(upload, &response);
		return true;
	}
	free(TAKE_PTR(upload->location));
	return false;
}

static int send_blob(struct upload *upload, const char *from, struct err *err)
{
	bool taken = false;
	int r = 0;

	if (!upload->location || !resume(upload))
		r = begin(upload, from, &taken, err);
	if (r < 0 || taken)
		return r;
	if (upload->offset == 0 && upload->size <= MONOLITHIC_MAX)
		return finish(upload, true, err);
	if (upload->offset < upload->size)
		r = send_body(upload, "PATCH", upload->location, true, err);
	if (r < 0)
		return r;
	upload->offset = upload->size;
	return finish(upload, false, err);
}

/* Also what an upload is told that the registry does not know any more. */
static bool is_worth_another(const struct upload *upload, int code)
{
	return registry_worth_retrying(code) || upload->status >= 500 || upload->status == 429 ||
	       upload->status == 404 || upload->status == 416;
}

int registry_put_blob(struct registry *registry, const char *digest, int fd, uint64_t size,
		      const char *from, void (*sent)(void *ctx, uint64_t bytes), void *ctx,
		      bool *ret_was_there, struct err *err)
{
	AUTO_FREE char *what = xasprintf("blob %s", digest);
	struct http *http = registry_take_connection(registry);
	struct upload upload = { .registry = registry,
				 .http = http,
				 .digest = digest,
				 .what = what,
				 .fd = fd,
				 .size = size,
				 .sent = sent,
				 .ctx = ctx };
	uint64_t reached = 0;
	bool has = false;
	int r = has_blob(&upload, &has, err);

	for (unsigned attempt = 1; r == 0 && !has; attempt++) {
		r = send_blob(&upload, from, err);
		if (r == 0 || !is_worth_another(&upload, r))
			break;
		if (upload.offset >= reached + PROGRESS_MIN) {
			reached = upload.offset;
			attempt = 1;
		}
		if (attempt >= registry->options->attempts)
			break;
		registry_back_off(registry, attempt, upload.retry_after);
		r = has_blob(&upload, &has, err);
	}
	free(upload.location);
	registry_give_connection(registry, http);
	if (r == 0)
		*ret_was_there = has;
	return r;
}

int registry_put_manifest(struct registry *registry, const char *reference, const char *media_type,
			  int fd, uint64_t size, struct err *err)
{
	AUTO_FREE char *path = xasprintf("manifests/%s", reference);
	struct http *http = registry_take_connection(registry);
	struct http_response response;
	int r = registry_call(registry, http,
			      &(struct registry_call){ .request = { .method = "PUT",
								    .content_type = media_type,
								    .body = fd,
								    .body_size = size },
						       .path = path,
						       .what = "a place for manifests" },
			      &response, err);

	registry_give_connection(registry, http);
	return r;
}

int registry_check_login(struct registry *registry, struct err *err)
{
	struct http *http = registry_take_connection(registry);
	struct http_response response;
	int r = registry_call(registry, http, &(struct registry_call){ .path = "/v2/" }, &response,
			      err);

	registry_give_connection(registry, http);
	return r;
}
