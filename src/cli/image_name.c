/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_name.h"

#include "base/mem.h"
#include "base/str.h"
#include "image/ref.h"

#define DIGEST_COLUMNS 24

struct image_name image_name_of(const char *reference)
{
	AUTO_FREE char *text = image_ref_short(reference);
	char *at = strchr(text, '@');
	char *slash;
	char *colon;

	if (at)
		*at = '\0';
	slash = strrchr(text, '/');
	colon = strrchr(slash ? slash : text, ':');
	if (colon)
		*colon = '\0';
	return (struct image_name){ xstrdup(text), xstrdup(colon ? colon + 1 : "<none>") };
}

void image_name_release(struct image_name *name)
{
	free(name->name);
	free(name->tag);
	*name = (struct image_name){ 0 };
}

char *image_short_digest(const char *digest)
{
	const char *hex = str_after(digest, "sha256:");

	return xstrndup(str_or(hex, digest), DIGEST_COLUMNS);
}
