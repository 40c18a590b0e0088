/* SPDX-License-Identifier: Apache-2.0 */
/* Boots a machine to where its agent is ready, or restores one and has it prepare for an image, and
 * writes what it is then. */
#ifndef VM_TEMPLATE_MAKE_H
#define VM_TEMPLATE_MAKE_H

#include <stdint.h>

#include "base/err.h"
#include "vm/template.h"

struct template_image {
	uint64_t state_bytes;
	uint32_t state_crc;
	uint32_t ram_crc;
	uint32_t scratch_crc; /* if the shape has a scratch disk */
};

/* Fills directory (existing, empty) with ram, state, scratch.img (if the shape has one) and
 * console.log; takes seconds. base: for a shape with an image, the template of
 * that shape without it, which is restored; else NULL. */
int template_make(const char *directory, const struct machine_shape *shape,
		  const struct template *base, const struct template_progress *progress,
		  struct template_image *ret_image, struct err *err);

#endif
