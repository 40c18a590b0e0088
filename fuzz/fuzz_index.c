/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged index with a right checksum, merged over another and under itself. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/index.h"
#include "disk/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct index_header header;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	int index = memfd_create("index", MFD_CLOEXEC);
	int meta = memfd_create("meta", MFD_CLOEXEC);
	char disk_path[32];
	char index_path[32];
	uint8_t *copy = malloc(size + 1);

	snprintf(disk_path, sizeof(disk_path), "/proc/self/fd/%d", disk);
	snprintf(index_path, sizeof(index_path), "/proc/self/fd/%d", index);
	memcpy(copy, data, size);
	if (size >= sizeof(header)) {
		memcpy(&header, copy, sizeof(header));
		header.magic = INDEX_MAGIC;
		memcpy(copy, &header, sizeof(header));
		header.checksum = index_checksum(copy, size);
		memcpy(copy, &header, sizeof(header));
		ftruncate(disk, (off_t)header.disk_blocks * EROFS_BLOCK_SIZE);
	}
	if (write(index, copy, size) == (ssize_t)size) {
		struct merge_layer layers[2] = { { disk_path, index_path },
						 { disk_path, index_path } };

		merge_layers(layers, 2, MERGE_MOUNT_POINTS, meta, NULL);
	}
	free(copy);
	close(disk);
	close(index);
	close(meta);
	return 0;
}
