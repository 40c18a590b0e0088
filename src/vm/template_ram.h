/* SPDX-License-Identifier: Apache-2.0 */
/* RAM files of templates: sparse, and checked by a sum over the pages that are not zero. */
#ifndef VM_TEMPLATE_RAM_H
#define VM_TEMPLATE_RAM_H

#include <stdint.h>

/* Copies the first bytes (whole pages) of from, sparsely, to the empty file `to` (-1: nothing is
 * written), and sums up all pages that are not zero and where they are. 0 or negative errno. */
int template_ram_copy(int from, int to, uint64_t bytes, uint32_t *ret_crc);

#endif
