/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images: the header of a bzImage, the checks of an ELF, the search for its version. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vm/decompress.h"
#include "vm/kernel_image.h"

#define EXTRACTED_MAX (1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE uint8_t *extracted = NULL;
	char release[KERNEL_RELEASE_MAX];
	struct err err = { 0 };
	const uint8_t *payload;
	size_t payload_size;

	kernel_image_check_elf(data, size, &err);
	kernel_image_release(data, size, release, &err);
	if (kernel_image_payload(data, size, &payload, &payload_size, &err) == 0 &&
	    decompress(payload, payload_size, EXTRACTED_MAX, &extracted, &payload_size, &err) == 0)
		kernel_image_check_elf(extracted, payload_size, &err);
	return 0;
}
