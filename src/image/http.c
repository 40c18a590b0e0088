/* SPDX-License-Identifier: Apache-2.0 */
#include "image/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "config.h"

#define BODY_BUFFER_SIZE (256 * 1024)
#define REDIRECTS_MAX 5L
#define CONNECT_TIMEOUT_MS 15000L
#define POLL_MS 200 /* how soon a cancellation or a stall is noticed */
#define HEADERS_MAX 256

/* Two buffers: one is filled by libcurl while the reader holds the other. */
struct http {
	const struct http_options *options;
	CURL *easy;
	CURLM *multi;
	bool running; /* easy is in multi */
	bool paused;
	bool finished;
	CURLcode result; /* valid once finished */
	bool headed;     /* the final head is in */
	unsigned headers;
	struct http_response response;
	struct curl_slist *headers_sent; /* owned */
	char *filling, *held;            /* owned; BODY_BUFFER_SIZE each */
	size_t filled;
	uint64_t active_ms;          /* when the last byte came or went */
	struct http_request request; /* its texts are the caller's, until it is sent */
	uint64_t body_offset;
	char reason[CURL_ERROR_SIZE];
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct http *http = ctx;
	size_t n = size * count;

	http->headed = true;
	http->active_ms = clock_monotonic_ms();
	if (n > BODY_BUFFER_SIZE - http->filled) {
		http->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(http->filling + http->filled, data, n);
	http->filled += n;
	return n;
}

/* Copies the value of the header, cut to fit, if its name is the one. */
static bool take_header(const char *line, size_t size, const char *name, char *out, size_t out_size)
{
	size_t length = strlen(name);

	if (size <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
		return false;
	line += length + 1;
	size -= length + 1;
	while (size > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		size--;
	}
	while (size > 0 && strchr(" \t\r\n", line[size - 1]))
		size--;
	if (size >= out_size)
		return false;
	memcpy(out, line, size);
	out[size] = '\0';
	return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
	struct http *http = ctx;
	struct http_response *response = &http->response;
	char challenge[sizeof(response->challenge)];
	size_t n = size * count;

	http->active_ms = clock_monotonic_ms();
	if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* of a redirect's target, too */
		*response = (struct http_response){ 0 };
		http->headers = 0;
	}
	if (++http->headers > HEADERS_MAX)
		return 0;
	if (take_header(line, n, "content-type", response->content_type,
			sizeof(response->content_type)))
		response->content_type[strcspn(response->content_type, "; ")] = '\0';
	take_header(line, n, "docker-content-digest", response->digest, sizeof(response->digest));
	take_header(line, n, "location", response->location, sizeof(response->location));
	take_header(line, n, "retry-after", response->retry_after, sizeof(response->retry_after));
	take_header(line, n, "range", response->range, sizeof(response->range));
	if (take_header(line, n, "www-authenticate", challenge, sizeof(challenge)) &&
	    strncasecmp(response->challenge, "bearer", 6) != 0)
		memcpy(response->challenge, challenge, sizeof(challenge));
	return n;
}

struct http *http_new(const struct http_options *options)
{
	struct http *http = xcalloc(1, sizeof(*http));

	http->options = options;
	http->easy = curl_easy_init();
	http->multi = curl_multi_init();
	http->filling = xmalloc(BODY_BUFFER_SIZE);
	http->held = xmalloc(BODY_BUFFER_SIZE);
	if (!http->easy || !http->multi)
		abort(); /* only for want of memory */
	return http;
}

static void stop(struct http *http)
{
	if (http->running)
		curl_multi_remove_handle(http->multi, http->easy);
	http->running = false;
	curl_slist_free_all(TAKE_PTR(http->headers_sent));
}

void http_free(struct http *http)
{
	if (!http)
		return;
	stop(http);
	curl_easy_cleanup(http->easy);
	curl_multi_cleanup(http->multi);
	free(http->filling);
	free(http->held);
	free(http);
}

static void set_tls(CURL *easy, const struct http_options *options)
{
	struct curl_blob ca = { .data = options->ca,
				.len = options->ca ? strlen(options->ca) : 0,
				.flags = CURL_BLOB_NOCOPY };

	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options->insecure ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options->insecure ? 0L : 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (options->ca)
		curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
	if (options->certificate && options->key) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, options->certificate);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, options->key);
	}
}

static size_t on_send(char *buffer, size_t size, size_t count, void *ctx)
{
	struct http *http = ctx;
	uint64_t left = http->request.body_size - http->body_offset;
	size_t most = size * count < left ? size * count : (size_t)left;
	ssize_t n = pread(http->request.body, buffer, most,
			  (off_t)(http->request.body_from + http->body_offset));

	if (n < 0)
		return CURL_READFUNC_ABORT;
	http->active_ms = clock_monotonic_ms();
	http->body_offset += (uint64_t)n;
	if (http->request.sent)
		http->request.sent(http->request.sent_ctx,
				   http->request.body_from + http->body_offset);
	return (size_t)n;
}

/* A redirect sends the body again, and so does libcurl by itself when a kept connection was closed
 * under it. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct http *http = ctx;
	bool is_redirect = http->headers > 0;

	if (origin != SEEK_SET || offset < 0 ||
	    (http->request.once && http->body_offset && !is_redirect))
		return CURL_SEEKFUNC_FAIL;
	http->body_offset = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static void set_method(struct http *http, const struct http_request *request)
{
	CURL *easy = http->easy;

	if (strcmp(request->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
	curl_easy_setopt(easy, CURLOPT_READDATA, http);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, http);
}

static void add_header(struct http *http, const char *name, const char *value)
{
	AUTO_FREE char *line = xasprintf("%s: %s", name, value);

	http->headers_sent = curl_slist_append(http->headers_sent, line);
}

static void set_request(struct http *http, const struct http_request *request)
{
	CURL *easy = http->easy;
	bool https = strncasecmp(request->url, "https:", 6) == 0;
	char range[32];

	curl_easy_reset(easy); /* keeps connections */
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "hull/" HULL_VERSION);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->reason);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
	set_tls(easy, http->options);
	if (request->accept)
		add_header(http, "Accept", request->accept);
	if (request->authorization) /* libcurl drops it when a redirect leaves the host */
		add_header(http, "Authorization", request->authorization);
	if (request->content_type)
		add_header(http, "Content-Type", request->content_type);
	if (request->content_range)
		add_header(http, "Content-Range", request->content_range);
	if (request->method) {
		/* Whether it is let in is known by then; many servers do not say "continue". */
		http->headers_sent = curl_slist_append(http->headers_sent, "Expect:");
		set_method(http, request);
	}
	if (http->headers_sent)
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers_sent);
	if (request->form)
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->form);
	if (request->from > 0) {
		snprintf(range, sizeof(range), "%llu-", (unsigned long long)request->from);
		curl_easy_setopt(easy, CURLOPT_RANGE, range);
	}
}

static int failure(struct http *http, struct err *err)
{
	static const struct {
		CURLcode result;
		int code;
		const char *text;
	} causes[] = {
		{ CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, "the host name cannot be resolved" },
		{ CURLE_COULDNT_CONNECT, -ECONNREFUSED, "cannot connect" },
		{ CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, "the connection timed out" },
		{ CURLE_TOO_MANY_REDIRECTS, -ELOOP, "it redirects in a circle" },
		{ CURLE_UNSUPPORTED_PROTOCOL, -EPROTO, "it redirects to an insecure address" },
		{ CURLE_PEER_FAILED_VERIFICATION, -EKEYREJECTED, "its certificate is not trusted" },
		{ CURLE_SSL_CONNECT_ERROR, -EPROTO, "it does not speak TLS" },
		{ CURLE_RECV_ERROR, -ECONNRESET, "the connection broke" },
		{ CURLE_SEND_ERROR, -ECONNRESET, "the connection broke" },
		{ CURLE_SEND_FAIL_REWIND, -ECONNRESET, "the connection broke" },
		{ CURLE_GOT_NOTHING, -ECONNRESET, "the connection was closed without an answer" },
		{ CURLE_PARTIAL_FILE, -ECONNRESET, "the connection ended early" },
		{ CURLE_HTTP2_STREAM, -ECONNRESET, "the connection broke" },
	};

	/* TLS 1.3 refuses a client after the handshake, by an alert in place of an answer. */
	if (strstr(http->reason, "certificate required") ||
	    strstr(http->reason, "bad certificate") || strstr(http->reason, "unknown ca"))
		return err_set(err, -EKEYREJECTED, "it does not accept us by our certificate (%s)",
			       http->reason);
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if (causes[i].result == http->result)
			return err_set(err, causes[i].code, "%s (%s)", causes[i].text,
				       http->reason[0] ? http->reason
						       : curl_easy_strerror(http->result));
	return err_set(err, -EPROTO, "%s",
		       http->reason[0] ? http->reason : curl_easy_strerror(http->result));
}

/* Lets libcurl work until there is a body's byte, the end, or (for_head) the end of redirects. */
static int drive(struct http *http, struct err *err)
{
	int running = 0;
	CURLMsg *message;

	while (!http->finished && http->filled == 0) {
		if (http->options->cancelled && atomic_load(http->options->cancelled))
			return err_set(err, -ECANCELED, "cancelled");
		if (http->paused) {
			http->paused = false;
			curl_easy_pause(http->easy, CURLPAUSE_CONT);
			if (http->filled > 0)
				break;
		}
		if (curl_multi_perform(http->multi, &running) != CURLM_OK)
			return err_set(err, -EIO, "libcurl failed");
		while ((message = curl_multi_info_read(http->multi, &(int){ 0 })))
			if (message->msg == CURLMSG_DONE) {
				http->finished = true;
				http->result = message->data.result;
			}
		if (http->finished || http->filled > 0)
			break;
		if (clock_monotonic_ms() - http->active_ms > http->options->stall_ms)
			return err_set(err, -ETIMEDOUT, "no data came for %.1f seconds",
				       http->options->stall_ms / 1000.0);
		curl_multi_poll(http->multi, NULL, 0, POLL_MS, NULL);
	}
	return 0;
}

int http_open(struct http *http, const struct http_request *request,
	      struct http_response *ret_response, struct err *err)
{
	int r;

	stop(http);
	http->paused = http->finished = http->headed = false;
	http->filled = 0;
	http->reason[0] = '\0';
	http->response = (struct http_response){ 0 };
	http->headers = 0;
	http->active_ms = clock_monotonic_ms();
	http->request = *request;
	http->body_offset = 0;
	set_request(http, request);
	if (curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
		return err_set(err, -EIO, "libcurl failed");
	http->running = true;
	r = drive(http, err);
	if (r < 0)
		return r;
	curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &http->response.status);
	/* A body that breaks is http_read's matter; without a status there was no answer. */
	if (http->finished && http->result != CURLE_OK &&
	    (!http->headed || http->result == CURLE_TOO_MANY_REDIRECTS))
		return failure(http, err);
	*ret_response = http->response;
	return 0;
}

ssize_t http_read(struct http *http, const void **ret_data, struct err *err)
{
	int r = drive(http, err);
	size_t n = http->filled;
	char *held = http->held;

	if (r < 0)
		return r;
	if (n == 0)
		return http->result == CURLE_OK ? 0 : failure(http, err);
	*ret_data = http->filling;
	http->held = http->filling;
	http->filling = held;
	http->filled = 0;
	return (ssize_t)n;
}

int http_read_all(struct http *http, size_t max, char **ret_text, size_t *ret_size, struct err *err)
{
	CLEANUP(sbuf_release) struct sbuf text = { 0 };
	const void *data = NULL;
	ssize_t n;

	while ((n = http_read(http, &data, err)) > 0) {
		if (text.length + (size_t)n > max)
			return err_set(err, -E2BIG, "the answer is larger than %zu bytes", max);
		sbuf_add_bytes(&text, data, (size_t)n);
	}
	if (n < 0)
		return (int)n;
	if (ret_size)
		*ret_size = text.length;
	*ret_text = sbuf_take(&text);
	return 0;
}
