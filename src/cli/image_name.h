/* SPDX-License-Identifier: Apache-2.0 */
/* Names and digests of images as lists show them. */
#ifndef CLI_IMAGE_NAME_H
#define CLI_IMAGE_NAME_H

#include "base/cleanup.h"
#include "engine/engine.h"

/* "nginx" and "latest" of a normalised reference; a reference by digest has the tag "<none>". */
struct image_name {
	char *name, *tag; /* owned */
};
struct image_name image_name_of(const char *reference);
void image_name_release(struct image_name *name);
/* The first digits of a digest; owned by the caller. */
char *image_short_digest(const char *digest);

#endif
