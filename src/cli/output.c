/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/vec.h"

const char *const output_format_names[OUTPUT_FORMAT_COUNT + 1] = {
	[OUTPUT_TABLE] = "table",
	[OUTPUT_JSON] = "json",
	[OUTPUT_YAML] = "yaml",
};
const char *const output_document_names[OUTPUT_FORMAT_COUNT] = { "json", "yaml", NULL };

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool emit_event(yaml_emitter_t *emitter, yaml_event_t *event)
{
	return yaml_emitter_emit(emitter, event);
}

/* A plain "true", "1" or "" would be read back as something else: such strings are quoted. */
static bool needs_quotes(const char *text)
{
	static const char *const words[] = { "null", "Null",  "NULL",  "true",  "True",
					     "TRUE", "false", "False", "FALSE", "yes",
					     "Yes",  "YES",   "no",    "No",    "NO",
					     "on",   "On",    "ON",    "off",   "Off",
					     "OFF",  "y",     "Y",     "n",     "N" };

	if (!*text || strchr("0123456789+-.~<=", text[0]))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i], text) == 0)
			return true;
	return false;
}

static bool emit_scalar(yaml_emitter_t *emitter, const char *text, bool quoted)
{
	yaml_event_t event;

	return yaml_scalar_event_initialize(
		       &event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
		       quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE) &&
	       emit_event(emitter, &event);
}

static bool emit_value(yaml_emitter_t *emitter, const json_t *json);

static bool emit_object(yaml_emitter_t *emitter, const json_t *json)
{
	VEC(const char *) keys = { 0 };
	yaml_event_t event;
	const char *key;
	json_t *value;
	bool ok;

	json_object_foreach ((json_t *)json, key, value)
		VEC_PUSH(&keys, key);
	if (keys.count)
		qsort(keys.items, keys.count, sizeof(keys.items[0]), compare_keys);
	ok = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
						 keys.count ? YAML_BLOCK_MAPPING_STYLE
							    : YAML_FLOW_MAPPING_STYLE) &&
	     emit_event(emitter, &event);
	for (size_t i = 0; ok && i < keys.count; i++)
		ok = emit_scalar(emitter, keys.items[i], needs_quotes(keys.items[i])) &&
		     emit_value(emitter, json_object_get(json, keys.items[i]));
	VEC_FREE(&keys);
	return ok && yaml_mapping_end_event_initialize(&event) && emit_event(emitter, &event);
}

static bool emit_array(yaml_emitter_t *emitter, const json_t *json)
{
	yaml_event_t event;
	json_t *value;
	size_t i;
	bool ok = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
						       json_array_size(json)
							       ? YAML_BLOCK_SEQUENCE_STYLE
							       : YAML_FLOW_SEQUENCE_STYLE) &&
		  emit_event(emitter, &event);

	json_array_foreach (json, i, value)
		ok = ok && emit_value(emitter, value);
	return ok && yaml_sequence_end_event_initialize(&event) && emit_event(emitter, &event);
}

static bool emit_value(yaml_emitter_t *emitter, const json_t *json)
{
	const char *text = json_string_value(json);
	AUTO_FREE char *scalar = NULL;

	if (json_is_object(json))
		return emit_object(emitter, json);
	if (json_is_array(json))
		return emit_array(emitter, json);
	if (text)
		return emit_scalar(emitter, text, needs_quotes(text));
	scalar = json_dumps(json, JSON_ENCODE_ANY);
	return scalar && emit_scalar(emitter, scalar, false);
}

static bool emit_document(yaml_emitter_t *emitter, const json_t *json)
{
	yaml_event_t event;

	yaml_emitter_set_output_file(emitter, stdout);
	yaml_emitter_set_unicode(emitter, 1);
	yaml_emitter_set_width(emitter, -1);
	return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
	       emit_event(emitter, &event) &&
	       yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
	       emit_event(emitter, &event) && emit_value(emitter, json) &&
	       yaml_document_end_event_initialize(&event, 1) && emit_event(emitter, &event) &&
	       yaml_stream_end_event_initialize(&event) && emit_event(emitter, &event);
}

int output_document(enum output_format format, const json_t *json, bool indented, struct err *err)
{
	bool ok;

	if (format == OUTPUT_YAML) {
		yaml_emitter_t emitter;

		ok = yaml_emitter_initialize(&emitter) && emit_document(&emitter, json);
		yaml_emitter_delete(&emitter);
	} else {
		ok = json_dumpf(json, stdout,
				JSON_SORT_KEYS | JSON_ENCODE_ANY |
					(indented ? JSON_INDENT(2) : JSON_COMPACT)) == 0;
		putchar('\n');
	}
	if (!ok)
		return err_set(err, -EIO, "cannot write the result");
	return 0;
}
