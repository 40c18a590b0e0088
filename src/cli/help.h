/* SPDX-License-Identifier: Apache-2.0 */
/* Help text, rendered from the command table. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "base/str.h"
#include "cli/command.h"

#define HELP_COLUMNS 100

/* "Usage: hull stop [OPTIONS] [CONTAINER...]"; owned by the caller. */
char *help_usage(const struct command_path *path);
void help_render(const struct command_path *path, struct sbuf *out);

#endif
