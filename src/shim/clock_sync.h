/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time in the machine follows that of the host. A session tells it, but it is told on a busy
 * host some time before it is heard; then the guest's clock stands still while the machine is
 * stopped or the host sleeps, runs at its own speed, and knows nothing of changes of the host's. So
 * the guest is asked what time it has: soon after it has begun, once in a while, and when the
 * host's clock was set or the host has slept. What is missing goes to it as a difference, which is
 * right whenever it arrives.
 *
 * A container that may set its clock (SYS_TIME) is asked only when it begins, and its own is left
 * to it from then on.
 */
#ifndef SHIM_CLOCK_SYNC_H
#define SHIM_CLOCK_SYNC_H

#include <stddef.h>
#include <stdint.h>

struct shim;

/* The main process runs. */
void clock_sync_begin(struct shim *shim);
/* The machine has stood still: its clock is looked at soon. */
void clock_sync_soon(struct shim *shim);
/* The guest's answer: 0, or -EPROTO. */
int clock_sync_answer(struct shim *shim, const uint8_t *data, size_t size);
/* The machine ends. */
void clock_sync_end(struct shim *shim);

#endif
