/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a snapshot, whatever its file holds. The checksums are made right first, so that
 * the index is reached. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "proto/le.h"
#include "vm/ram_delta.h"

#define MEMORY (1u << 20)
#define DELTA_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(uint8_t *bytes, size_t size)
{
	uint64_t offset;

	if (size < 52)
		return;
	offset = le_get64(bytes + 32);
	if (offset <= size)
		le_put32(bytes + 40, ~hash_crc32c(~0u, bytes + offset, size - (size_t)offset));
	le_put32(bytes + 48, ~hash_crc32c(~0u, bytes, 48));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[DELTA_MAX];
	AUTO_CLOSE int delta = memfd_create("delta", MFD_CLOEXEC);
	AUTO_CLOSE int to = memfd_create("to", MFD_CLOEXEC);

	if (size > sizeof(bytes) || delta < 0 || to < 0)
		return 0;
	memcpy(bytes, data, size);
	if (size % 2)
		repair(bytes, size);
	if (fd_write_all(delta, bytes, size) == 0)
		ram_delta_apply(delta, -1, 0, MEMORY, to, NULL);
	return 0;
}
