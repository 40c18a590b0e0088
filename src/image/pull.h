/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_PULL_H
#define IMAGE_PULL_H

#include "image/registry.h"
#include "image/task.h"

/* Finds the credentials that a pull may need. This runs other programs (credential helpers), which
 * must not be confined; so it comes first. */
int pull_prepare(struct task *task, struct err *err);

/* Of the request that pull_prepare has read, borrowed: what it is about, and how to reach its
 * registry. */
const struct image_ref *pull_reference(void);
struct registry_options pull_options(void);

#endif
