/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership. An owned local carries a cleanup attribute and is initialised where it is
 * declared; ownership leaves a scope only by TAKE_PTR or TAKE_FD.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* CLEANUP(fn) calls fn(&variable) at the end of the scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Makes `name##p`, the CLEANUP function of a destructor `name` that takes a pointer (or NULL). */
#define DEFINE_CLEANUP(type, name)             \
	static inline void name##p(type *slot) \
	{                                      \
		if (*slot)                     \
			name(*slot);           \
	}

static inline void cleanup_freep(void *slot)
{
	free(*(void **)slot);
}

static inline void cleanup_closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define AUTO_FREE CLEANUP(cleanup_freep)
#define AUTO_CLOSE CLEANUP(cleanup_closep)
#define AUTO_FCLOSE CLEANUP(cleanup_fclosep)

/* The value of an owned variable, which no longer owns it afterwards. */
#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

static inline int cleanup_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define TAKE_FD(fd) cleanup_take_fd(&(fd))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
