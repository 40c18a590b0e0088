/* SPDX-License-Identifier: Apache-2.0 */
/* The unit in which memory is kept in files. */
#ifndef VM_RAM_PAGE_H
#define VM_RAM_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define RAM_PAGE 4096u

static inline bool ram_page_is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, RAM_PAGE - 1) == 0;
}

#endif
