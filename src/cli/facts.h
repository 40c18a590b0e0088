/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of names and values, shown as a table or as one document. */
#ifndef CLI_FACTS_H
#define CLI_FACTS_H

#include "base/err.h"
#include "cli/output.h"

/* facts: an object of strings and numbers, in the order they were added. */
int facts_print(const char *const headings[3], const json_t *facts, enum output_format format,
		struct err *err);

#endif
