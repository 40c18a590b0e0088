/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that aborts instead of failing, for small sizes of our own choosing. A size that comes
 * from an image, the network or a guest is bounded first and then taken from plain malloc, checked.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* malloc for a size that was bounded; NULL when there is not so much. */
void *try_malloc(size_t size);
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
void *xmemdup(const void *data, size_t size) __attribute__((malloc, returns_nonnull));
/* NULL in gives NULL out. */
char *xstrdup(const char *text) __attribute__((malloc));
char *xstrndup(const char *text, size_t max) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), malloc));

#endif
