/* SPDX-License-Identifier: Apache-2.0 */
/* Where a command that writes an archive puts it. */
#ifndef CLI_OUTPUT_FILE_H
#define CLI_OUTPUT_FILE_H

#include "cli/cli.h"

/* The value of --output: *ret_path is NULL for standard output, which must not be a terminal. 0 or
 * -EINVAL: wrong usage. */
int output_file_choose(struct cli *cli, const char *output, const char **ret_path, struct err *err);

#endif
