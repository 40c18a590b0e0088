/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of a lane (proto/bulk.h): a copy's data between a descriptor and the guest. */
#ifndef SHIM_BULK_CLIENT_H
#define SHIM_BULK_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Asks for a lane, over a connection (borrowed) that the request for a copy will follow on. It is
 * mapped at *ret_lane (unmapped by bulk_lane_freep); NULL: there is none to be had. */
int bulk_lane_open(int connection, uint8_t **ret_lane, struct err *err);
void bulk_lane_freep(uint8_t **lane);

/* Moves all that can be read from input to the guest: records go to `out`, `in` says what has come
 * back. *moved counts the bytes as they go. -EPIPE: the guest wants no more. */
int bulk_pump_in(uint8_t *lane, int input, int in, int out, uint64_t *moved, struct err *err);
/* Moves all that the guest sends to output. */
int bulk_pump_out(const uint8_t *lane, int output, int in, int out, uint64_t *moved,
		  struct err *err);

#endif
