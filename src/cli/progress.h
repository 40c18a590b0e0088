/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an operation is getting on, on stderr: bars that move on a terminal, lines otherwise. The
 * cursor is always left at the beginning of a line, so that other output can follow at any time.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>

#include "engine/engine.h"

enum progress_mode {
	PROGRESS_AUTO, /* ansi when stderr is a terminal, else plain */
	PROGRESS_NONE,
	PROGRESS_PLAIN, /* never an escape sequence */
	PROGRESS_ANSI,
	PROGRESS_MODE_COUNT
};
extern const char *const progress_mode_names[PROGRESS_MODE_COUNT + 1]; /* NULL-terminated */

struct progress;

struct progress *progress_new(enum progress_mode mode, bool color);
struct progress *progress_free(struct progress *progress);
/* Borrows progress. */
struct engine_ui progress_ui(struct progress *progress);
/* What is shown now stays as it is; later progress begins below. NULL is ignored. */
void progress_finish(struct progress *progress);

#endif
