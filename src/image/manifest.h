/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of an image, as the OCI image specification and Docker's schema 2 define them,
 * parsed once into checked structs. What is refused here: schema 1, foreign and nondistributable
 * layers, layers of unknown types, artifacts that are no images, digests other than sha256, absurd
 * counts.
 */
#ifndef IMAGE_MANIFEST_H
#define IMAGE_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/vec.h"
#include "image/content.h"

#define MANIFEST_LAYERS_MAX 512
#define MANIFEST_INDEX_MAX 1024

/* The annotation of a manifest that names the snapshot which containers of it start from. */
#define MANIFEST_SNAPSHOT "dev.hull.snapshot"

#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"

struct descriptors {
	struct descriptor *items; /* owned */
	size_t count, capacity;
};

struct manifest {
	bool is_index;
	const char *media_type; /* of the document itself; static */
	/* of a manifest */
	struct descriptor config;
	struct descriptors layers; /* the lowest first */
	char *snapshot;            /* as of struct image */
	/* of an index; platforms[i] belongs to manifests.items[i] (os "" where it has none) */
	struct descriptors manifests;
	VEC(struct platform) platforms;
};

void descriptor_release(struct descriptor *descriptor);
void descriptors_release(struct descriptors *descriptors);
/* A copy, owned by the caller. */
struct descriptor descriptor_copy(const struct descriptor *descriptor);
/* The JSON of it, a new reference. */
json_t *descriptor_json(const struct descriptor *descriptor);

/* media_type: what the transport says of it, or NULL; it must not contradict the document. -EBADMSG
 * when malformed, -ENOTSUP for what hull refuses. */
int manifest_parse(const json_t *document, const char *media_type, struct manifest *ret_manifest,
		   struct err *err);
void manifest_release(struct manifest *manifest);

/* The position of the platform in an index, or -ENOENT. */
int manifest_find_platform(const struct manifest *index, const struct platform *platform);
/* "linux/amd64, linux/arm64/v8"; owned by the caller. */
char *manifest_platforms_text(const struct manifest *index);
/* -ENOENT "image 'X' has no content for platform P; available platforms: …". */
int manifest_no_platform(const char *name, const struct platform *want, const char *available,
			 struct err *err);

/* The platform and the diff ids that a config document states; count is that of the layers. */
int image_config_parse(const json_t *config, size_t count, struct platform *ret_platform,
		       char ***ret_diff_ids, struct err *err);
/* Names disks/<key> of the layers; owned by the caller. */
char *disk_key_of(char *const *diff_ids);

#endif
