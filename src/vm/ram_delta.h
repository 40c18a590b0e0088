/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory kept as what differs from a base (a template's memory): one file, little-endian,
 *
 *	0	8	"hullram1"
 *	8	u64	bytes of memory, whole pages
 *	16	u64	runs in the index
 *	24	u64	pages of data
 *	32	u64	offset of the index
 *	40	u32	CRC-32C of the index
 *	44	u32	CRC-32C of the data
 *	48	u32	CRC-32C of the 48 bytes before
 *	4096		the data: pages, in the order of the index
 *	index		runs: u32 first page, u32 count; bit 31 of the count: pages of zeros,
 *without data
 *
 * Runs are in order and do not overlap. A page that is in no run is the base's.
 */
#ifndef VM_RAM_DELTA_H
#define VM_RAM_DELTA_H

#include <stdint.h>

#include "base/err.h"

/* Writes to the empty file `to` what makes memory (bytes of it, sparse) of base (-1: of nothing).
 */
int ram_delta_write(int memory, int base, uint64_t bytes, int to, uint64_t *ret_pages,
		    struct err *err);
/* Makes the memory again, sparsely, in the empty file `to`. The base must have the sum base_crc (as
 * of template_ram_copy). -EBADMSG when anything is not as it was written; `to` is worth nothing
 * then. */
int ram_delta_apply(int delta, int base, uint32_t base_crc, uint64_t bytes, int to,
		    struct err *err);
/* The same over a memory that is in `to` already: what the difference was taken to. */
int ram_delta_patch(int delta, uint64_t bytes, int to, struct err *err);

#endif
