/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_CONFINE_H
#define IMAGE_CONFINE_H

#include "image/task.h"

/* From here on this process can write only under the state directory and where the request sends
 * its output, if the kernel has Landlock; without it nothing changes. */
int confine(const struct task *task, struct err *err);

#endif
