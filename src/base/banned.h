/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that are never right here; included for every file by the build (-include). What to use
 * instead: sbuf (strcpy, strcat, sprintf), str_split (strtok), str_parse_* (atoi, strtol),
 * proc_spawn (system), a bounded buffer (alloca).
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BANNED_ALLOW
#undef strcpy
#undef strcat
#undef strtok
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll system
#endif

#endif
