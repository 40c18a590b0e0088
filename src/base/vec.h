/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing arrays. A vector is any struct with members `items` (pointer), `count` and `capacity`:
 * VEC(struct layer) layers = {0}; VEC_PUSH(&layers, layer). The items are the owner's to release.
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define VEC(type)                \
	struct {                 \
		type *items;     \
		size_t count;    \
		size_t capacity; \
	}

#define VEC_PUSH(vec, item)                                                                       \
	do {                                                                                      \
		if ((vec)->count == (vec)->capacity) {                                            \
			(vec)->capacity = (vec)->capacity ? (vec)->capacity * 2 : 8;              \
			(vec)->items =                                                            \
				xrealloc((vec)->items, (vec)->capacity, sizeof((vec)->items[0])); \
		}                                                                                 \
		(vec)->items[(vec)->count++] = (item);                                            \
	} while (0)

#define VEC_EACH(vec, it)                                    \
	for (__typeof__((vec)->items + 0) it = (vec)->items; \
	     it && it < (vec)->items + (vec)->count; it++)

/* Removes item i by moving the later ones down. */
#define VEC_REMOVE(vec, i)                                                 \
	do {                                                               \
		memmove(&(vec)->items[i], &(vec)->items[(i) + 1],          \
			((vec)->count - (i)-1) * sizeof((vec)->items[0])); \
		(vec)->count--;                                            \
	} while (0)

/* Frees the array, not what its items own. */
#define VEC_FREE(vec)                               \
	do {                                        \
		free((vec)->items);                 \
		(vec)->items = NULL;                \
		(vec)->count = (vec)->capacity = 0; \
	} while (0)

#endif
