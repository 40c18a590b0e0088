/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

uint64_t hash_fnv1a(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

#ifdef __x86_64__
/* The instruction's result comes after three cycles, and one can begin in each: so three parts of
 * the data are summed up at the same time. Zeros fed into a sum change it linearly: the sum of what
 * stands before others is moved over them by a table for their number. */
#define LANE ((size_t)1360) /* bytes; three are nearly a page */

static uint32_t over_lane[4][256]; /* by the bytes of the sum */

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const uint8_t *data,
							     size_t size)
{
	uint64_t wide = crc;

	for (; size >= 8; size -= 8, data += 8) {
		uint64_t word;

		memcpy(&word, data, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; size > 0; size--, data++)
		crc = __builtin_ia32_crc32qi(crc, *data);
	return crc;
}

/* Threads that do it at the same time write the same. */
static void require_over_lane(void)
{
	static const uint8_t zeros[LANE];
	static bool ready;

	if (__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
		return;
	for (unsigned byte = 0; byte < 4; byte++)
		for (unsigned bit = 0; bit < 8; bit++) {
			uint32_t moved = crc32c_sse(1u << (byte * 8 + bit), zeros, LANE);

			for (unsigned i = 0; i < (1u << bit); i++)
				over_lane[byte][(1u << bit) + i] = over_lane[byte][i] ^ moved;
		}
	__atomic_store_n(&ready, true, __ATOMIC_RELEASE);
}

static uint32_t move_over_lane(uint32_t crc)
{
	return over_lane[0][crc & 0xff] ^ over_lane[1][crc >> 8 & 0xff] ^
	       over_lane[2][crc >> 16 & 0xff] ^ over_lane[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_lanes(uint32_t crc, const uint8_t *data,
							       size_t size)
{
	if (size >= 3 * LANE)
		require_over_lane();
	for (; size >= 3 * LANE; size -= 3 * LANE, data += 3 * LANE) {
		uint64_t sums[3] = { crc, 0, 0 };

		for (size_t i = 0; i < LANE; i += 8) {
			uint64_t words[3];

			memcpy(&words[0], data + i, 8);
			memcpy(&words[1], data + LANE + i, 8);
			memcpy(&words[2], data + 2 * LANE + i, 8);
			sums[0] = __builtin_ia32_crc32di(sums[0], words[0]);
			sums[1] = __builtin_ia32_crc32di(sums[1], words[1]);
			sums[2] = __builtin_ia32_crc32di(sums[2], words[2]);
		}
		crc = move_over_lane((uint32_t)sums[0]) ^ (uint32_t)sums[1];
		crc = move_over_lane(crc) ^ (uint32_t)sums[2];
	}
	return crc32c_sse(crc, data, size);
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t size)
{
	static uint32_t table[256];
	const uint8_t *p = data;

#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_lanes(crc, p, size);
#endif
	if (!table[1]) {
		for (uint32_t i = 255; i > 0; i--) { /* entry 1 last: it says the table is whole */
			uint32_t c = i;

			for (int k = 0; k < 8; k++)
				c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0);
			table[i] = c;
		}
	}
	for (size_t i = 0; i < size; i++)
		crc = table[(crc ^ p[i]) & 0xff] ^ (crc >> 8);
	return crc;
}

void hash_hex(const uint8_t *data, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * size] = '\0';
}

void hash_uuid(char out[HASH_UUID_LENGTH + 1])
{
	static const int groups[] = { 4, 2, 2, 2, 6 };
	uint8_t bytes[16];
	const uint8_t *b = bytes;
	char *o = out;

	hash_random(bytes, sizeof(bytes));
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
	for (int g = 0; g < 5; g++) {
		if (g)
			*o++ = '-';
		hash_hex(b, (size_t)groups[g], o);
		o += 2 * groups[g];
		b += groups[g];
	}
}
