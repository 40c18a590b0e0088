/* SPDX-License-Identifier: Apache-2.0 */
/* Alone, so that fuzz targets can have another in its place. */
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void hash_random(void *data, size_t size)
{
	uint8_t *p = data;

	while (size > 0) {
		ssize_t n = getrandom(p, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		p += n;
		size -= (size_t)n;
	}
}
