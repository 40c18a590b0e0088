/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

/* Ends the machine. */
void power_off(void) __attribute__((noreturn));

#endif
