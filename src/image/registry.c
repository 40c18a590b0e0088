/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "image/http.h"
#include "image/manifest.h"
#include "image/registry_internal.h"

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 10000
#define RETRY_AFTER_MAX_MS 60000
#define REFUSAL_MAX_BYTES (64 * 1024)
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"
#define CA_MAX_BYTES (4 * 1024 * 1024)
#define ACCEPT_MANIFESTS \
	MEDIA_OCI_INDEX ", " MEDIA_DOCKER_LIST ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_MANIFEST

/* Whether plain HTTP is the rule for the host: loopback, RFC 1918 and our own DNS domain. */
static bool is_local(const char *host, const char *dns_domain)
{
	AUTO_FREE char *name = xstrdup(host);
	char *colon = strrchr(name, ':');
	struct in_addr v4;
	uint32_t a;

	if (name[0] == '[')
		return strncmp(name, "[::1]", 5) == 0;
	if (colon)
		*colon = '\0';
	if (inet_pton(AF_INET, name, &v4) == 1) {
		a = ntohl(v4.s_addr);
		return a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8;
	}
	if (strcasecmp(name, "localhost") == 0 || str_ends(name, ".localhost"))
		return true;
	if (dns_domain && dns_domain[0]) {
		AUTO_FREE char *suffix = xasprintf(".%s", dns_domain);

		return str_ends(name, suffix);
	}
	return false;
}

/* Adds every *.crt of the directory to the bundle, and finds a client certificate with its key. */
static void read_certificates(const char *directory, struct sbuf *bundle, struct http_options *http)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = path_join(directory, "%s", entry->d_name);
		AUTO_FREE char *text = NULL;
		size_t size;

		if (str_ends(path, ".crt") && bundle->length < CA_MAX_BYTES &&
		    file_read(path, CA_MAX_BYTES, &text, &size, NULL) == 0) {
			sbuf_add_bytes(bundle, text, size);
			sbuf_add(bundle, "\n");
		} else if (str_ends(path, ".cert") && !http->certificate) {
			http->certificate = xstrdup(path);
			http->key = xasprintf("%.*s.key", (int)(strlen(path) - 5), path);
		}
	}
	if (dir)
		closedir(dir);
}

/* Authorities and client certificates that people keep per host, as Docker and Podman look for
 * them. */
static void find_certificates(const char *host, const char *config_dir, struct http_options *http)
{
	CLEANUP(sbuf_release) struct sbuf bundle = { 0 };
	AUTO_FREE char *common = NULL;
	size_t size;
	const char *parents[] = { "/etc/docker/certs.d", "/etc/containers/certs.d", config_dir };

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		AUTO_FREE char *directory = parents[i] ? path_join(parents[i], "%s", host) : NULL;

		if (directory && path_exists(directory))
			read_certificates(directory, &bundle, http);
	}
	if (bundle.length == 0)
		return;
	if (file_read(SYSTEM_CA, CA_MAX_BYTES, &common, &size, NULL) == 0)
		sbuf_add(&bundle, common);
	http->ca = sbuf_take(&bundle);
}

int registry_open(const struct image_ref *ref, const struct registry_options *options,
		  struct registry **ret_registry, struct err *err)
{
	CLEANUP(registry_closep) struct registry *registry = xcalloc(1, sizeof(*registry));
	const char *scheme = str_or(options->scheme, "auto");
	const char *host = str_or(options->mirror, ref->registry);

	pthread_mutex_init(&registry->lock, NULL);
	registry->ref = ref;
	registry->options = options;
	if (str_after(host, "http://"))
		scheme = "http";
	if (str_after(host, "https://"))
		scheme = "https";
	host = str_or(str_after(host, "https://"), str_or(str_after(host, "http://"), host));
	registry->host =
		str_eq(host, "docker.io") ? xstrdup("registry-1.docker.io") : xstrdup(host);
	if (str_ends(registry->host, "/"))
		registry->host[strlen(registry->host) - 1] = '\0';
	registry->image = image_ref_text(ref);
	if (options->purpose != REGISTRY_LOGIN)
		registry->scope =
			xasprintf("repository:%s:%s", ref->repository,
				  options->purpose == REGISTRY_PUSH ? "pull,push" : "pull");
	registry->http = (struct http_options){
		.insecure = strv_contains(options->insecure, host),
		.stall_ms = options->stall_ms,
		.cancelled = options->cancelled,
	};
	if (str_eq(scheme, "http"))
		registry->scheme = "http";
	else if (str_eq(scheme, "https"))
		registry->scheme = "https";
	else if (!str_eq(scheme, "auto"))
		return err_set(err, -EINVAL, "'%s' is not a scheme: http, https or auto", scheme);
	else
		registry->scheme = is_local(registry->host, options->dns_domain) ? "http" : "https";
	registry->may_fall_back = registry->http.insecure && str_eq(scheme, "auto");
	if (str_eq(registry->scheme, "https") && !strchr(registry->host, '/'))
		find_certificates(registry->host, options->certs_dir, &registry->http);
	*ret_registry = TAKE_PTR(registry);
	return 0;
}

void registry_close(struct registry *registry)
{
	if (!registry)
		return;
	for (size_t i = 0; i < registry->idle_count; i++)
		http_free(registry->idle[i]);
	free(registry->host);
	free(registry->image);
	free(registry->scope);
	free(registry->http.ca);
	free(registry->http.certificate);
	free(registry->http.key);
	free(registry->authorization);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

struct http *registry_take_connection(struct registry *registry)
{
	struct http *http = NULL;

	pthread_mutex_lock(&registry->lock);
	if (registry->idle_count > 0)
		http = registry->idle[--registry->idle_count];
	pthread_mutex_unlock(&registry->lock);
	return http ? http : http_new(&registry->http);
}

void registry_give_connection(struct registry *registry, struct http *http)
{
	pthread_mutex_lock(&registry->lock);
	if (http && registry->idle_count < REGISTRY_IDLE_MAX)
		registry->idle[registry->idle_count++] = TAKE_PTR(http);
	pthread_mutex_unlock(&registry->lock);
	http_free(http);
}

/* Waits before attempt n (from 1): exponential with jitter, or what the server asked for. */
void registry_back_off(const struct registry *registry, unsigned attempt, const char *retry_after)
{
	uint64_t delay_ms = BACKOFF_FIRST_MS;
	uint64_t until;
	uint32_t seconds;
	uint32_t random;

	for (unsigned i = 1; i < attempt && delay_ms < BACKOFF_MAX_MS; i++)
		delay_ms *= 2;
	hash_random(&random, sizeof(random));
	delay_ms = delay_ms / 2 + random % delay_ms;
	if (retry_after && str_parse_u32(retry_after, &seconds) == 0 &&
	    seconds * 1000ull > delay_ms)
		delay_ms = seconds * 1000ull < RETRY_AFTER_MAX_MS ? seconds * 1000ull
								  : RETRY_AFTER_MAX_MS;
	until = clock_monotonic_ms() + delay_ms;
	while (clock_monotonic_ms() < until &&
	       !(registry->options->cancelled && atomic_load(registry->options->cancelled)))
		poll(NULL, 0, 100);
}

bool registry_worth_retrying(int code)
{
	return code == -ECONNREFUSED || code == -ECONNRESET || code == -ETIMEDOUT ||
	       code == -EHOSTUNREACH || code == -EAGAIN;
}

static int refused(const struct registry *registry, const struct http_response *response,
		   const char *what, struct err *err)
{
	const char *host = registry->ref->registry;

	switch (response->status) {
	case 404:
		if (what)
			return err_set(err, -ENOENT, "registry %s does not have %s of image %s",
				       host, what, registry->image);
		return err_set(err, -ENOENT, "image not found: %s", registry->image);
	case 401:
		return err_set(err, -EACCES,
			       "registry %s wants to know who asks for %s (401); log in with 'hull "
			       "registry login %s'",
			       host, registry->image, host);
	case 403:
		return err_set(err, -EACCES,
			       "registry %s denies access to %s (403); log in with 'hull registry "
			       "login %s' as a user who may",
			       host, registry->image, host);
	case 429:
		return err_set(
			err, -EBUSY,
			"registry %s limits how often it answers (429); try again later, or log "
			"in with 'hull registry login %s'",
			host, host);
	default:
		return err_set(err, -EREMOTEIO, "registry %s answered %ld for %s", host,
			       response->status, registry->image);
	}
}

/* Puts the registry in front of a transport's error, and what may help behind it. */
static int unreachable(const struct registry *registry, struct err *err)
{
	struct err cause = { 0 };
	const char *hint = "";

	if (!err)
		return -EIO;
	cause = *err;
	if (cause.code == -ECANCELED)
		return cause.code;
	if (str_eq(registry->scheme, "https") && cause.code == -EKEYREJECTED)
		hint = "; put its authority's certificate into /etc/docker/certs.d/<host>/ca.crt";
	else if (str_eq(registry->scheme, "https") && cause.code == -EPROTO)
		hint = "; if it speaks plain HTTP, use '--scheme http'";
	return err_set(err, cause.code, "cannot reach registry %s: %s%s", registry->host,
		       cause.message, hint);
}

/* Answers a challenge for all threads. generation: of the authorization that was refused. */
static int authorize(struct registry *registry, struct http *http, const char *header,
		     unsigned generation, struct err *err)
{
	CLEANUP(challenge_release) struct challenge challenge = { 0 };
	char *authorization = NULL;
	int r = 0;

	pthread_mutex_lock(&registry->lock); /* held over the exchange: one token is enough */
	if (registry->generation == generation) {
		r = challenge_parse(header, &challenge, err);
		/* The first question of a push only reads; one token is for all of it. */
		if (registry->options->purpose == REGISTRY_PUSH)
			free(TAKE_PTR(challenge.scope));
		if (r == 0)
			r = challenge_answer(&challenge, &registry->options->credentials,
					     registry->scope, str_eq(registry->scheme, "https"),
					     http, &authorization, err);
		if (r == 0) {
			free(registry->authorization);
			registry->authorization = authorization;
			registry->generation++;
		}
	}
	pthread_mutex_unlock(&registry->lock);
	return r;
}

static char *url_of(const struct registry *registry, const char *path)
{
	if (str_starts(path, "http://") || str_starts(path, "https://"))
		return xstrdup(path);
	if (path[0] == '/')
		return xasprintf("%s://%s%s", registry->scheme, registry->host, path);
	return xasprintf("%s://%s/v2/%s/%s", registry->scheme, registry->host,
			 registry->ref->repository, path);
}

/* What we are is told to the registry alone, not to where it sends uploads. */
static bool is_at_registry(const struct registry *registry, const char *url)
{
	AUTO_FREE char *start = xasprintf("%s://%s/", registry->scheme, registry->host);

	return str_starts(url, start);
}

/* One exchange with the current authorization. */
static int exchange(struct registry *registry, struct http *http, const struct registry_call *call,
		    struct http_response *response, unsigned *ret_generation, struct err *err)
{
	struct http_request request = call->request;
	AUTO_FREE char *authorization = NULL;
	AUTO_FREE char *url = NULL;

	pthread_mutex_lock(&registry->lock);
	*ret_generation = registry->generation;
	url = url_of(registry, call->path);
	if (is_at_registry(registry, url))
		authorization = xstrdup(registry->authorization);
	pthread_mutex_unlock(&registry->lock);
	request.url = url;
	request.once = call->once;
	request.authorization = authorization;
	if (request.from == 0 && str_after(call->path, "manifests/"))
		request.accept = ACCEPT_MANIFESTS;
	return http_open(http, &request, response, err);
}

/* An insecure host that does not speak TLS: plain HTTP from now on. */
static bool fall_back(struct registry *registry, int code)
{
	bool did = false;

	pthread_mutex_lock(&registry->lock);
	if (registry->may_fall_back && (code == -EPROTO || code == -ECONNREFUSED)) {
		registry->scheme = "http";
		registry->may_fall_back = false;
		did = true;
	}
	pthread_mutex_unlock(&registry->lock);
	return did;
}

static bool is_good(const struct registry_call *call, const struct http_response *response)
{
	return (response->status >= 200 && response->status < 300) ||
	       (response->status == 404 && call->may_miss);
}

/* What a registry says about why not (OCI distribution specification, "Error Codes"), for what is
 * not told by the status. */
static int refused_with_reason(const struct registry *registry, struct http *http,
			       const struct http_response *response, const char *what,
			       struct err *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *answer = NULL;
	const char *message = NULL;
	size_t size = 0;
	int r = refused(registry, response, what, err);

	if (r != -EREMOTEIO || http_read_all(http, REFUSAL_MAX_BYTES, &text, &size, NULL) < 0 ||
	    json_parse(str_or(text, ""), size, "an error", &answer, NULL) < 0)
		return r;
	message = json_get_string(json_array_get(json_get_array(answer, "errors"), 0), "message");
	if (!message)
		return r;
	return err_set(err, r, "registry %s answered %ld for %s: %.200s", registry->ref->registry,
		       response->status, registry->image, message);
}

int registry_call(struct registry *registry, struct http *http, const struct registry_call *call,
		  struct http_response *response, struct err *err)
{
	unsigned attempts = call->once ? 1 : registry->options->attempts;
	bool authorized = false;
	int r;

	for (unsigned attempt = 1;; attempt++) {
		unsigned generation;

		*response = (struct http_response){ 0 };
		r = exchange(registry, http, call, response, &generation, err);
		if (r == 0 && is_good(call, response))
			return 0;
		if (r < 0 && fall_back(registry, r)) {
			attempt--;
			continue;
		}
		if (r == 0 && response->status == 401 && response->challenge[0] && !authorized) {
			authorized = true;
			attempt--;
			r = authorize(registry, http, response->challenge, generation, err);
			if (r == 0)
				continue;
			authorized =
				r == 0; /* what a broken connection failed may be tried again */
			if (r == -EACCES)
				return refused(registry, &(struct http_response){ .status = 401 },
					       call->what, err);
			attempt++;
		}
		if (r < 0 && (!registry_worth_retrying(r) || attempt >= attempts))
			return unreachable(registry, err);
		if (r == 0 &&
		    ((response->status != 429 && response->status < 500) || attempt >= attempts))
			return refused_with_reason(registry, http, response, call->what, err);
		registry_back_off(registry, attempt, response->retry_after);
	}
}

/* GETs path below the repository. what names the thing in errors (NULL: the image). */
static int get(struct registry *registry, struct http *http, const char *path, uint64_t from,
	       const char *what, struct http_response *response, struct err *err)
{
	const struct registry_call call = { .request = { .from = from },
					    .path = path,
					    .what = what };

	return registry_call(registry, http, &call, response, err);
}

int registry_get_manifest(struct registry *registry, const char *reference,
			  struct registry_document *ret_document, struct err *err)
{
	AUTO_FREE char *path = xasprintf("manifests/%s", reference);
	struct http *http = registry_take_connection(registry);
	struct http_response response;
	struct registry_document document = { 0 };
	int r = 0;

	for (unsigned attempt = 1; attempt <= registry->options->attempts; attempt++) {
		r = get(registry, http, path, 0, NULL, &response, err);
		if (r < 0)
			break;
		r = http_read_all(http, CONTENT_DOCUMENT_MAX, &document.text, &document.size, err);
		if (r == 0 || !registry_worth_retrying(r)) {
			if (r < 0)
				err_context(err, "cannot read the manifest of %s", registry->image);
			break;
		}
		unreachable(registry, err);
	}
	registry_give_connection(registry, http);
	if (r < 0)
		return r;
	memcpy(document.media_type, response.content_type, sizeof(document.media_type));
	memcpy(document.digest, response.digest, sizeof(document.digest));
	*ret_document = document;
	return 0;
}

/* A blob's stream. */

struct blob_stream {
	struct stream stream;
	struct registry *registry; /* borrowed */
	struct http *http;         /* owned until given back */
	char *path;                /* owned */
	char *what;                /* owned */
	uint64_t offset, size;
	uint64_t skip;     /* of a body that starts at 0 although it should not */
	unsigned failures; /* in a row, without a byte between */
	bool open;
};

static int blob_connect(struct blob_stream *self, struct err *err)
{
	struct http_response response;
	int r = get(self->registry, self->http, self->path, self->offset, self->what, &response,
		    err);

	if (r < 0)
		return r;
	self->skip = response.status == 206 ? 0 : self->offset;
	self->open = true;
	return 0;
}

static ssize_t blob_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct blob_stream *self = (struct blob_stream *)stream;

	for (;;) {
		const void *data;
		ssize_t n = self->open ? 0 : blob_connect(self, err);

		if (n == 0)
			n = http_read(self->http, &data, err);
		if (n == 0)
			return 0;
		if (n < 0) {
			bool was_open = self->open;

			self->open = false;
			/* get() has retried what it can; here it is about bodies that break. */
			if (!was_open || !registry_worth_retrying((int)n) ||
			    ++self->failures >= self->registry->options->attempts)
				return was_open ? unreachable(self->registry, err) : n;
			registry_back_off(self->registry, self->failures, NULL);
			continue;
		}
		if ((uint64_t)n <= self->skip) {
			self->skip -= (uint64_t)n;
			continue;
		}
		self->failures = 0;
		*ret_data = (const char *)data + self->skip;
		n -= (ssize_t)self->skip;
		self->skip = 0;
		self->offset += (uint64_t)n;
		return n;
	}
}

static void blob_free(struct stream *stream)
{
	struct blob_stream *self = (struct blob_stream *)stream;

	if (self->stream.ended == 0) /* read to its end: the connection can be used again */
		registry_give_connection(self->registry, TAKE_PTR(self->http));
	http_free(self->http);
	free(self->path);
	free(self->what);
	free(self);
}

int registry_open_blob(struct registry *registry, const char *digest, uint64_t size,
		       uint64_t offset, struct stream **ret_stream, struct err *err)
{
	static const struct stream_ops ops = { .read = blob_read, .free = blob_free };
	struct blob_stream *self = xcalloc(1, sizeof(*self));
	int r;

	*self = (struct blob_stream){ .stream = { &ops, 1 },
				      .registry = registry,
				      .http = registry_take_connection(registry),
				      .path = xasprintf("blobs/%s", digest),
				      .what = xasprintf("blob %s", digest),
				      .offset = offset,
				      .size = size };
	r = blob_connect(self, err);
	if (r < 0) {
		blob_free(&self->stream);
		return r;
	}
	*ret_stream = &self->stream;
	return 0;
}
