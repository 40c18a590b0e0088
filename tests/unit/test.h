/* SPDX-License-Identifier: Apache-2.0 */
/* What the unit tests share: cmocka with the headers it wants, and a temporary directory per test.
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/path.h"

/* cmocka setup and teardown: *state is the path of an empty directory, removed afterwards. */
static inline int test_dir_setup(void **state)
{
	char *path = strdup("/tmp/hull-test-XXXXXX");

	*state = path ? mkdtemp(path) : NULL;
	return *state ? 0 : -1;
}

static inline int test_dir_teardown(void **state)
{
	int r = path_remove_tree(*state, NULL);

	free(*state);
	return r;
}

#define TEST_IN_DIR(fn) cmocka_unit_test_setup_teardown(fn, test_dir_setup, test_dir_teardown)

#endif
