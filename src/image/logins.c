/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins are kept where docker and podman keep them, in ~/.docker/config.json or with the
 * credential helper that it names, so that each tool finds the others'. What is hull's own is when
 * they were made, in the store's settings.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "image/auth.h"
#include "image/verbs.h"
#include "store/store.h"

#define CONFIG_MAX_BYTES (1024 * 1024)
#define DOCKER_KEY "https://index.docker.io/v1/"

struct config {
	char *path;   /* owned; behind symbolic links */
	json_t *json; /* owned: an object */
};

static void config_release(struct config *config)
{
	free(config->path);
	json_decref(config->json);
}

static int config_open(const struct task *task, struct config *ret_config, struct err *err)
{
	const char *dir = NULL;
	CLEANUP(config_release) struct config config = { 0 };
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *name = NULL;
	size_t size = 0;
	int r = task_string(task, "config_dir", &dir, err);

	if (r < 0)
		return r;
	name = path_join(dir, "config.json");
	config.path = realpath(name, NULL);
	if (!config.path)
		config.path = xstrdup(name);
	r = file_read(config.path, CONFIG_MAX_BYTES, &text, &size, err);
	if (r == -ENOENT)
		config.json = json_object();
	else if (r < 0)
		return r;
	else if ((r = json_parse(text, size, config.path, &config.json, err)) < 0)
		return r;
	if (!json_is_object(config.json))
		return err_set(err, -EBADMSG, "'%s' holds no JSON object", config.path);
	*ret_config = config;
	config = (struct config){ 0 };
	return 0;
}

static int config_write(const struct config *config, struct err *err)
{
	AUTO_FREE char *dir =
		xstrndup(config->path, (size_t)(path_base(config->path) - config->path));
	AUTO_FREE char *text = json_dumps(config->json, JSON_INDENT(8));
	int r = path_make_dirs(dir, 0700, err);

	return r < 0 ? r : file_write_atomic(config->path, text, strlen(text), 0600, true, err);
}

/* What Docker calls the registry in its files. */
static const char *key_of(const char *host)
{
	return str_eq(host, "docker.io") ? DOCKER_KEY : host;
}

static const char *helper_of(const struct config *config, const char *host)
{
	const json_t *helpers = json_get_object(config->json, "credHelpers");
	AUTO_FREE char *key = credentials_find_key(helpers, host);

	return key ? json_string_value(json_object_get(helpers, key))
		   : json_get_string(config->json, "credsStore");
}

static json_t *auths_of(const struct config *config)
{
	json_t *auths = json_object_get(config->json, "auths");

	if (json_is_object(auths))
		return auths;
	auths = json_object();
	json_object_set_new(config->json, "auths", auths);
	return auths;
}

/* The host's entries, however they are written. True if there were any. */
static bool drop_entries(json_t *auths, const char *host)
{
	bool found = false;
	char *key;

	while ((key = credentials_find_key(auths, host)) ||
	       (str_eq(host, "docker.io") &&
		(key = credentials_find_key(auths, "index.docker.io")))) {
		json_object_del(auths, key);
		free(key);
		found = true;
	}
	return found;
}

static char *times_key(const char *host)
{
	return xasprintf("login %s", host);
}

static int note_times(const struct task *task, const char *host, struct err *err)
{
	AUTO_FREE char *key = times_key(host);
	AUTO_FREE char *old = NULL;
	AUTO_FREE char *value = NULL;
	long long now = time(NULL);
	long long created = now;
	int r = store_get_setting(task->store, key, &old, err);

	if (r < 0)
		return r;
	if (old)
		sscanf(old, "%lld", &created);
	value = xasprintf("%lld %lld", created, now);
	return store_set_setting(task->store, key, value, err);
}

int verb_keep_login(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(config_release) struct config config = { 0 };
	const json_t *given = json_get_object(task->request, "credentials");
	const char *user = json_get_string(given, "username");
	const char *password = json_get_string(given, "password");
	const char *host = NULL;
	const char *helper;
	json_t *auths;
	int r = task_string(task, "host", &host, err);

	if (r == 0 && (!user || !password))
		r = err_set(err, -EINVAL, "the request has no credentials");
	if (r == 0)
		r = config_open(task, &config, err);
	if (r < 0)
		return r;
	helper = helper_of(&config, host);
	auths = auths_of(&config);
	drop_entries(auths, host);
	if (helper) {
		AUTO_JSON json_t *entry = json_pack("{s:s, s:s, s:s}", "ServerURL", key_of(host),
						    "Username", user, "Secret", password);
		AUTO_FREE char *text = json_text(entry);
		AUTO_FREE char *output = NULL;

		r = credential_helper_run(helper, "store", text, &output, err);
		json_object_set_new(auths, key_of(host), json_object());
	} else {
		AUTO_FREE char *plain = xasprintf("%s:%s", user, password);
		AUTO_FREE char *encoded = credentials_encode(plain);

		json_object_set_new(auths, key_of(host), json_pack("{s:s}", "auth", encoded));
	}
	if (r == 0)
		r = config_write(&config, err);
	if (r == 0)
		r = note_times(task, host, err);
	if (r == 0)
		*ret_result = json_object();
	return r;
}

int verb_drop_login(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(config_release) struct config config = { 0 };
	AUTO_FREE char *times = NULL;
	AUTO_FREE char *output = NULL;
	const char *host = NULL;
	const char *helper;
	bool found;
	int r = task_string(task, "host", &host, err);

	if (r == 0)
		r = config_open(task, &config, err);
	if (r < 0)
		return r;
	helper = helper_of(&config, host);
	found = drop_entries(auths_of(&config), host);
	if (helper && credential_helper_run(helper, "erase", key_of(host), &output, NULL) == 0)
		found = true;
	if (!found)
		return err_set(err, -ENOENT, "not logged in to %s", host);
	r = config_write(&config, err);
	times = times_key(host);
	if (r == 0)
		r = store_set_setting(task->store, times, NULL, err);
	if (r == 0)
		*ret_result = json_object();
	return r;
}

/* "https://host/v1/" → "host"; owned. */
static char *host_of(const char *key)
{
	const char *rest =
		str_or(str_after(key, "https://"), str_or(str_after(key, "http://"), key));
	char *host = xstrndup(rest, strcspn(rest, "/"));

	if (!str_eq(host, "index.docker.io"))
		return host;
	free(host);
	return xstrdup("docker.io");
}

static void add_login(const struct task *task, json_t *logins, const char *host, const char *user)
{
	AUTO_FREE char *key = times_key(host);
	AUTO_FREE char *times = NULL;
	json_t *login = json_pack("{s:s}", "hostname", host);
	long long created;
	long long modified;

	if (user)
		json_set_string(login, "username", user);
	if (store_get_setting(task->store, key, &times, NULL) == 0 && times &&
	    sscanf(times, "%lld %lld", &created, &modified) == 2) {
		json_object_set_new(login, "created", json_integer(created));
		json_object_set_new(login, "modified", json_integer(modified));
	}
	json_array_append_new(logins, login);
}

int verb_list_logins(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(config_release) struct config config = { 0 };
	json_t *logins;
	const char *key;
	json_t *entry;
	const char *dir = json_get_string(task->request, "config_dir");
	int r = config_open(task, &config, err);

	if (r < 0)
		return r;
	logins = json_array();
	json_object_foreach (auths_of(&config), key, entry) {
		struct credentials credentials = { 0 };
		AUTO_FREE char *host = host_of(key);

		if (credentials_find(dir, host, &credentials, NULL) == 0)
			add_login(task, logins, host, credentials.username);
		credentials_release(&credentials);
	}
	*ret_result = json_pack("{s:o}", "logins", logins);
	return 0;
}
