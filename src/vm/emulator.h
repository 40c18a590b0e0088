/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which QEMU runs the machines: the one that was asked for, else the lean one beside hull's
 * programs (qemu/build-lean), else the host's.
 */
#ifndef VM_EMULATOR_H
#define VM_EMULATOR_H

#include <stdbool.h>

#include "base/err.h"

/* Path of the program; owned by the caller. wanted: [vm] qemu, or NULL; programs: where hull's
 * programs are; search_path: the value of PATH, NULL: the usual directories. -ENOENT with what to
 * do; what is wanted and cannot be run is an error. */
int emulator_choose(const char *wanted, const char *programs, const char *search_path,
		    char **ret_path, struct err *err);
/* The lean one, whether it is there or not; owned by the caller. */
char *emulator_lean_path(const char *programs);
/* Debian's version in what `--version` prints ("... (Debian 1:7.2+dfsg-7+deb12u18+b3)"), without
 * what counts builds of one source; owned by the caller, NULL: there is none. */
char *emulator_package_version(const char *text);
/* By the order of Debian's versions, as far as those of one release go. */
bool emulator_is_newer(const char *version, const char *than);

#endif
