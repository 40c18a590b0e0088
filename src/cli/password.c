/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/password.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINE_MAX_BYTES 65536 /* tokens are long */

int password_read(char **ret_line, struct err *err)
{
	char *line = malloc(LINE_MAX_BYTES);
	size_t size = 0;
	ssize_t n = 1;

	if (!line)
		return err_set(err, -ENOMEM, "cannot read a password: %m");
	/* Byte by byte: what follows the line is not ours. */
	while (size < LINE_MAX_BYTES - 1 && (n = read(STDIN_FILENO, line + size, 1)) == 1 &&
	       line[size] != '\n')
		size++;
	if (size > 0 && line[size - 1] == '\r')
		size--;
	line[size] = '\0';
	if (n < 0 || size == 0) {
		explicit_bzero(line, LINE_MAX_BYTES);
		free(line);
		return n < 0 ? err_set(err, -errno, "cannot read the standard input: %m")
			     : err_set(err, -EINVAL, "the standard input is empty");
	}
	*ret_line = line;
	return 0;
}

int password_ask(const char *prompt, bool secret, char **ret_line, struct err *err)
{
	struct termios old;
	struct termios silent;
	int r;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return err_set(err, -ENOTTY,
			       "there is no terminal to ask on: use '--username' and "
			       "'--password-stdin'");
	silent = old;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	fprintf(stderr, "%s: ", prompt);
	fflush(stderr);
	if (secret)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	r = password_read(ret_line, err);
	if (secret) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	return r;
}
