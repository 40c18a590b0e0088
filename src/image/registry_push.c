/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a registry, in the order that all of them take (OCI distribution specification,
 * "Pushing blobs"): ask whether the blob is there; if not, open an upload, which another
 * repository's copy may answer at once; send all of it as one PATCH, without ranges, since that is
 * what each of them was tried with; close the upload with the digest. An upload that broke is given
 * up and begun anew.
 */
#include <errno.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/registry_internal.h"

/* With what a small blob costs two round trips instead of three. */
#define MONOLITHIC_MAX (1024 * 1024)

struct upload {
	struct registry *registry; /* borrowed */
	struct http *http;         /* borrowed */
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

/* *ret_location is NULL when the other repository's blob was taken; owned by the caller. */
static int begin(const struct upload *upload, const char *from, char **ret_location,
		 struct err *err)
{
	AUTO_FREE char *path =
		from ? xasprintf("blobs/uploads/?mount=%s&from=%s", upload->digest, from)
		     : xstrdup("blobs/uploads/");
	struct http_response response;
	int r = registry_call(upload->registry, upload->http,
			      &(struct registry_call){ .request = { .method = "POST" },
						       .path = path,
						       .what = "a place for uploads" },
			      &response, err);

	if (r < 0)
		return r;
	if (from && response.status == 201) {
		*ret_location = NULL;
		return 0;
	}
	if (!response.location[0])
		return err_set(err, -EPROTO, "registry %s does not say where to send %s",
			       upload->registry->ref->registry, upload->what);
	*ret_location = location_of(upload->registry, response.location);
	return 0;
}

static int send_body(const struct upload *upload, const char *method, const char *location,
		     bool with_body, struct http_response *ret_response, struct err *err)
{
	return registry_call(
		upload->registry, upload->http,
		&(struct registry_call){ .request = { .method = method,
						      .content_type = "application/octet-stream",
						      .body = with_body ? upload->fd : 0,
						      .body_size = with_body ? upload->size : 0,
						      .sent = with_body ? upload->sent : NULL,
						      .sent_ctx = upload->ctx },
					 .path = location,
					 .what = upload->what,
					 .once = true },
		ret_response, err);
}

static int finish(const struct upload *upload, const char *location, bool with_body,
		  struct err *err)
{
	AUTO_FREE char *url = xasprintf("%s%cdigest=%s", location,
					strchr(location, '?') ? '&' : '?', upload->digest);
	struct http_response response;

	return send_body(upload, "PUT", url, with_body, &response, err);
}

static int send_blob(const struct upload *upload, const char *from, struct err *err)
{
	AUTO_FREE char *location = NULL;
	struct http_response response;
	int r = begin(upload, from, &location, err);

	if (r < 0 || !location)
		return r;
	if (upload->size <= MONOLITHIC_MAX)
		return finish(upload, location, true, err);
	r = send_body(upload, "PATCH", location, true, &response, err);
	if (r < 0)
		return r;
	if (response.location[0]) {
		free(location);
		location = location_of(upload->registry, response.location);
	}
	return finish(upload, location, false, err);
}

int registry_put_blob(struct registry *registry, const char *digest, int fd, uint64_t size,
		      const char *from, void (*sent)(void *ctx, uint64_t bytes), void *ctx,
		      bool *ret_was_there, struct err *err)
{
	AUTO_FREE char *what = xasprintf("blob %s", digest);
	struct http *http = registry_take_connection(registry);
	const struct upload upload = { .registry = registry,
				       .http = http,
				       .digest = digest,
				       .what = what,
				       .fd = fd,
				       .size = size,
				       .sent = sent,
				       .ctx = ctx };
	bool has = false;
	int r = has_blob(&upload, &has, err);

	for (unsigned attempt = 1; r == 0 && !has; attempt++) {
		r = send_blob(&upload, from, err);
		if (r == 0 || !registry_worth_retrying(r) || attempt >= registry->options->attempts)
			break;
		registry_back_off(registry, attempt, NULL);
		r = has_blob(&upload, &has, err);
	}
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
