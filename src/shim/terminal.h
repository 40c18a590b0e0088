/* SPDX-License-Identifier: Apache-2.0 */
/* The user's terminal while a process of a container owns it. */
#ifndef SHIM_TERMINAL_H
#define SHIM_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Makes stdin's terminal raw (nothing happens if it is none) until terminal_restore, which also
 * runs at exit(3). Safe to call twice. */
void terminal_raw(void);
void terminal_restore(void);

/* Recognises the keys that detach. */
struct detach_keys {
	char keys[16];
	size_t count; /* 0: none */
	size_t matched;
};
/* "ctrl-p,ctrl-q", "ctrl-@", "a"; "" for none, NULL for the default. -EINVAL. */
int detach_keys_parse(const char *text, struct detach_keys *ret_keys, struct err *err);
/* Looks at what was typed. Returns true when the keys are complete; otherwise data and size become
 * what is to be sent on (in out, which has room for size + 16 bytes). */
bool detach_keys_feed(struct detach_keys *keys, const char *data, size_t size, char *out,
		      size_t *ret_size);

#endif
