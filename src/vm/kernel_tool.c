/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hull-kernel IMAGE DIRECTORY [MODULES]: kernel_install() as a program, started by the engine. The
 * decompressors it needs bring thirty libraries, whose loading would double the time of every
 * `hull exec`.
 */
#include <stdio.h>

#include "vm/kernel.h"

int main(int argc, char **argv)
{
	struct err err = { 0 };

	if (argc < 3 || argc > 4) {
		fputs("usage: hull-kernel IMAGE DIRECTORY [MODULES]\n", stderr);
		return 64;
	}
	if (kernel_install(argv[1], argc == 4 ? argv[3] : NULL, argv[2], &err) < 0) {
		fputs(err.message, stderr);
		return 1;
	}
	return 0;
}
