/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: [registry/]repository[:tag][@digest]. */
#ifndef IMAGE_REF_H
#define IMAGE_REF_H

#include "base/err.h"

struct image_ref {
	char *registry;   /* "docker.io", "localhost:5000" */
	char *repository; /* "library/nginx" */
	char *tag;        /* NULL when there is only a digest; "latest" when there is neither */
	char *digest;     /* "sha256:<64 hex>", or NULL */
};

/* Parses what a user typed, with Docker's rules: the first component is a registry if it has a dot
 * or a colon or is "localhost"; default_registry (NULL: docker.io) otherwise, and "library/" before
 * a single name of docker.io. -EINVAL with the reason. */
int image_ref_parse(const char *text, const char *default_registry, struct image_ref *ret_ref,
		    struct err *err);
void image_ref_release(struct image_ref *ref);
/* The normalised text, the key of the store's rows. Owned by the caller. */
char *image_ref_text(const struct image_ref *ref);
/* As people write it: without "docker.io/library/" (or "docker.io/"). Owned by the caller. */
char *image_ref_short(const char *normalised);

#endif
