/* SPDX-License-Identifier: Apache-2.0 */
/* A tar of anybody's making → a layer. What is accepted must also merge, over itself too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/layer.h"
#include "disk/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
	const uint8_t *data;
	size_t left;
};

static ssize_t read_some(void *ctx, const void **ret_data)
{
	struct source *source = ctx;
	size_t n = source->left < 700 ? source->left : 700;

	*ret_data = source->data;
	source->data += n;
	source->left -= n;
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct layer_limits limits = { .max_file_bytes = 1 << 20,
					     .max_size_bytes = 1ull << 32,
					     .max_entries = 2000,
					     .max_metadata_bytes = 1 << 20 };
	struct source source = { data, size };
	int disk = memfd_create("disk", MFD_CLOEXEC);
	int index = memfd_create("index", MFD_CLOEXEC);
	int meta = memfd_create("meta", MFD_CLOEXEC);
	struct err err = { 0 };
	char disk_path[32];
	char index_path[32];

	snprintf(disk_path, sizeof(disk_path), "/proc/self/fd/%d", disk);
	snprintf(index_path, sizeof(index_path), "/proc/self/fd/%d", index);
	if (layer_convert(read_some, &source, &limits, disk, index, NULL, &err) == 0) {
		struct merge_layer layers[2] = { { disk_path, index_path },
						 { disk_path, index_path } };
		int r = merge_layers(layers, 2, MERGE_EXACT, meta, &err);

		/* Our own index is never damaged, but links may lead nowhere. */
		if (r < 0 && !__builtin_strstr(err.message, "link") &&
		    !__builtin_strstr(err.message, "directory"))
			abort();
	} else if (err.code == 0) {
		abort();
	}
	close(disk);
	close(index);
	close(meta);
	return 0;
}
