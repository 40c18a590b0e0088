/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output_file.h"

#include <unistd.h>

#include "base/str.h"

int output_file_choose(struct cli *cli, const char *output, const char **ret_path, struct err *err)
{
	*ret_path = output && str_eq(output, "-") ? NULL : output;
	if (*ret_path || !isatty(STDOUT_FILENO))
		return 0;
	return cli_usage(cli, err, "an archive is not for a terminal: name a file with '--output'");
}
