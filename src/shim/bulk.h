/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that much data passes through (proto/bulk.h), and whose turn it is. It is the shim's
 * for as long as it lives, and every machine that it starts has it as a disk. A client asks for a
 * lane before it asks for a copy, and gets the memory with a lock on that lane (of its own open
 * file description). A lane is free when that lock is gone, and the copy in the guest has ended: a
 * client reads on when its connection has long been served.
 */
#ifndef SHIM_BULK_H
#define SHIM_BULK_H

#include <stdint.h>

#include "base/err.h"

struct shim_bulk;
struct client;

/* Its size never changes, whoever has a descriptor of it. */
int bulk_new(struct shim_bulk **ret_bulk, struct err *err);
struct shim_bulk *bulk_free(struct shim_bulk *bulk);
int bulk_fd(const struct shim_bulk *bulk); /* borrowed; 0: there is none */

/* CTL_BULK. */
int bulk_request(struct client *client, const uint8_t *data, size_t size);
/* The client's lane, counted from 1, is that of the process now; 0: it has none. */
uint32_t bulk_begin(const struct client *client, uint32_t process);
/* The process has ended in the guest. */
void bulk_process_over(struct shim_bulk *bulk, uint32_t process);

#endif
