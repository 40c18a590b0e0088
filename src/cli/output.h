/* SPDX-License-Identifier: Apache-2.0 */
/* Results as documents: JSON (sorted keys) and YAML of the same. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_FORMAT_COUNT };
extern const char *const output_format_names[OUTPUT_FORMAT_COUNT + 1]; /* NULL-terminated */
/* Of what is no table: from OUTPUT_JSON on. */
extern const char *const output_document_names[OUTPUT_FORMAT_COUNT];

/* Prints the document on stdout; indented matters to JSON. format is JSON or YAML. */
int output_document(enum output_format format, const json_t *json, bool indented, struct err *err);

#endif
