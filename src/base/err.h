/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a user will read. Functions return 0 (or a count) or a negative errno; where a cause
 * is worth telling they take a `struct err *` last (may be NULL). It is set once, at the source;
 * callers add context in front with err_context() and never change the code.
 *
 * Messages are one line: lower case, no full stop, user text quoted: "cannot open disk '/x': No
 * such file or directory". In the format, %m is the text of the code's errno.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define ERR_MESSAGE_MAX 1024

struct err {
	int code;                      /* negative errno; 0 while nothing failed */
	char message[ERR_MESSAGE_MAX]; /* "" while nothing failed; always one line, truncated to fit
					*/
};

/* Sets code (negative errno) and message, unless err is NULL. Returns code: a macro, so that
 * compilers and analyzers see that the caller's -ERRNO comes back. */
#define err_set(err, code, ...)                                 \
	({                                                      \
		const int err_code_ = (code);                   \
		err_set_message((err), err_code_, __VA_ARGS__); \
		err_code_;                                      \
	})
void err_set_message(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<formatted>: " in front of the message. Returns err's code (0 for NULL or an unset err). */
int err_context(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes one line of untrusted text: control characters become '?'. In place. */
void err_sanitize(char *text);

#endif
