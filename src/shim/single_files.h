/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that opens, for hull-share, the files that are shared by themselves, by their names
 * (share/opener.h). It is forked before the shim confines itself, as the shim's clerk is, may open
 * files in the directories that these are in, and never talks with a guest.
 */
#ifndef SHIM_SINGLE_FILES_H
#define SHIM_SINGLE_FILES_H

#include "base/err.h"
#include "shim/launch.h"
#include "store/config.h"

/* The socket to ask it by; the caller's. 0: the container shares no file by itself. program: as
 * for clerk_start. It ends when nobody has the socket any more. */
int single_files_start(const struct launch *launch, const struct container_config *config,
		       char *program, struct err *err);

#endif
