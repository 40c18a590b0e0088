/* SPDX-License-Identifier: Apache-2.0 */
#include "image/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/str.h"

#define CONFIG_MAX_BYTES (1024 * 1024)
#define ANSWER_MAX_BYTES (64 * 1024)
#define HELPER_NAME_MAX 64

void credentials_release(struct credentials *credentials)
{
	free(credentials->username);
	free(credentials->password);
	free(credentials->identity_token);
	*credentials = (struct credentials){ 0 };
}

char *credentials_encode(const char *text)
{
	size_t size = strlen(text);
	char *out = xmalloc(4 * ((size + 2) / 3) + 1);

	EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)size);
	return out;
}

int credentials_decode(const char *text, struct credentials *credentials)
{
	size_t size = strlen(text);
	AUTO_FREE char *plain = xcalloc(1, size + 4);
	char *colon;
	int n = size > ANSWER_MAX_BYTES ? -1
					: EVP_DecodeBlock((unsigned char *)plain,
							  (const unsigned char *)text, (int)size);

	colon = n > 0 ? strchr(plain, ':') : NULL;
	if (!colon)
		return -EBADMSG;
	*colon = '\0';
	credentials->username = xstrdup(plain);
	credentials->password = xstrdup(colon + 1);
	return 0;
}

int credential_helper_run(const char *name, const char *verb, const char *input, char **ret_output,
			  struct err *err)
{
	AUTO_FREE char *program = xasprintf("docker-credential-%s", name);
	char *const argv[] = { program, (char *)verb, NULL };
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int from = -1;
	AUTO_CLOSE int to = -1;
	int in[2];
	int out[2];
	pid_t pid;
	int r;

	if (strlen(name) > HELPER_NAME_MAX || strchr(name, '/'))
		return err_set(err, -EINVAL, "'%s' is no name of a credential helper", name);
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot create a pipe: %m");
	to = in[1];
	if (pipe2(out, O_CLOEXEC) < 0) {
		close(in[0]);
		return err_set(err, -errno, "cannot create a pipe: %m");
	}
	from = out[0];
	struct proc_fd fds[] = { { in[0], 0 }, { out[1], 1 } };
	r = proc_spawn(&(struct proc_spec){ .argv = argv, .fds = fds, .fd_count = 2 }, &pid, err);
	close(in[0]);
	close(out[1]);
	if (r < 0)
		return r;
	fd_write_all(to, input, strlen(input));
	close(TAKE_FD(to));
	r = fd_read_text(from, ANSWER_MAX_BYTES, &text, NULL);
	if (proc_wait(pid) != 0 || r < 0) {
		err_sanitize(text);
		return err_set(err, -EIO, "%s %s failed: %s", program, verb, str_or(text, ""));
	}
	*ret_output = TAKE_PTR(text);
	return 0;
}

/* That a helper knows nothing of the host is no error; that there is no such helper is. */
static int ask_helper(const char *name, const char *host, struct credentials *credentials,
		      struct err *err)
{
	AUTO_JSON json_t *answer = NULL;
	AUTO_FREE char *text = NULL;
	struct err ignored = { 0 };
	int r = credential_helper_run(name, "get", host, &text, &ignored);

	if (r < 0 && r != -EIO)
		return err_set(err, r, "%s", ignored.message);
	if (r < 0 || !text || json_parse(text, strlen(text), name, &answer, NULL) < 0)
		return 0;
	credentials->username = xstrdup(json_get_string(answer, "Username"));
	credentials->password = xstrdup(json_get_string(answer, "Secret"));
	if (str_eq(credentials->username, "<token>")) {
		credentials->identity_token = TAKE_PTR(credentials->password);
		free(TAKE_PTR(credentials->username));
	}
	return 0;
}

/* The entry of an object keyed by host, in the ways people and tools write hosts. */
static json_t *find_host(const json_t *object, const char *host)
{
	AUTO_FREE char *key = credentials_find_key(object, host);

	return key ? json_object_get(object, key) : NULL;
}

char *credentials_find_key(const json_t *object, const char *host)
{
	static const char *const forms[] = { "%s",          "https://%s",     "http://%s",
					     "https://%s/", "https://%s/v1/", "https://%s/v2/" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO_STRV char **parts = str_split(forms[i], '%', 2);
		AUTO_FREE char *key = xasprintf("%s%s%s", parts[0], host, parts[1] + 1);

		if (json_object_get(object, key))
			return TAKE_PTR(key);
	}
	return NULL;
}

int credentials_find(const char *config_dir, const char *registry,
		     struct credentials *ret_credentials, struct err *err)
{
	AUTO_FREE char *path = path_join(config_dir, "config.json");
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *config = NULL;
	const char *host = str_eq(registry, "docker.io") ? "index.docker.io" : registry;
	const char *helper;
	const json_t *entry;
	size_t size;
	int r;

	*ret_credentials = (struct credentials){ 0 };
	r = file_read(path, CONFIG_MAX_BYTES, &text, &size, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = json_parse(text, size, path, &config, err);
	if (r < 0)
		return r;
	helper = json_string_value(find_host(json_get_object(config, "credHelpers"), host));
	if (!helper)
		helper = json_get_string(config, "credsStore");
	entry = find_host(json_get_object(config, "auths"), host);
	if (!entry)
		entry = find_host(json_get_object(config, "auths"), registry);
	if (helper) {
		AUTO_FREE char *url = str_eq(registry, "docker.io")
					      ? xstrdup("https://index.docker.io/v1/")
					      : xstrdup(registry);

		r = ask_helper(helper, url, ret_credentials, err);
		if (r < 0 || ret_credentials->username || ret_credentials->identity_token)
			return r;
	}
	ret_credentials->identity_token = xstrdup(json_get_string(entry, "identitytoken"));
	if (json_get_string(entry, "username")) {
		ret_credentials->username = xstrdup(json_get_string(entry, "username"));
		ret_credentials->password = xstrdup(json_get_string(entry, "password"));
	} else if (str_or(json_get_string(entry, "auth"), "")[0]) {
		if (credentials_decode(json_get_string(entry, "auth"), ret_credentials) < 0)
			return err_set(err, -EBADMSG, "'%s' has an invalid auth for %s", path,
				       registry);
	}
	return 0;
}

/* The next name=value or name="value" of a challenge. */
static bool next_parameter(const char **rest, char **ret_name, char **ret_value)
{
	const char *c = *rest + strspn(*rest, " \t,");
	size_t n = strcspn(c, "= \t,");
	struct sbuf value = { 0 };

	if (n == 0 || c[n] != '=')
		return false;
	*ret_name = xstrndup(c, n);
	c += n + 1;
	if (*c == '"') {
		for (c++; *c && *c != '"'; c++) {
			if (*c == '\\' && c[1])
				c++;
			sbuf_add_bytes(&value, c, 1);
		}
		c += *c == '"';
	} else {
		n = strcspn(c, " \t,");
		sbuf_add_bytes(&value, c, n);
		c += n;
	}
	*ret_value = sbuf_take(&value);
	*rest = c;
	return true;
}

static void set_once(char **slot, char **value)
{
	if (!*slot)
		*slot = TAKE_PTR(*value);
}

int challenge_parse(const char *header, struct challenge *ret_challenge, struct err *err)
{
	CLEANUP(challenge_release) struct challenge challenge = { 0 };
	size_t n = strcspn(header, " \t");
	const char *rest = header + n;

	if (n == 5 && strncasecmp(header, "basic", 5) == 0) {
		*ret_challenge = challenge;
		return 0;
	}
	if (n != 6 || strncasecmp(header, "bearer", 6) != 0)
		return err_set(err, -ENOTSUP, "it asks for an unknown kind of authentication");
	challenge.bearer = true;
	for (;;) {
		AUTO_FREE char *name = NULL;
		AUTO_FREE char *value = NULL;

		if (!next_parameter(&rest, &name, &value))
			break;
		if (strcasecmp(name, "realm") == 0)
			set_once(&challenge.realm, &value);
		else if (strcasecmp(name, "service") == 0)
			set_once(&challenge.service, &value);
		else if (strcasecmp(name, "scope") == 0)
			set_once(&challenge.scope, &value);
	}
	if (!challenge.realm)
		return err_set(err, -EBADMSG, "it asks for a token but does not say from where");
	*ret_challenge = challenge;
	challenge = (struct challenge){ 0 };
	return 0;
}

void challenge_release(struct challenge *challenge)
{
	free(challenge->realm);
	free(challenge->service);
	free(challenge->scope);
	*challenge = (struct challenge){ 0 };
}

static void add_query(struct sbuf *url, const char *name, const char *value)
{
	if (!value)
		return;
	sbuf_addf(url, "%s%s=", strchr(str_or(url->text, ""), '?') ? "&" : "?", name);
	for (const char *c = value; *c; c++) {
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
			   *c))
			sbuf_add_bytes(url, c, 1);
		else
			sbuf_addf(url, "%%%02X", (unsigned)(unsigned char)*c);
	}
}

static char *basic_value(const struct credentials *credentials)
{
	AUTO_FREE char *plain =
		xasprintf("%s:%s", credentials->username, str_or(credentials->password, ""));
	AUTO_FREE char *encoded = credentials_encode(plain);

	return xasprintf("Basic %s", encoded);
}

/* Asks the token service. */
static int fetch_token(const struct challenge *challenge, const struct credentials *credentials,
		       const char *scope, struct http *http, char **ret_text, struct err *err)
{
	CLEANUP(sbuf_release) struct sbuf url = { 0 };
	CLEANUP(sbuf_release) struct sbuf form = { 0 };
	AUTO_FREE char *basic = credentials->username ? basic_value(credentials) : NULL;
	bool refresh = credentials->identity_token;
	struct http_response response;
	int r;

	sbuf_add(&url, challenge->realm);
	add_query(refresh ? &form : &url, "service", challenge->service);
	add_query(refresh ? &form : &url, "scope", str_or(challenge->scope, scope));
	if (refresh) {
		add_query(&form, "grant_type", "refresh_token");
		add_query(&form, "client_id", "hull");
		add_query(&form, "refresh_token", credentials->identity_token);
	}
	r = http_open(http,
		      &(struct http_request){ .url = url.text,
					      .authorization = refresh ? NULL : basic,
					      .form = refresh ? form.text + 1 : NULL },
		      &response, err);
	if (r == 0)
		r = http_read_all(http, ANSWER_MAX_BYTES, ret_text, NULL, err);
	if (r != 0) {
		err_context(err, "cannot get a token");
		return r;
	}
	if (response.status == 429 || response.status >= 500)
		return err_set(err, -EAGAIN, "the token service answered %ld", response.status);
	if (response.status != 200)
		return err_set(err, -EACCES, "the token service answered %ld", response.status);
	return 0;
}

int challenge_answer(const struct challenge *challenge, const struct credentials *credentials,
		     const char *scope, bool secure, struct http *http, char **ret_authorization,
		     struct err *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *answer = NULL;
	const char *token;
	int r;

	if (!challenge->bearer) {
		if (!credentials->username)
			return err_set(err, -EACCES, "it asks for a user name and a password");
		*ret_authorization = basic_value(credentials);
		return 0;
	}
	if (strncasecmp(challenge->realm, "https://", 8) != 0 &&
	    (secure || strncasecmp(challenge->realm, "http://", 7) != 0))
		return err_set(err, -EPROTO, "its token service '%s' is not secure",
			       challenge->realm);
	r = fetch_token(challenge, credentials, scope, http, &text, err);
	if (r < 0)
		return r;
	r = json_parse(str_or(text, ""), strlen(str_or(text, "")), "the token", &answer, err);
	if (r < 0)
		return r;
	token = json_get_string(answer, "token");
	if (!token)
		token = json_get_string(answer, "access_token");
	/* It becomes a header: nothing that could end one. */
	if (!token || token[0] == '\0' || strpbrk(token, "\r\n"))
		return err_set(err, -EBADMSG, "the token service sent no token");
	*ret_authorization = xasprintf("Bearer %s", token);
	return 0;
}
