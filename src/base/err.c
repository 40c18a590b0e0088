/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void err_sanitize(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
}

void err_set_message(struct err *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return;
	va_start(args, format);
	/* For %m; musl has no word for the other thing that a damaged file system says. */
	errno = code == -EUCLEAN ? EBADMSG : -code;
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	err_sanitize(err->message);
	err->code = code;
}

int err_context(struct err *err, const char *format, ...)
{
	char old[ERR_MESSAGE_MAX];
	va_list args;
	int n;

	if (!err)
		return 0;
	memcpy(old, err->message, sizeof(old));
	va_start(args, format);
	n = vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(err->message))
		snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", old);
	err_sanitize(err->message);
	return err->code;
}
