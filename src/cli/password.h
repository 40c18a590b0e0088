/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a person on the terminal. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include <stdbool.h>

#include "base/err.h"

/* A line from the terminal after the prompt, which goes to stderr; not shown if it is secret. The
 * line, owned by the caller and cleared by it. -ENOTTY without a terminal on stdin. */
int password_ask(const char *prompt, bool secret, char **ret_line, struct err *err);
/* The first line of stdin. */
int password_read(char **ret_line, struct err *err);

#endif
