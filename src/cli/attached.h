/* SPDX-License-Identifier: Apache-2.0 */
/* The exit status of commands that return a process's. */
#ifndef CLI_ATTACHED_H
#define CLI_ATTACHED_H

#include <errno.h>
#include <stdbool.h>

#include "cli/cli.h"

/* What the engine told of a process that ran. */
static inline int attached_status(int status)
{
	return status == ENGINE_DETACHED ? CLI_STATUS_OK : status;
}

/* What it told of one that did not: r is its error, passed on. */
static inline int attached_failure(struct cli *cli, int r, int status)
{
	/* -EINTR: signals made us leave; the status says which. */
	bool tells = r == -EINTR || status == CLI_STATUS_NOT_EXECUTABLE ||
		     status == CLI_STATUS_NOT_FOUND;

	cli->failure_status = tells ? status : CLI_STATUS_HULL_FAILED;
	return r;
}

#endif
