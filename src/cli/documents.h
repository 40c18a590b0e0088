/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON documents of containers and images that the command line promises. New references. */
#ifndef CLI_DOCUMENTS_H
#define CLI_DOCUMENTS_H

#include "engine/network.h"
#include "store/snapshots.h"
#include "store/volumes.h"

json_t *document_of_container(struct engine *engine, const struct container *container);
json_t *document_of_image(const struct image_detail *detail);
json_t *document_of_network(const struct network *network);
struct snapshot_usage;
json_t *document_of_snapshot(const struct snapshot *snapshot, const struct snapshot_usage *usage);
/* source: where its data is (engine_volume_source). */
json_t *document_of_volume(const struct volume *volume, const char *source);
json_t *document_of_usage(const struct usage *usage);

#endif
