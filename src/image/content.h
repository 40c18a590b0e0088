/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content by digest, and what is made of it. Under $HULL_ROOT:
 *
 *	content/		an OCI image layout: oci-layout, blobs/sha256/<hex>
 *	layers/<hex>.erofs|.idx	a layer converted (hex: of its diff id)
 *	disks/<key>/		an image's disk: meta.erofs, root.vmdk (key: hash of the list of
 *diff ids)
 *
 * A file that stands under its final name is whole and was verified when it was written. This
 *header is the light half (no network, no decompression), which every command links; the heavy half
 *runs in the program hull-image (see worker.h).
 */
#ifndef IMAGE_CONTENT_H
#define IMAGE_CONTENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/platform.h"

#define CONTENT_DOCUMENT_MAX (8 * 1024 * 1024) /* of a manifest, index or config */

struct descriptor {
	char *media_type;
	char *digest; /* "sha256:<hex>", checked */
	uint64_t size;
};

/* One platform's manifest with its config, resolved from an index or a manifest. All owned. */
struct image {
	struct descriptor manifest;
	struct platform platform;
	json_t *config; /* the OCI image configuration document, checked to be an object */
	char **diff_ids;
	uint64_t layers_size; /* compressed bytes of all layers */
	char *disk_key;       /* names disks/<key> */
	char *snapshot;       /* its containers start from; unchecked text; NULL: none */
};

/* Paths; owned by the caller. The digest is checked text. */
char *content_blob_path(const char *root, const char *digest);
char *content_disk_descriptor_path(const char *root, const char *disk_key); /* root.vmdk */

/* Holds all content against `prune` until the descriptor is closed: taken before content is looked
 * up, kept until a row that needs it is committed. Any number of processes hold it at once. */
int content_hold(const char *root, struct err *err);

/* Whether text (NULL: no) is sha256:<64 lower-case hex>. */
bool content_digest_valid(const char *text);
/* The whole blob of a JSON document. -ENOENT when it is not here. */
int content_read_json(const char *root, const char *digest, json_t **ret_json, struct err *err);

/* Resolves the document `digest` (an index or a manifest) to the manifest for the platform. -ENOENT
 * with "image '<name>' has no content for platform P; available platforms: …". */
int image_open(const char *root, const char *name, const char *digest,
	       const struct platform *platform, struct image **ret_image, struct err *err);
/* Every platform of it whose manifest is here; the caller frees each and the array. */
int image_open_all(const char *root, const char *digest, struct image ***ret_images,
		   size_t *ret_count, struct err *err);
struct image *image_free(struct image *image);
static inline void image_freep(struct image **image)
{
	if (*image)
		image_free(*image);
}
/* Whether the image's disk is made and all its parts are there with their sizes. */
bool image_disk_ready(const char *root, const char *disk_key);

/* Defaults for a container's process, borrowed from image->config's "config" object. */
struct image_process {
	json_t *entrypoint;                                 /* array of strings or NULL */
	json_t *cmd;                                        /* array of strings or NULL */
	json_t *env;                                        /* array of strings or NULL */
	const char *working_directory, *user, *stop_signal; /* NULL: unset */
	json_t *exposed_ports;                              /* object or NULL */
	json_t *volumes;                                    /* object or NULL */
	json_t *labels;                                     /* object or NULL */
	json_t *health_check;                               /* object or NULL; unchecked */
};
struct image_process image_process_of(const struct image *image);

#endif
