/* SPDX-License-Identifier: Apache-2.0 */
/* The name that was probably meant: the nearest of all that are tried, if it is near at all. */
#ifndef CLI_HINT_H
#define CLI_HINT_H

#include "base/str.h"

struct hint {
	const char *word; /* what was typed; borrowed */
	const char *best; /* NULL while nothing is near */
	size_t distance;  /* what a candidate must fall below */
};

/* Short words are near to everything: they get less room. */
static inline struct hint hint_begin(const char *word)
{
	size_t length = strlen(word);

	return (struct hint){ word, NULL, length < 3 ? 2 : length < 6 ? 3 : 2 + length / 3 };
}

static inline void hint_try(struct hint *hint, const char *candidate)
{
	size_t distance = str_distance(hint->word, candidate);

	if (distance >= hint->distance)
		return;
	hint->distance = distance;
	hint->best = candidate;
}

#endif
