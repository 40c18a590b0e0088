/* SPDX-License-Identifier: Apache-2.0 */
/* One layer of a pull: from the registry into the content store and, in the same pass, into a disk.
 */
#ifndef IMAGE_FETCH_H
#define IMAGE_FETCH_H

#include "image/content.h"
#include "image/registry.h"
#include "image/task.h"

/* Makes blob and layer be here, doing only what is missing; waits for another process that is at
 * it. */
int fetch_layer(struct task *task, struct registry *registry, const struct descriptor *blob,
		const char *diff_id, struct err *err);
/* A document by digest (a config): from here or the registry, verified and stored. A new reference.
 */
int fetch_config(struct task *task, struct registry *registry, const struct descriptor *blob,
		 json_t **ret_json, struct err *err);

#endif
