/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"

static struct termios saved;
static bool raw;

void terminal_raw(void)
{
	static bool registered;
	struct termios changed;

	if (raw || tcgetattr(0, &saved) < 0)
		return;
	if (!registered)
		atexit(terminal_restore);
	registered = true;
	changed = saved;
	cfmakeraw(&changed);
	raw = tcsetattr(0, TCSADRAIN, &changed) == 0;
}

void terminal_restore(void)
{
	if (raw)
		tcsetattr(0, TCSADRAIN, &saved);
	raw = false;
}

/* One key: a character, or "ctrl-" and one of @ a-z [ \ ] ^ _. */
static int parse_key(const char *text, char *ret_key)
{
	const char *control = str_after(text, "ctrl-");

	if (control && strlen(control) == 1) {
		char c = control[0];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c < '@' || c > '_')
			return -EINVAL;
		*ret_key = (char)(c - '@');
		return 0;
	}
	if (strlen(text) != 1)
		return -EINVAL;
	*ret_key = text[0];
	return 0;
}

int detach_keys_parse(const char *text, struct detach_keys *ret_keys, struct err *err)
{
	struct detach_keys keys = { 0 };
	AUTO_STRV char **fields = NULL;

	if (!text)
		text = "ctrl-p,ctrl-q";
	if (*text)
		fields = str_split(text, ',', 0);
	STRV_EACH (fields, it) {
		if (keys.count == sizeof(keys.keys) || parse_key(*it, &keys.keys[keys.count++]) < 0)
			return err_set(err, -EINVAL, "invalid detach keys '%s'", text);
	}
	*ret_keys = keys;
	return 0;
}

bool detach_keys_feed(struct detach_keys *keys, const char *data, size_t size, char *out,
		      size_t *ret_size)
{
	size_t n = 0;

	if (!keys->count) {
		memcpy(out, data, size);
		*ret_size = size;
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		if (data[i] == keys->keys[keys->matched]) {
			if (++keys->matched == keys->count)
				return true;
			continue;
		}
		/* Not the keys after all: what was held back goes on. */
		memcpy(out + n, keys->keys, keys->matched);
		n += keys->matched;
		keys->matched = 0;
		if (data[i] == keys->keys[0])
			keys->matched = 1;
		else
			out[n++] = data[i];
	}
	*ret_size = n;
	return false;
}
