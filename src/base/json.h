/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON documents of others safely (jansson): sizes and depths are bounded, members are
 * looked up by name with their type checked, errors name the member. The pointers returned are
 * borrowed from the document.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define AUTO_JSON CLEANUP(json_decrefp)

/* Parses size bytes of text; what names the document in errors. The result is a new reference. */
int json_parse(const char *text, size_t size, const char *what, json_t **ret_json, struct err *err);
/* Compact text with sorted keys, owned by the caller. */
char *json_text(const json_t *json);

/* A member of an object, or the default when it is absent, null or of another type. */
const char *json_get_string(const json_t *object, const char *name); /* NULL */
int64_t json_get_int(const json_t *object, const char *name, int64_t fallback);
bool json_get_bool(const json_t *object, const char *name, bool fallback);
json_t *json_get_array(const json_t *object, const char *name);  /* NULL */
json_t *json_get_object(const json_t *object, const char *name); /* NULL */
/* An array of strings as a string vector (NULL when absent; other elements are skipped). Owned. */
char **json_get_strv(const json_t *object, const char *name);
/* An array of the strings; a new reference. */
json_t *json_from_strv(char *const *strv);
/* Sets object[name] = text unless text is NULL. */
void json_set_string(json_t *object, const char *name, const char *text);

#endif
