/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4) of small texts, for the light half, which does without OpenSSL. */
#ifndef IMAGE_SHA256_H
#define IMAGE_SHA256_H

#include <stddef.h>

/* Lower-case hexadecimal of the digest. */
void sha256_hex(const void *data, size_t size, char out[65]);

#endif
