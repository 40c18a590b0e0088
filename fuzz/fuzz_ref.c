/* SPDX-License-Identifier: Apache-2.0 */
/* References and platforms: what parses has a normal form, which parses to itself. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/platform.h"
#include "image/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *)data, size);
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	CLEANUP(image_ref_release) struct image_ref again = { 0 };
	struct platform platform;
	struct err err = { 0 };

	if (platform_parse(text, &platform, &err) == 0) {
		AUTO_FREE char *normal = platform_text(&platform);
		struct platform second;

		if (platform_parse(normal, &second, NULL) < 0 ||
		    !platform_matches(&platform, &second))
			abort();
	}
	if (image_ref_parse(text, NULL, &ref, &err) == 0) {
		AUTO_FREE char *normal = image_ref_text(&ref);
		AUTO_FREE char *twice = NULL;

		/* It becomes part of paths (directories of certificates) and URLs: nothing that
		 * climbs. A tag may hold "..", but begins with none and has no "/". */
		if (strstr(ref.registry, "..") || strstr(ref.repository, "..") ||
		    (ref.tag && (*ref.tag == '.' || strchr(ref.tag, '/'))) ||
		    strpbrk(normal, "%?#\\ \n"))
			abort();
		if (image_ref_parse(normal, NULL, &again, NULL) < 0)
			abort();
		twice = image_ref_text(&again);
		if (!str_eq(normal, twice))
			abort();
	}
	return 0;
}
