/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_CAPS_H
#define GUEST_CAPS_H

#include <stdint.h>

/* The capabilities that this kernel knows, as a set. */
uint64_t caps_all(void);
/* Takes all others out of the bounding set; for before the change of user. */
int caps_bound(uint64_t keep);
/* Makes set the permitted and effective ones; inheritable and ambient become empty. */
int caps_set(uint64_t set);

#endif
