/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/accel.h"

const char *const accel_names[ACCEL_COUNT] = { "tcg", "kvm" };
