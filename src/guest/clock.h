/* SPDX-License-Identifier: Apache-2.0 */
/* What a restored machine lacks and its host has: the time, and randomness of its own. */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int clock_set_wall(uint64_t wall_clock_ns);
/* Adds ns to the time. What is less than a second back is gained slowly: nothing happens before
 * what it follows. */
int clock_shift_wall(int64_t ns);
/* Credits data to the kernel's generator and reseeds it: clones of one template drew the same
 * numbers until then. */
int clock_set_entropy(const void *data, size_t size);

#endif
