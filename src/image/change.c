/* SPDX-License-Identifier: Apache-2.0 */
/* --change of image import and commit: the instructions of a Dockerfile that touch only the config.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/verbs.h"

static const char *skip_space(const char *text)
{
	return text + strspn(text, " \t");
}

/* The array of a JSON form ("[…]"), or NULL. A new reference. */
static json_t *json_form(const char *value)
{
	json_t *array = NULL;
	size_t i;
	json_t *item;

	if (value[0] != '[' || json_parse(value, strlen(value), "a change", &array, NULL) < 0)
		return NULL;
	json_array_foreach (array, i, item)
		if (!json_is_string(item)) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static int set_command(json_t *config, const char *member, const char *value)
{
	json_t *array = json_form(value);

	if (!array)
		array = json_pack("[sss]", "/bin/sh", "-c", value);
	return json_object_set_new(config, member, array);
}

/* The next word, with "…" and '…' quotes and backslashes taken off; NULL at the end. Owned. */
static char *next_word(const char **rest)
{
	struct sbuf word = { 0 };
	const char *c = skip_space(*rest);
	char quote = 0;

	if (*c == '\0')
		return NULL;
	for (; *c && (quote || (*c != ' ' && *c != '\t')); c++) {
		if (quote ? *c == quote : *c == '"' || *c == '\'') {
			quote = quote ? 0 : *c;
			continue;
		}
		if (*c == '\\' && c[1] && quote != '\'')
			c++;
		sbuf_add_bytes(&word, c, 1);
	}
	*rest = c;
	return sbuf_take(&word);
}

typedef void (*pair_fn)(json_t *config, const char *key, const char *value);

static void set_env(json_t *config, const char *key, const char *value)
{
	json_t *env = json_get_array(config, "Env");
	AUTO_FREE char *text = xasprintf("%s=%s", key, value);
	size_t length = strlen(key) + 1;

	if (!env) {
		env = json_array();
		json_object_set_new(config, "Env", env);
	}
	for (size_t i = 0; i < json_array_size(env); i++)
		if (strncmp(str_or(json_string_value(json_array_get(env, i)), ""), text, length) ==
		    0)
			json_array_remove(env, i--);
	json_array_append_new(env, json_string(text));
}

static json_t *member_object(json_t *config, const char *member)
{
	json_t *object = json_get_object(config, member);

	if (!object) {
		object = json_object();
		json_object_set_new(config, member, object);
	}
	return object;
}

static void set_label(json_t *config, const char *key, const char *value)
{
	json_object_set_new(member_object(config, "Labels"), key, json_string(value));
}

/* K=V [K=V …], or the old form "K V". */
static int set_pairs(json_t *config, const char *value, pair_fn set)
{
	AUTO_FREE char *first = next_word(&(const char *){ value });

	if (first && !strchr(first, '=')) {
		const char *rest = skip_space(value + strcspn(value, " \t"));

		if (*rest == '\0')
			return -EINVAL;
		set(config, first, rest);
		return 0;
	}
	for (;;) {
		AUTO_FREE char *word = next_word(&value);
		char *equals = word ? strchr(word, '=') : NULL;

		if (!word)
			return 0;
		if (!equals || equals == word)
			return -EINVAL;
		*equals = '\0';
		set(config, word, equals + 1);
	}
}

static int set_words(json_t *config, const char *member, const char *value, bool ports)
{
	AUTO_JSON json_t *array = json_form(value);
	json_t *object = member_object(config, member);
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item)
		json_object_set_new(object, json_string_value(item), json_object());
	while (!array) {
		AUTO_FREE char *word = next_word(&value);
		AUTO_FREE char *port = NULL;

		if (!word)
			break;
		port = ports && !strchr(word, '/') ? xasprintf("%s/tcp", word) : xstrdup(word);
		if (ports && strspn(port, "0123456789-") != strcspn(port, "/"))
			return -EINVAL;
		json_object_set_new(object, port, json_object());
	}
	return 0;
}

/* --interval=30s and the like in front of a health check's command. */
static int set_health_option(json_t *check, const char *word)
{
	static const struct {
		const char *option, *member;
	} times[] = {
		{ "--interval=", "Interval" },
		{ "--timeout=", "Timeout" },
		{ "--start-period=", "StartPeriod" },
		{ "--start-interval=", "StartInterval" },
	};
	const char *retries = str_after(word, "--retries=");
	uint32_t count = 0;
	uint64_t ms = 0;

	if (retries && str_parse_u32(retries, &count) == 0)
		return json_object_set_new(check, "Retries", json_integer(count));
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		const char *value = str_after(word, times[i].option);

		if (value && str_parse_duration_ms(value, &ms) == 0 && ms < INT64_MAX / 1000000)
			return json_object_set_new(check, times[i].member,
						   json_integer((json_int_t)ms * 1000000));
	}
	return -EINVAL;
}

/* NONE, or [OPTION...] CMD and a command in either form. */
static int set_health(json_t *config, const char *value)
{
	AUTO_JSON json_t *check = json_object();
	json_t *test;
	int r = 0;

	while (r == 0 && str_starts(value, "--")) {
		AUTO_FREE char *word = next_word(&value);

		r = set_health_option(check, word);
		value = skip_space(value);
	}
	if (r < 0)
		return -EINVAL;
	if (!strcasecmp(value, "NONE")) {
		test = json_pack("[s]", "NONE");
	} else {
		if (strncasecmp(value, "CMD", 3) != 0 || (value[3] != ' ' && value[3] != '\t'))
			return -EINVAL;
		value = skip_space(value + 3);
		test = json_form(value);
		if (test)
			json_array_insert_new(test, 0, json_string("CMD"));
		else
			test = json_pack("[ss]", "CMD-SHELL", value);
	}
	json_object_set_new(check, "Test", test);
	return json_object_set(config, "Healthcheck", check);
}

int change_apply(json_t *config, const char *change, struct err *err)
{
	const char *word = skip_space(change);
	size_t length = strcspn(word, " \t");
	const char *value = skip_space(word + length);
	AUTO_FREE char *verb = xstrndup(word, length);
	int r = 0;

	if (*value == '\0')
		return err_set(err, -EINVAL, "change '%s' has no value", change);
	if (!strcasecmp(verb, "CMD"))
		r = set_command(config, "Cmd", value);
	else if (!strcasecmp(verb, "ENTRYPOINT"))
		r = set_command(config, "Entrypoint", value);
	else if (!strcasecmp(verb, "ENV"))
		r = set_pairs(config, value, set_env);
	else if (!strcasecmp(verb, "LABEL"))
		r = set_pairs(config, value, set_label);
	else if (!strcasecmp(verb, "WORKDIR"))
		json_set_string(config, "WorkingDir", value);
	else if (!strcasecmp(verb, "USER"))
		json_set_string(config, "User", value);
	else if (!strcasecmp(verb, "STOPSIGNAL"))
		json_set_string(config, "StopSignal", value);
	else if (!strcasecmp(verb, "HEALTHCHECK"))
		r = set_health(config, value);
	else if (!strcasecmp(verb, "EXPOSE"))
		r = set_words(config, "ExposedPorts", value, true);
	else if (!strcasecmp(verb, "VOLUME"))
		r = set_words(config, "Volumes", value, false);
	else
		return err_set(
			err, -EINVAL,
			"change '%s' is not one of CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL "
			"STOPSIGNAL USER VOLUME WORKDIR",
			change);
	return r < 0 ? err_set(err, -EINVAL, "change '%s' is malformed", change) : 0;
}
