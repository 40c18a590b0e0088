/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>

#include "base/mem.h"
#include "base/str.h"

int json_parse(const char *text, size_t size, const char *what, json_t **ret_json, struct err *err)
{
	json_error_t error;
	json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		return err_set(err, -EBADMSG, "cannot parse %s: line %d: %s", what, error.line,
			       error.text);
	*ret_json = json;
	return 0;
}

char *json_text(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	return text ? text : xstrdup("null");
}

const char *json_get_string(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

int64_t json_get_int(const json_t *object, const char *name, int64_t fallback)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool json_get_bool(const json_t *object, const char *name, bool fallback)
{
	const json_t *value = json_object_get(object, name);

	return json_is_boolean(value) ? json_boolean_value(value) : fallback;
}

json_t *json_get_array(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_array(value) ? value : NULL;
}

json_t *json_get_object(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_object(value) ? value : NULL;
}

char **json_get_strv(const json_t *object, const char *name)
{
	const json_t *array = json_get_array(object, name);
	char **strv = NULL;
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item)
		if (json_is_string(item))
			strv_push(&strv, json_string_value(item));
	return strv;
}

json_t *json_from_strv(char *const *strv)
{
	json_t *array = json_array();

	STRV_EACH (strv, it)
		json_array_append_new(array, json_string(*it));
	return array;
}

void json_set_string(json_t *object, const char *name, const char *text)
{
	if (text)
		json_object_set_new(object, name, json_string(text));
}
