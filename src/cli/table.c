/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"

struct table {
	const char *const *headings;  /* borrowed */
	struct libscols_table *scols; /* owned */
	struct libscols_line *line;   /* borrowed from scols: the last row */
	size_t column;                /* of the next cell */
	size_t rows;
};

struct table *table_new(const char *const *headings)
{
	struct table *table = xcalloc(1, sizeof(*table));

	/* Widths and what is printable depend on it; nothing else of hull does. */
	setlocale(LC_CTYPE, "");
	table->headings = headings;
	table->scols = scols_new_table();
	if (!table->scols)
		abort();
	scols_table_set_column_separator(table->scols, "  ");
	scols_table_enable_maxout(table->scols, 0);
	scols_table_set_termforce(table->scols, SCOLS_TERMFORCE_NEVER);
	for (const char *const *it = headings; *it; it++)
		if (!scols_table_new_column(table->scols, *it, 0, 0))
			abort();
	return table;
}

void table_free(struct table *table)
{
	scols_unref_table(table->scols);
	free(table);
}

void table_row(struct table *table)
{
	table->line = scols_table_new_line(table->scols, NULL);
	if (!table->line)
		abort();
	table->column = 0;
	table->rows++;
}

void table_cell(struct table *table, const char *text)
{

	if (scols_line_set_data(table->line, table->column++, str_or(text, "")) < 0)
		abort();
}

void table_cellf(struct table *table, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	table_cell(table, text);
}

void table_print(struct table *table)
{
	if (table->rows) {
		scols_print_table(table->scols);
		return;
	}
	/* libsmartcols prints nothing at all for an empty table. */
	for (size_t i = 0; table->headings[i]; i++)
		printf("%s%s", i ? "  " : "", table->headings[i]);
	printf("\n");
}
