/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/registry.h"

#include <errno.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "engine/internal.h"
#include "image/ref.h"

void login_list_release(struct login_list *list)
{
	VEC_EACH (list, it) {
		free(it->host);
		free(it->username);
	}
	VEC_FREE(list);
}

int engine_image_push(struct engine *engine, const char *reference,
		      const struct push_options *options, char **ret_reference, struct err *err)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	AUTO_FREE char *normalised = NULL;
	json_t *request;
	int r = image_ref_parse(reference, engine->config.registry_default, &ref, err);

	if (r < 0)
		return r;
	normalised = image_ref_text(&ref);
	request = images_remote_request(engine, normalised, options->scheme);
	json_set_string(request, "platform", options->platform);
	r = images_worker(engine, "push", request, NULL, err);
	if (r == 0)
		*ret_reference = TAKE_PTR(normalised);
	return r;
}

/* The host of a registry, as references have it. Docker's own has several names. */
static int check_host(const char *text, char **ret_host, struct err *err)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	const char *host = str_or(str_after(text, "https://"), text);
	AUTO_FREE char *name = NULL;

	if (str_eq(host, "index.docker.io") || str_eq(host, "index.docker.io/v1/") ||
	    str_eq(host, "registry-1.docker.io"))
		host = "docker.io";
	name = xasprintf("%s/library/any", host);
	if (strchr(host, '/') || image_ref_parse(name, NULL, &ref, NULL) < 0 ||
	    !str_eq(ref.registry, host))
		return err_set(err, -EINVAL, "'%s' is no host of a registry", text);
	*ret_host = xstrdup(host);
	return 0;
}

static json_t *login_request(const struct engine *engine, const char *host, const char *scheme,
			     const char *username, const char *password)
{
	AUTO_FREE char *reference = xasprintf("%s/library/any:latest", host);
	json_t *request = images_remote_request(engine, reference, scheme);

	json_set_string(request, "host", host);
	if (username)
		json_object_set_new(
			request, "credentials",
			json_pack("{s:s, s:s}", "username", username, "password", password));
	return request;
}

int engine_registry_login(struct engine *engine, const char *host, const char *scheme,
			  const char *username, const char *password, struct err *err)
{
	AUTO_FREE char *name = NULL;
	int r = check_host(host, &name, err);

	if (r == 0 && !engine->docker_config)
		r = err_set(err, -ENOENT, "there is no home directory to keep a login in");
	if (r == 0 && strchr(username, ':'))
		r = err_set(err, -EINVAL, "a user name has no colon");
	if (r == 0)
		r = images_worker(engine, "login",
				  login_request(engine, name, scheme, username, password), NULL,
				  err);
	if (r == 0)
		r = images_worker(engine, "keep-login",
				  login_request(engine, name, scheme, username, password), NULL,
				  err);
	return r;
}

int engine_registry_logout(struct engine *engine, const char *host, struct err *err)
{
	AUTO_FREE char *name = NULL;
	int r = check_host(host, &name, err);

	if (r == 0 && !engine->docker_config)
		r = err_set(err, -ENOENT, "not logged in to %s", name);
	return r < 0 ? r
		     : images_worker(engine, "drop-login",
				     login_request(engine, name, NULL, NULL, NULL), NULL, err);
}

int engine_registry_list(struct engine *engine, struct login_list *ret_list, struct err *err)
{
	AUTO_JSON json_t *result = NULL;
	json_t *request = json_object();
	const json_t *item;
	size_t i;
	int r;

	json_set_string(request, "config_dir", str_or(engine->docker_config, "/nonexistent"));
	r = images_worker(engine, "list-logins", request, &result, err);
	if (r < 0)
		return r;
	json_array_foreach (json_get_array(result, "logins"), i, item) {
		struct login login = { .host = xstrdup(json_get_string(item, "hostname")),
				       .username = xstrdup(json_get_string(item, "username")),
				       .created_at = json_get_int(item, "created", 0),
				       .modified_at = json_get_int(item, "modified", 0) };

		VEC_PUSH(ret_list, login);
	}
	return 0;
}
