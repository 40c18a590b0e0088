/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/facts.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/table.h"

int facts_print(const char *const headings[3], const json_t *facts, enum output_format format,
		struct err *err)
{
	CLEANUP(table_freep) struct table *table = NULL;
	const char *name;
	json_t *value;

	if (format != OUTPUT_TABLE)
		return output_document(format, facts, true, err);
	table = table_new(headings);
	json_object_foreach ((json_t *)facts, name, value) {
		AUTO_FREE char *text = json_is_string(value) ? xstrdup(json_string_value(value))
							     : json_dumps(value, JSON_ENCODE_ANY);

		table_row(table);
		table_cell(table, name);
		table_cell(table, text);
	}
	table_print(table);
	return 0;
}
