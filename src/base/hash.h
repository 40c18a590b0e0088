/* SPDX-License-Identifier: Apache-2.0 */
/* Non-cryptographic hashes for names and checks against accidents, hexadecimal text, random ids. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_FNV_INIT 0xcbf29ce484222325u
#define HASH_UUID_LENGTH 36 /* characters, without the NUL */

/* FNV-1a, 64 bits; chain calls through `hash`, starting with HASH_FNV_INIT. */
uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t size);
/* CRC-32C (Castagnoli), reflected; no initial or final inversion: crc32c of a buffer as most define
 * it is ~hash_crc32c(~0, …). */
uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size);
/* Lower-case hexadecimal of data into out[2 * size + 1]. */
void hash_hex(const uint8_t *data, size_t size, char *out);
/* A random (version 4) UUID in lower case. */
void hash_uuid(char out[HASH_UUID_LENGTH + 1]);
/* Fills with random bytes from the kernel; aborts if there are none. */
void hash_random(void *data, size_t size);

#endif
