/* SPDX-License-Identifier: Apache-2.0 */
/* Tables on stdout: left-aligned columns, two spaces apart, the header also when there are no rows.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>

#include "base/cleanup.h"

struct table;

/* The headings: a NULL-terminated array, which must live as long as the table. */
struct table *table_new(const char *const *headings);
void table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* Appends an empty row; cells are then set from left to right (NULL: empty). Cells are copied. */
void table_row(struct table *table);
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void table_print(struct table *table);

#endif
